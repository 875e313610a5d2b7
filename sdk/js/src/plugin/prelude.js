// The globals that handlers and their packages expect and the engine lacks, or has but cannot keep its promises with.
// The first module of every plugin.

import { host } from '../host.js';
import { structuredClone } from './clone.js';
import { makeConsole } from './console.js';
import { Loop } from './loop.js';
import { makePromise } from './promise.js';
import { Random } from './random.js';
import { TextDecoder, TextEncoder } from './utf8.js';

export const loop = new Loop();

const { Promise, unhandled } = makePromise(loop.queue);
export { unhandled };

/** Made of the event when it is first asked for. */
let random;
let seed = () => 'build';

/** What comes next is random in a way of its own. */
export function reseed(next) {
  seed = next;
  random = undefined;
}

function dice() {
  random ??= new Random(seed());
  return random;
}

function define(object, values) {
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(object, name, { value, configurable: true, writable: true });
  }
}

define(globalThis, {
  Promise,
  TextDecoder,
  TextEncoder,
  structuredClone,
  console: makeConsole((level, text) => host.log(level, text.toWellFormed())),
  queueMicrotask: (job) => {
    if (typeof job !== 'function') throw new TypeError('a microtask is a function');
    loop.queue(() => {
      job();
    });
  },
  setTimeout: (callback, delayMs, ...args) => loop.setTimer(callback, delayMs, args, false),
  setInterval: (callback, delayMs, ...args) => loop.setTimer(callback, delayMs, args, true),
  clearTimeout: (id) => loop.clearTimer(id),
  clearInterval: (id) => loop.clearTimer(id),
  // The clock stands still while an event runs.
  performance: {
    now: () => 0,
    get timeOrigin() {
      return Date.now();
    },
  },
  crypto: {
    getRandomValues: (array) => dice().fill(array),
    randomUUID: () => dice().uuid(),
  },
  self: globalThis,
});
define(Math, { random: () => dice().next() });
define(Array, {
  fromAsync: async (values, change = (value) => value) => {
    const list = [];
    if (values[Symbol.asyncIterator] || values[Symbol.iterator]) {
      for await (const value of values) list.push(await change(value, list.length));
    } else {
      for (let i = 0; i < values.length; i++) list.push(await change(await values[i], i));
    }
    return list;
  },
});
Error.stackTraceLimit = 30;
