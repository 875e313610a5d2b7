import assert from 'node:assert/strict';
import { test } from 'node:test';
import { format, show } from '../src/format.js';
import { structuredClone as clone } from '../src/plugin/clone.js';
import { makeConsole } from '../src/plugin/console.js';

test('values are shown much like JSON', () => {
  const circular = { a: 1 };
  circular.self = circular;
  class Point {
    x = 1;
  }
  for (const [value, expected] of [
    ['text', 'text'],
    [null, 'null'],
    [undefined, 'undefined'],
    [12n, '12n'],
    [[1, 'a', undefined], '[1,"a",undefined]'],
    [{ a: { b: [true] } }, '{"a":{"b":[true]}}'],
    [circular, '{"a":1,"self":[circular]}'],
    [new Point(), 'Point {"x":1}'],
    [new Map([['a', 1]]), 'Map(1) {"a" => 1}'],
    [new Set([1, 2]), 'Set(2) {1,2}'],
    [Uint8Array.of(1, 2), 'Uint8Array(2) [1,2]'],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    [/a/g, '/a/g'],
    [function named() {}, '[function named]'],
    [Symbol('s'), 'Symbol(s)'],
    [Object.create(null), '{}'],
  ]) {
    assert.equal(show(value), expected);
  }
  assert.match(show(new TypeError('bad')), /^TypeError: bad\n {4}at .*globals\.test\.js/);
  assert.match(show(Array.from({ length: 1000 }, (_, i) => i)), /,99,…\]$/);
});

test('marks of a first text are filled in', () => {
  assert.equal(format(['%s is %d of %i: %j', 'a', '7', 7.9, { b: 1 }, 'rest']), 'a is 7 of 7: {"b":1} rest');
  assert.equal(format(['100%', 'sure']), '100% sure');
  assert.equal(format(['%s']), '%s');
  assert.equal(format(['%s %s', 1]), '1 %s');
  assert.equal(format([1, '%s', 'a']), '1 %s a');
  assert.equal(format(['%%d', 1]), '%d 1');
  assert.equal(format([]), '');
});

test('the console writes at its levels', () => {
  const lines = [];
  const console = makeConsole((level, text) => lines.push(`${level} ${text}`));
  console.log('a', 1);
  console.info('b');
  console.debug('c');
  console.warn('d');
  console.error('e');
  console.trace('f');
  console.assert(true, 'no');
  console.assert(false, 'g');
  console.dir({ h: 1 });
  console.groupEnd();
  assert.deepEqual(lines, [
    'info a 1',
    'info b',
    'debug c',
    'warn d',
    'error e',
    'trace f',
    'error Assertion failed: g',
    'info {"h":1}',
  ]);
});

test('a clone shares nothing with its original', () => {
  const original = {
    list: [1, { a: 2 }],
    map: new Map([['k', { v: 1 }]]),
    set: new Set([1]),
    date: new Date(5),
    bytes: Uint8Array.of(1, 2),
    pattern: /x/gi,
    error: new RangeError('far', { cause: 'near' }),
  };
  original.self = original;
  const copy = clone(original);
  assert.deepEqual(copy, original);
  assert.equal(copy.self, copy);
  assert.notEqual(copy.list[1], original.list[1]);
  assert.notEqual(copy.bytes.buffer, original.bytes.buffer);
  assert.ok(copy.error instanceof RangeError);
  assert.throws(() => clone({ call() {} }), TypeError);
  assert.throws(() => clone(Symbol('s')), TypeError);
});
