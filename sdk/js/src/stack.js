// Stacks of errors in the words of the user's source files.
//
// A plugin is one file that the build made of many. The build leaves a map in it, which is read only when an error is
// shown. In it each line of the plugin stands for itself, so that only the lines that are asked for are decoded.

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** `{ file, sources, lines }`, or none outside of a plugin. */
let map;

/**
 * Takes the map of this plugin: `file` is the plugin's name in stacks, `sources` the user's files, `lines` has a text for
 * each line of the plugin, with `;` between them: segments of Base64 VLQ numbers, `column, source, line, column`, with
 * `,` between them, each relative to the one before it in its line.
 */
export function setMap(next) {
  map = next;
}

/** The numbers of a segment. */
export function decodeSegment(text) {
  const numbers = [];
  let value = 0;
  let shift = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = DIGITS.indexOf(text[i]);
    value += (digit & 31) << shift;
    if (digit & 32) {
      shift += 5;
    } else {
      numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
      value = 0;
      shift = 0;
    }
  }
  return numbers;
}

/** The numbers as a segment. */
export function encodeSegment(numbers) {
  let text = '';
  for (const number of numbers) {
    let rest = number < 0 ? (-number << 1) | 1 : number << 1;
    do {
      const digit = rest & 31;
      rest >>>= 5;
      text += DIGITS[rest > 0 ? digit | 32 : digit];
    } while (rest > 0);
  }
  return text;
}

/** Where a place of the plugin comes from, as `file:line:column`; none if it is not the user's. Counted from 1. */
export function placeOf(map, line, column) {
  if (typeof map.lines === 'string') map.lines = map.lines.split(';');
  const segments = map.lines[line - 1];
  if (!segments) return undefined;
  const sum = [0, 0, 0, 0];
  let place;
  for (const segment of segments.split(',')) {
    const numbers = decodeSegment(segment);
    sum[0] += numbers[0];
    if (place && sum[0] > column - 1) break;
    if (numbers.length > 1) {
      for (let i = 1; i < 4; i++) sum[i] += numbers[i];
      place = `${map.sources[sum[1]]}:${sum[2] + 1}:${sum[3] + 1}`;
    } else {
      place = undefined;
    }
  }
  return place;
}

/** The frames of an error that are the user's, each as `at name (file:line:column)`. */
export function framesOf(error) {
  const stack = String(error.stack ?? '');
  const frames = [];
  for (const line of stack.split('\n')) {
    const [, name, inner] = /^\s*at (?:(.*?) \()?(.*?)\)?$/.exec(line) ?? [];
    if (inner === undefined) continue;
    const place = map ? mapped(inner) : native(inner);
    if (place) frames.push(!name || name === '<anonymous>' ? `at ${place}` : `at ${name} (${place})`);
  }
  return frames;
}

function mapped(inner) {
  const [, file, line, column] = /^(.*):(\d+):(\d+)$/.exec(inner) ?? [];
  return file === map.file ? placeOf(map, Number(line), Number(column)) : undefined;
}

/** In a test: a frame is the user's unless it is of this package or of Node. */
function native(inner) {
  const own = import.meta.url.slice(0, import.meta.url.lastIndexOf('/') + 1);
  if (inner.startsWith('node:') || inner.startsWith('native') || inner.includes(own)) return undefined;
  return /:\d+:\d+$/.test(inner) ? inner : undefined;
}
