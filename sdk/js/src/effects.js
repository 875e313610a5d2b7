// What a handler publishes and answers. The host judges every effect at once and holds it back until the verdict.
//
// Nothing of the contract is checked here: the host is the only judge, and `@heddle/sdk/testing` judges alike.

import { EffectError, refused } from './errors.js';
import { host } from './host.js';

const NO_HEADERS = Object.freeze([]);
const MOST_U32 = 0xffff_ffff;
const ENCODER = new TextEncoder();

/** A payload as bytes or as text. */
export function payloadOf(effect, payload) {
  if (typeof payload === 'string') return payload.toWellFormed();
  if (payload instanceof Uint8Array) return payload;
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload);
  return jsonOf(effect, payload);
}

export function jsonOf(effect, value) {
  let problem;
  try {
    if (typeof value?.then !== 'function') {
      const text = JSON.stringify(value);
      if (text !== undefined) return text;
      problem = typeof value;
    } else {
      problem = 'it is a promise, which must be awaited first';
    }
  } catch (cause) {
    problem = cause instanceof Error ? cause.message : String(cause);
  }
  throw new EffectError(effect, { tag: 'invalid', val: `cannot be written as JSON: ${problem}` });
}

/** Headers as the contract has them, of pairs or of an object. */
function headersOf(headers) {
  if (headers === undefined || headers === null) return NO_HEADERS;
  const pairs = typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers);
  return Array.from(pairs, ([name, value]) => ({
    name: String(name).toWellFormed(),
    value: String(value).toWellFormed(),
  }));
}

/** A delay in whole seconds, never shortened. */
function secondsOf(effect, delayMs) {
  if (delayMs === undefined || delayMs === 0) return 0;
  if (typeof delayMs !== 'number' || !(delayMs >= 0)) {
    throw new EffectError(effect, { tag: 'invalid', val: `a delay of \`${String(delayMs)}\` is no number of milliseconds` });
  }
  const seconds = Math.ceil(delayMs / 1000);
  if (seconds > MOST_U32) {
    throw new EffectError(effect, { tag: 'invalid', val: `a delay of ${seconds} seconds is too long` });
  }
  return seconds;
}

export function publish(subject, payload, options) {
  const to = String(subject).toWellFormed();
  const effect = `publish on \`${to}\``;
  const body = payloadOf(effect, payload);
  const headers = headersOf(options?.headers);
  const seconds = secondsOf(effect, options?.delayMs);
  try {
    if (typeof body === 'string') host.publishText(to, headers, body, seconds);
    else host.publish(to, headers, body, seconds);
  } catch (thrown) {
    throw refused(effect, thrown);
  }
}

export function reply(payload, options) {
  const body = payloadOf('reply', payload);
  const headers = headersOf(options?.headers);
  try {
    host.reply(headers, typeof body === 'string' ? ENCODER.encode(body) : body);
  } catch (thrown) {
    throw refused('reply', thrown);
  }
}
