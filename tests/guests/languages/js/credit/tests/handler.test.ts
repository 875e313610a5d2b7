import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, handler } from '@heddle/sdk/testing';
import handle from '../src/handler.js';

const credit = (config = { limit: 200 as number | string }) =>
  handler(handle, { key: '{subject.2}', publishes: ['credit.*.*'], config });

const created = (order: string, amount: number) => event('order.created.c1', { order, item: 'loom', amount });
const cancelled = (order: string) => event('order.cancelled.c1', { order, amount: 1, reason: 'discontinued' });

test('credit is reserved up to the limit and no further', async () => {
  const shop = credit();
  let run = await shop.run(created('o-1', 120));
  let account = { order: 'o-1', amount: 120, reserved: 120, limit: 200 };
  assert.deepEqual(run.done().message('credit.reserved.c1').json(), account);
  run = await shop.run(created('o-2', 81));
  account = { order: 'o-2', amount: 81, reserved: 120, limit: 200 };
  assert.deepEqual(run.done().message('credit.exceeded.c1').json(), account);
  run = await shop.run(created('o-3', 80));
  assert.deepEqual(run.done().subjects, ['credit.reserved.c1']);
  assert.deepEqual(shop.state('c1'), { 'o-1': 120, 'o-3': 80 });
});

test('a cancelled order gives back what it had once', async () => {
  const shop = credit();
  (await shop.run(created('o-1', 120))).done();
  (await shop.run(created('o-2', 30))).done();
  let run = await shop.run(cancelled('o-1'));
  const account = { order: 'o-1', amount: 120, reserved: 30, limit: 200 };
  assert.deepEqual(run.done().message('credit.released.c1').json(), account);
  run = await shop.run(cancelled('o-1'));
  assert.deepEqual(run.done().messages, []);
  assert.deepEqual(shop.state('c1'), { 'o-2': 30 });
});

test('a customer without reservations has no state', async () => {
  const shop = credit();
  (await shop.run(created('o-1', 120))).done();
  assert.equal((await shop.run(cancelled('o-1'))).done().stateBytes, undefined);
});

test('an order reserves once', async () => {
  const shop = credit();
  (await shop.run(created('o-1', 10))).done();
  assert.equal((await shop.run(created('o-1', 10))).rejected(), 'order `o-1` has a reservation already');
});

test('what is no order is rejected', async () => {
  for (const payload of ['nope', {}, { order: 'o-1', amount: 0 }, { order: 'o-1', amount: 1.5 }, null]) {
    assert.match((await credit().run(event('order.created.c1', payload))).rejected(), /^cannot decode the payload: /);
  }
  const other = await credit().run(event('order.lost.c1'));
  assert.equal(other.rejected(), '`order.lost.c1` is no event that touches credit');
});

test('a limit that is no number is tried again', async () => {
  const run = await credit({ limit: 'much' }).run(created('o-1', 1));
  assert.match(run.retried(), /^config `limit` cannot be `much`/);
});
