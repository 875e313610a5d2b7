// The double of the host. Each run has a world of its own, also if several run at once.

import { AsyncLocalStorage } from 'node:async_hooks';
import { format } from '../format.js';
import { nobody, setHost } from '../host.js';
import { Loop } from '../plugin/loop.js';
import { Random } from '../plugin/random.js';
import { checkHeaders, checkSubject } from './rules.js';
import { Published } from './run.js';

const worlds = new AsyncLocalStorage();
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Everything a handler can ask for or change while its event runs. */
export class World {
  constructor(settings) {
    Object.assign(this, settings);
    this.messages = [];
    this.reply = undefined;
    this.logs = [];
    this.loop = new Loop();
    this.random = new Random(`${this.id}\n${this.handler}`);
  }
}

/** Lets `handle` run in a world. Answers with its promise, or with none if it will never settle. */
export async function enter(world, handle) {
  let settled = false;
  const answer = worlds
    .run(world, async () => handle())
    .finally(() => {
      settled = true;
    });
  // Whoever awaits the answer hears of a failure.
  answer.catch(() => {});
  for (;;) {
    await turn();
    if (settled) return { answer };
    if (!worlds.run(world, () => world.loop.runTimer())) {
      // What a test puts in the place of the outside may need more than a turn.
      await turn();
      if (!settled && world.loop.timers === 0) return {};
    }
  }
}

const { setImmediate, setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;

/** Every promise that can settle has settled, and what waits for files and the like had a chance. */
function turn() {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function world() {
  const current = worlds.getStore();
  return current ?? nobody.attempt();
}

function refuse(refusal) {
  if (refusal !== undefined) throw Object.assign(new Error('refused'), { payload: refusal });
}

function send(subject, headers, payload, seconds) {
  const current = world();
  refuse(checkSubject(subject, current.publishes));
  refuse(checkHeaders(headers));
  const limit = current.limits.messages;
  if (current.messages.length >= limit) refuse({ tag: 'too-many', val: limit });
  const message = new Published(subject, headers, payload, seconds * 1000);
  checkOutput(current, message);
  current.messages.push(message);
}

/** The output of an event is the sum of what its messages and its reply hold. */
function checkOutput(current, next) {
  const sent = current.reply === undefined ? current.messages : [...current.messages, current.reply];
  const size = sent.reduce((sum, message) => sum + message.size(), next.size());
  const limit = current.limits.output;
  if (size > limit) refuse({ tag: 'too-large', val: limit });
}

function setState(value) {
  const current = world();
  const limit = current.limits.state;
  if (value.length > limit) refuse({ tag: 'too-large', val: limit });
  current.state = value.slice();
}

function log(level, message) {
  const current = worlds.getStore();
  // A line outside of a run is shown, so that a function that logs can be tested by itself.
  if (current === undefined) console.error(`${level}: ${message}`);
  else current.logs.push({ level, message });
}

setHost({
  publish: (subject, headers, payload, seconds) => send(subject, headers, payload.slice(), seconds),
  publishText: (subject, headers, payload, seconds) => send(subject, headers, encoder.encode(payload), seconds),
  reply(headers, payload) {
    const current = world();
    const subject = current.replyTo;
    if (subject === undefined) refuse({ tag: 'invalid', val: 'the event has no `Heddle-Reply-To` header' });
    refuse(checkHeaders(headers));
    if (current.reply !== undefined) refuse({ tag: 'invalid', val: 'the event is answered already' });
    const reply = new Published(subject, headers, payload.slice(), 0);
    checkOutput(current, reply);
    current.reply = reply;
  },
  state: () => world().state?.slice() ?? null,
  stateText() {
    const { state } = world();
    if (state === undefined) return null;
    try {
      return utf8.decode(state);
    } catch {
      throw Object.assign(new Error('no UTF-8'), { payload: undefined });
    }
  },
  setState,
  setStateText: (value) => setState(encoder.encode(value)),
  clearState() {
    world().state = undefined;
  },
  payloadText: (event) => utf8.decode(event.payload),
  attempt: () => world().attempt,
  stream: () => world().stream,
  sequence: () => world().sequence,
  handler: () => world().handler,
  correlation: () => world().correlation,
  deadlineMs: () => world().limits.timeMs,
  config: (name) => world().config.get(name) ?? null,
  log,
});

// Within a run the globals are as in a plugin: timers do not wait, random numbers are those of the event, and what is
// printed is logged, and shown as well.
const within = (own, other) =>
  function (...args) {
    const current = worlds.getStore();
    return current === undefined ? other.apply(this, args) : own(current, ...args);
  };
globalThis.setTimeout = within((w, callback, delay, ...args) => w.loop.setTimer(callback, delay, args, false), setTimeout);
globalThis.setInterval = within((w, callback, delay, ...args) => w.loop.setTimer(callback, delay, args, true), setInterval);
globalThis.clearTimeout = within((w, id) => w.loop.clearTimer(id), clearTimeout);
globalThis.clearInterval = within((w, id) => w.loop.clearTimer(id), clearInterval);
Math.random = within((w) => w.random.next(), Math.random);
for (const [name, level] of Object.entries({
  log: 'info',
  info: 'info',
  debug: 'debug',
  trace: 'trace',
  warn: 'warn',
  error: 'error',
})) {
  const print = console[name];
  console[name] = function (...values) {
    worlds.getStore()?.logs.push({ level, message: format(values) });
    return print.apply(this, values);
  };
}
