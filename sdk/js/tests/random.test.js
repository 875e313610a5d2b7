import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../src/plugin/random.js';

const three = (seed) => {
  const random = new Random(seed);
  return [random.next(), random.next(), random.next()];
};

test('a seed gives the same numbers, another seed others', () => {
  assert.deepEqual(three('SHOP/7\ncredit'), three('SHOP/7\ncredit'));
  assert.notDeepEqual(three('SHOP/7\ncredit'), three('SHOP/8\ncredit'));
  assert.notDeepEqual(three('SHOP/7\ncredit'), three('SHOP/7\nnotify'));
});

test('numbers lie from 0 to 1 and spread', () => {
  const random = new Random('spread');
  const counts = new Array(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const number = random.next();
    assert.ok(number >= 0 && number < 1);
    counts[Math.floor(number * 10)] += 1;
  }
  for (const count of counts) assert.ok(count > 850 && count < 1150, counts.join());
});

test('first numbers of seeds that are alike spread as well', () => {
  let sum = 0;
  for (let i = 0; i < 2000; i++) sum += new Random(`SHOP/${i}\nhandler`).next();
  assert.ok(Math.abs(sum / 2000 - 0.5) < 0.03, String(sum / 2000));
});

test('arrays are filled and UUIDs are well-formed', () => {
  const random = new Random('x');
  assert.ok(new Set(random.fill(new Uint8Array(64))).size > 30);
  assert.ok(random.fill(new Uint32Array(4)).every((word) => word > 0xffff));
  assert.throws(() => random.fill(new Float64Array(1)), TypeError);
  assert.match(random.uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
