// One value for each key of this handler, stored in the same commit as the effects.

import { jsonOf } from './effects.js';
import { DecodeError, refused } from './errors.js';
import { decodeJson } from './event.js';
import { host } from './host.js';

export function getText() {
  let text;
  try {
    text = host.stateText();
  } catch (thrown) {
    if (!('payload' in Object(thrown))) throw thrown;
    throw new DecodeError('state', 'it is not UTF-8');
  }
  return text ?? undefined;
}

export function setText(value) {
  const text = String(value).toWellFormed();
  try {
    host.setStateText(text);
  } catch (thrown) {
    throw refused('state', thrown);
  }
}

export function getBytes() {
  return host.state() ?? undefined;
}

export function setBytes(value) {
  if (!(value instanceof Uint8Array)) throw new TypeError('the bytes of a state are a `Uint8Array`');
  try {
    host.setState(value);
  } catch (thrown) {
    throw refused('state', thrown);
  }
}

export function get(read) {
  const text = getText();
  return text === undefined ? undefined : decodeJson('state', text, read);
}

export function set(value) {
  setText(jsonOf('state', value));
}

export function update(change, initial) {
  const value = change(get() ?? initial);
  set(value);
  return value;
}

export function clear() {
  host.clearState();
}
