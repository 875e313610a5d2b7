// The event as a handler sees it. It can be read and nothing else.

import { DecodeError } from './errors.js';
import { host } from './host.js';

/** What some producers put before JSON. It says nothing. */
const BYTE_ORDER_MARK = '\ufeff';

/** Reads a text as JSON, and as what `read` makes of it. */
export function decodeJson(what, text, read) {
  try {
    const value = JSON.parse(text);
    return read === undefined ? value : read(value);
  } catch (cause) {
    throw new DecodeError(what, cause);
  }
}

export class Event {
  #raw;
  #text;
  #tokens;

  /** Takes the contract's record `event`. */
  constructor(raw) {
    this.#raw = raw;
  }

  get id() {
    return this.#raw.id;
  }

  get subject() {
    return this.#raw.subject;
  }

  token(index) {
    this.#tokens ??= this.#raw.subject.split('.');
    return this.#tokens[index];
  }

  get key() {
    return this.#raw.key;
  }

  get time() {
    const { seconds, nanoseconds } = this.#raw.time;
    return new Date(seconds * 1000 + Math.floor(nanoseconds / 1e6));
  }

  get timestamp() {
    const { seconds, nanoseconds } = this.#raw.time;
    return { seconds, nanoseconds };
  }

  get headers() {
    return this.#raw.headers.map(({ name, value }) => [name, value]);
  }

  header(name) {
    return this.#raw.headers.find((header) => header.name === name)?.value;
  }

  headerValues(name) {
    return this.#raw.headers.filter((header) => header.name === name).map(({ value }) => value);
  }

  get payload() {
    return this.#raw.payload;
  }

  text() {
    if (this.#text !== undefined) return this.#text;
    let text;
    try {
      text = host.payloadText(this.#raw);
    } catch {
      text = null;
    }
    if (text === null) throw new DecodeError('payload', 'it is not UTF-8');
    this.#text = text;
    return text;
  }

  json(read) {
    const text = this.text();
    return decodeJson('payload', text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text, read);
  }
}
