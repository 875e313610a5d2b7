// How an event ended.

import assert from 'node:assert/strict';
import { DecodeError } from '../errors.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** A message that was published, or a reply. */
export class Published {
  #headers;

  constructor(subject, headers, payload, delayMs) {
    this.subject = subject;
    this.#headers = headers;
    this.payload = payload;
    this.delayMs = delayMs;
  }

  get headers() {
    return this.#headers.map(({ name, value }) => [name, value]);
  }

  header(name) {
    return this.#headers.find((header) => header.name === name)?.value;
  }

  text() {
    return utf8.decode(this.payload);
  }

  json() {
    return readJson(this.payload);
  }

  /** What counts for `limits.output`. */
  size() {
    const length = (text) => encoder.encode(text).length;
    const headers = this.#headers.reduce((sum, { name, value }) => sum + length(name) + length(value), 0);
    return length(this.subject) + headers + this.payload.length;
  }
}

export function readJson(bytes) {
  const text = utf8.decode(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${error.message} in: ${text}`, { cause: error });
  }
}

/** The verdict on one event and what it left. */
export class Run {
  #state;

  constructor(verdict, thrown, state, world) {
    this.verdict = verdict;
    this.error = thrown;
    const done = verdict.verdict === 'done';
    this.messages = done ? world.messages : [];
    this.reply = done ? world.reply : undefined;
    this.logs = world.logs;
    this.#state = state;
  }

  done() {
    this.#expect('done');
    return this;
  }

  retried() {
    this.#expect('retry');
    return this.verdict.reason;
  }

  deferred() {
    this.#expect('defer');
    return { delayMs: this.verdict.delayMs, reason: this.verdict.reason };
  }

  rejected() {
    this.#expect('reject');
    return this.verdict.reason;
  }

  #expect(expected) {
    const { verdict, reason } = this.verdict;
    if (verdict === expected) return;
    const cause = this.error instanceof DecodeError ? this.error.cause : this.error;
    const told = reason === undefined ? '' : `: ${reason}`;
    throw Object.assign(
      new assert.AssertionError({
        message: `expected the verdict ${expected}, but it is ${verdict}${told}`,
        actual: verdict,
        expected,
        operator: 'strictEqual',
        stackStartFn: this[expected],
      }),
      { cause },
    );
  }

  get subjects() {
    return this.messages.map(({ subject }) => subject);
  }

  message(subject) {
    const [message, ...more] = this.messages.filter((candidate) => candidate.subject === subject);
    if (message === undefined || more.length > 0) {
      assert.fail(`expected one message on \`${subject}\` among [${this.subjects.join(', ')}], verdict ${this.verdict.verdict}`);
    }
    return message;
  }

  state() {
    return this.#state === undefined ? undefined : readJson(this.#state);
  }

  get stateBytes() {
    return this.#state?.slice();
  }
}
