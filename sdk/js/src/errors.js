// What a handler throws, and what becomes of the event for it.

import { framesOf } from './stack.js';

const MOST_U32 = 0xffff_ffff;

/** The message of an error with those of its causes, in one line; of anything else its text. */
function chain(reason) {
  if (!(reason instanceof Error)) return String(reason);
  const texts = [];
  const seen = new Set();
  for (let at = reason; at instanceof Error && !seen.has(at); at = at.cause) {
    seen.add(at);
    texts.push(at.message || at.name);
  }
  return oneLine(texts.join(': '));
}

export function oneLine(text) {
  return text.replace(/\s*[\r\n]+\s*/g, ' ');
}

function named(type, name) {
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true });
}

/** The parent of what a handler throws to decide what becomes of its event. */
export class Failure extends Error {
  constructor(reason) {
    super(chain(reason), reason instanceof Error ? { cause: reason } : undefined);
  }
}
named(Failure, 'Failure');

export class Retry extends Failure {}
named(Retry, 'Retry');

export class Defer extends Failure {
  constructor(delayMs, reason) {
    if (typeof delayMs !== 'number' || Number.isNaN(delayMs)) {
      throw new TypeError('the delay of `Defer` is a number of milliseconds');
    }
    super(reason);
    /** Whole milliseconds: a fraction counts as one more, what is longer than the most is cut to it. */
    this.delayMs = Math.min(Math.max(Math.ceil(delayMs), 0), MOST_U32);
  }
}
named(Defer, 'Defer');

export class Reject extends Failure {}
named(Reject, 'Reject');

export class DecodeError extends Error {
  constructor(what, cause) {
    super(`cannot decode the ${what}: ${chain(cause)}`, cause instanceof Error ? { cause } : undefined);
  }
}
named(DecodeError, 'DecodeError');

/** The words of an `effect-error` of the contract. */
function wordsOf(refusal) {
  switch (refusal.tag) {
    case 'not-granted':
      return `not granted: ${refusal.val}`;
    case 'invalid':
      return `invalid: ${refusal.val}`;
    case 'too-large':
      return `too large: the limit is ${refusal.val} bytes`;
    default:
      return `too many messages: the limit is ${refusal.val}`;
  }
}

export class EffectError extends Error {
  constructor(effect, refusal) {
    super(`${effect} refused: ${wordsOf(refusal)}`);
    this.effect = effect;
    this.kind = refusal.tag;
    this.limit = typeof refusal.val === 'number' ? refusal.val : undefined;
  }
}
named(EffectError, 'EffectError');

export class ConfigError extends Error {
  constructor(name, value, cause) {
    super(`config \`${name}\` cannot be \`${value}\`: ${chain(cause)}`, cause instanceof Error ? { cause } : undefined);
  }
}
named(ConfigError, 'ConfigError');

/** What was thrown by a host call, as the error the handler sees. */
export function refused(effect, thrown) {
  const refusal = thrown?.payload;
  return typeof refusal?.tag === 'string' ? new EffectError(effect, refusal) : thrown;
}

/** What becomes of an event whose handler threw this: a case of the contract's `failure`. Never throws. */
export function verdictOf(thrown) {
  if (thrown instanceof Defer) {
    return { tag: 'defer', val: { delayMs: thrown.delayMs, reason: reasonOf(thrown) } };
  }
  if (thrown instanceof Reject || thrown instanceof DecodeError || thrown instanceof EffectError) {
    return { tag: 'reject', val: reasonOf(thrown) };
  }
  if (thrown instanceof Retry || thrown instanceof ConfigError) {
    return { tag: 'retry', val: reasonOf(thrown) };
  }
  return { tag: 'retry', val: report(thrown).toWellFormed() };
}

function reasonOf(error) {
  return String(error.message).toWellFormed();
}

/** `<Kind>: <message>` in the first line, then a frame in each line. */
function report(thrown) {
  if (!(thrown instanceof Error)) return `thrown: ${oneLine(show(thrown))}`;
  const lines = [];
  try {
    const seen = new Set();
    for (let at = thrown; at instanceof Error && !seen.has(at); at = at.cause) {
      lines.push(seen.size === 0 ? titleOf(at) : `caused by ${titleOf(at)}`, ...framesOf(at));
      seen.add(at);
    }
  } catch {
    // An error that cannot be inspected is shown as far as it could be read.
  }
  return lines.join('\n') || 'Error';
}

export function titleOf(error) {
  try {
    return oneLine(String(error));
  } catch {
    return 'Error';
  }
}

function show(value) {
  try {
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  } catch {
    return Object.prototype.toString.call(value);
  }
}
