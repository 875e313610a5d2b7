// The handler's `config` table of `heddle.toml`. It does not change while an instance lives.

import { ConfigError } from './errors.js';
import { host } from './host.js';

export function get(name) {
  return host.config(String(name).toWellFormed()) ?? undefined;
}

export function parse(name, read) {
  const text = get(name);
  if (text === undefined) return undefined;
  let value;
  try {
    value = read(text);
  } catch (cause) {
    throw new ConfigError(name, text, cause);
  }
  if (Number.isNaN(value)) throw new ConfigError(name, text, 'not a number');
  return value;
}

export function number(name) {
  return parse(name, (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    if (!Number.isFinite(value)) throw new Error('not a number');
    return value;
  });
}

export function integer(name) {
  return parse(name, (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value)) throw new Error('not a whole number');
    return value;
  });
}

export function boolean(name) {
  return parse(name, (text) => {
    if (text !== 'true' && text !== 'false') throw new Error('neither `true` nor `false`');
    return text === 'true';
  });
}
