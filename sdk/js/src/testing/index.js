// Runs a handler without a host, under the same contract. What is exported here is documented in `index.d.ts`.

import { payloadOf } from '../effects.js';
import { Retry, verdictOf } from '../errors.js';
import { Event } from '../event.js';
import { NEVER } from '../plugin/never.js';
import { World, enter } from './double.js';
import { keyOf } from './key.js';
import { Run, readJson } from './run.js';

export { Published, Run } from './run.js';

const encoder = new TextEncoder();

export const LIMITS = Object.freeze({ messages: 100, output: 1 << 20, state: 256 << 10, timeMs: 2000 });

/** 2026-01-01 */
const START = 1_767_225_600;

/** The settings of `given`, of which those that are unknown are a mistake of the test. */
function only(what, given, known) {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new TypeError(`${what} has no setting \`${unknown}\`: there are ${known.join(', ')}`);
  return given;
}

export function event(subject, payload = '', options = {}) {
  only('an event', options, ['headers', 'replyTo', 'key', 'sequence', 'time', 'attempt', 'correlation']);
  const body = payloadOf('event', payload);
  const headers = Array.isArray(options.headers) ? [...options.headers] : Object.entries(options.headers ?? {});
  if (options.replyTo !== undefined) headers.push(['Heddle-Reply-To', options.replyTo]);
  return { ...options, subject, headers, payload: typeof body === 'string' ? encoder.encode(body) : body.slice() };
}

export function handler(handle, settings = {}) {
  return new TestHandler(handle, settings);
}

export function run(handle, given) {
  return handler(handle).run(given);
}

export class TestHandler {
  #handle;
  #settings;
  #states = new Map();
  #lastSequence = 0;

  constructor(handle, settings) {
    if (typeof handle !== 'function') throw new TypeError('a handler is a function');
    only('a handler', settings, ['name', 'stream', 'key', 'publishes', 'config', 'limits']);
    const config = Object.entries(settings.config ?? {}).map(([name, value]) => [name, String(value)]);
    this.#handle = handle;
    this.#settings = {
      handler: settings.name ?? 'handler',
      stream: settings.stream ?? 'TEST',
      key: settings.key ?? '{subject}',
      publishes: settings.publishes,
      config: new Map(config),
      limits: { ...LIMITS, ...only('limits', settings.limits ?? {}, Object.keys(LIMITS)) },
    };
  }

  givenState(key, value) {
    this.#states.set(key, encoder.encode(JSON.stringify(value)));
    return this;
  }

  state(key) {
    const bytes = this.#states.get(key);
    return bytes === undefined ? undefined : readJson(bytes);
  }

  async run(given) {
    const sequence = given.sequence ?? this.#lastSequence + 1;
    this.#lastSequence = sequence;
    const { raw, world } = this.#prepare(given, sequence);
    const { verdict, thrown } = await judge(world, () => this.#handle(new Event(raw)));
    if (verdict.verdict === 'done') {
      if (world.state === undefined) this.#states.delete(raw.key);
      else this.#states.set(raw.key, world.state);
    }
    return new Run(verdict, thrown, this.#states.get(raw.key), world);
  }

  #prepare(given, sequence) {
    const { handler, stream, key, publishes, config, limits } = this.#settings;
    const id = `${stream}/${sequence}`;
    const milliseconds = given.time?.getTime() ?? (START + sequence) * 1000;
    const raw = {
      id,
      subject: given.subject,
      key: '',
      time: { seconds: Math.floor(milliseconds / 1000), nanoseconds: (milliseconds % 1000) * 1e6 },
      headers: given.headers.filter(([name]) => !name.startsWith('Nats-')).map(([name, value]) => ({ name, value })),
      payload: given.payload.slice(),
    };
    const shown = new Event(raw);
    const ownKey = given.key ?? keyOf(key, shown);
    if (ownKey === undefined) throw new Error(`the event lacks what the key template \`${key}\` asks for`);
    raw.key = ownKey;
    const world = new World({
      id,
      handler,
      stream,
      sequence,
      publishes,
      config,
      limits,
      attempt: given.attempt ?? 1,
      correlation: given.correlation ?? id,
      replyTo: shown.header('Heddle-Reply-To'),
      state: this.#states.get(ownKey),
    });
    return { raw, world };
  }
}

/** What the handler answers, as the host reads it. */
async function judge(world, handle) {
  try {
    const { answer } = await enter(world, handle);
    if (answer === undefined) throw new Retry(NEVER);
    const value = await answer;
    if (value instanceof Error) throw value;
    return { verdict: { verdict: 'done' } };
  } catch (thrown) {
    const { tag, val } = verdictOf(thrown);
    return { verdict: { verdict: tag, ...(tag === 'defer' ? val : { reason: val }) }, thrown };
  }
}
