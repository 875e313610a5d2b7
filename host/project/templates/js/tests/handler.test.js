import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, handler } from '@heddle/sdk/testing';
import handle from '../src/handler.js';

test('every third order earns a gift', async () => {
  const loyalty = handler(handle, { key: '{subject.2}', publishes: ['gift.earned.*'] });
  const placed = () => event('order.placed.ada', { order: 'o-1' });
  assert.deepEqual((await loyalty.run(placed())).done().messages, []);
  assert.deepEqual((await loyalty.run(placed())).done().messages, []);
  const third = await loyalty.run(placed());
  assert.deepEqual(third.done().message('gift.earned.ada').json(), { order: 'o-1', number: 1 });
});

test('an order that cannot be read is rejected', async () => {
  const loyalty = handler(handle, { key: '{subject.2}' });
  const run = await loyalty.run(event('order.placed.ada', 'not JSON'));
  assert.match(run.rejected(), /^cannot decode the payload/);
});
