import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { compact } from '../build/bundle.mjs';
import { sdk } from '../build/project.mjs';
import { decodeSegment, encodeSegment, framesOf, placeOf, setMap } from '../src/stack.js';

afterEach(() => setMap(undefined));

test('numbers go there and back', () => {
  for (const numbers of [[0], [1, -1, 15, 16, -16], [123456789, -123456789, 31, 32]]) {
    assert.deepEqual(decodeSegment(encodeSegment(numbers)), numbers);
  }
});

/** A map as bundlers write it, of `[column, source, line, column]` for each line. */
function mapOf(sources, lines) {
  const last = [0, 0, 0];
  const mappings = lines.map((line) => {
    let column = 0;
    return line
      .map(([at, ...place]) => {
        const numbers = [at - column, ...place.map((number, i) => number - last[i])];
        column = at;
        for (const [i, number] of place.entries()) last[i] = number;
        return encodeSegment(numbers);
      })
      .join(',');
  });
  return { sources, mappings: mappings.join(';') };
}

const own = `${sdk}/src/event.js`;
const bundled = mapOf(
  [own, '../../src/handler.ts', '../../node_modules/left/index.js'],
  [
    [],
    [[0, 0, 4, 0]],
    [
      [0, 1, 9, 2],
      [8, 1, 9, 20],
      [30, 0, 7, 0],
    ],
    [],
    [
      [4, 2, 0, 0],
      [10, 1, 11, 4],
    ],
  ],
);

test('a map keeps the places of the user and no others', () => {
  const map = compact(bundled, '/project/.heddle/build', '/project');
  assert.deepEqual(map.sources, ['src/handler.ts', 'node_modules/left/index.js']);
  const place = (line, column) => placeOf(map, line, column);
  assert.equal(place(2, 1), undefined);
  assert.equal(place(3, 1), 'src/handler.ts:10:3');
  assert.equal(place(3, 8), 'src/handler.ts:10:3');
  assert.equal(place(3, 9), 'src/handler.ts:10:21');
  assert.equal(place(3, 40), undefined);
  assert.equal(place(4, 1), undefined);
  assert.equal(place(5, 6), 'node_modules/left/index.js:1:1');
  assert.equal(place(5, 12), 'src/handler.ts:12:5');
  assert.equal(place(99, 1), undefined);
});

test('frames of the SDK, of the engine and of other files are left out', () => {
  setMap(compact(bundled, '/project/.heddle/build', '/project'));
  const stack = `    at deep (componentize-qjs:user.js:3:9)
    at map (native)
    at <anonymous> (componentize-qjs:user.js:5:12)
    at json (componentize-qjs:user.js:2:3)
    at other (elsewhere.js:3:9)
    at handle (componentize-qjs:user.js:3:1)`;
  assert.deepEqual(framesOf({ stack }), [
    'at deep (src/handler.ts:10:21)',
    'at src/handler.ts:12:5',
    'at handle (src/handler.ts:10:3)',
  ]);
});

test('without a map the frames are those of the running files', () => {
  const frames = framesOf(new Error('x'));
  assert.match(frames[0], /stack\.test\.js:\d+:\d+/);
  assert.ok(frames.every((frame) => !frame.includes('node:')));
  assert.deepEqual(framesOf({ stack: undefined }), []);
});
