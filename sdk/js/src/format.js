// Values as a line of text, for logs: texts as they are, errors with their stack, everything else much like JSON.

import { titleOf } from './errors.js';
import { framesOf } from './stack.js';

const MOST_ENTRIES = 100;
const MOST_DEPTH = 6;

/** The values with a space between them. `%s`, `%d`, `%i`, `%f`, `%j`, `%o`, `%O` and `%%` in a first text are filled in. */
export function format(values) {
  if (values.length === 1) return typeof values[0] === 'string' ? values[0] : show(values[0]);
  let rest = values;
  const parts = [];
  if (typeof values[0] === 'string' && values[0].includes('%')) {
    rest = values.slice(1);
    parts.push(
      values[0].replace(/%[sdifjoOc%]/g, (mark) => (mark === '%%' ? '%' : rest.length > 0 ? fill(mark, rest.shift()) : mark)),
    );
  }
  for (const value of rest) parts.push(typeof value === 'string' ? value : show(value));
  return parts.join(' ');
}

function fill(mark, value) {
  switch (mark) {
    case '%s':
      return typeof value === 'string' ? value : show(value);
    case '%d':
    case '%f':
      return typeof value === 'object' ? 'NaN' : String(Number(value));
    case '%i':
      return typeof value === 'object' ? 'NaN' : String(Math.trunc(Number(value)));
    case '%c':
      return '';
    default:
      return show(value);
  }
}

/** One value as text. */
export function show(value) {
  try {
    return text(value, 0, []);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

function text(value, depth, within) {
  switch (typeof value) {
    case 'string':
      return depth === 0 ? value : JSON.stringify(value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return `[function ${value.name || 'anonymous'}]`;
    case 'object':
      return value === null ? 'null' : object(value, depth, within);
    default:
      return String(value);
  }
}

function object(value, depth, within) {
  if (value instanceof Error) {
    const frames = framesOf(value).map((frame) => `\n    ${frame}`);
    return titleOf(value) + (depth === 0 ? frames.join('') : '');
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (within.includes(value)) return '[circular]';
  if (depth >= MOST_DEPTH) return Array.isArray(value) ? '[…]' : '{…}';
  const inside = [...within, value];
  const inner = (child) => text(child, depth + 1, inside);
  if (Array.isArray(value)) return `[${list(value, inner)}]`;
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return `${value.constructor.name}(${value.length}) [${list(value, inner)}]`;
  }
  if (value instanceof Set) return `Set(${value.size}) {${list(value, inner)}}`;
  if (value instanceof Map) {
    return `Map(${value.size}) {${list(value, ([key, child]) => `${inner(key)} => ${inner(child)}`)}}`;
  }
  if (typeof value.toJSON === 'function') return inner(value.toJSON());
  const name = value.constructor?.name;
  const prefix = name && name !== 'Object' ? `${name} ` : '';
  return `${prefix}{${list(Object.entries(value), ([key, child]) => `${JSON.stringify(key)}:${inner(child)}`)}}`;
}

function list(values, write) {
  const parts = [];
  for (const value of values) {
    if (parts.length === MOST_ENTRIES) {
      parts.push('…');
      break;
    }
    parts.push(write(value));
  }
  return parts.join(',');
}
