import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, handler } from '@heddle/sdk/testing';
import track from '../src/handler.js';

const payloads: Record<string, object> = { labelled: { parcel: 'p1', label: 'HD-P1-07', cents: 350 } };
const step = (name: string) => event(`parcel.${name}.p1`, payloads[name] ?? { parcel: 'p1' });

async function sentAfter(steps: string[]) {
  const tracker = handler(track, { key: '{subject.2}', publishes: ['parcel.ready.*'] });
  const sent = [];
  for (const name of steps) {
    const run = await tracker.run(step(name));
    for (const message of run.done().messages) sent.push({ at: name, ...message.json() });
  }
  return sent;
}

test('a parcel is ready once, in whatever order its steps are heard', async () => {
  for (const steps of [
    ['posted', 'accepted', 'priced', 'labelled', 'ready'],
    ['labelled', 'posted', 'priced', 'accepted', 'ready', 'labelled'],
  ]) {
    const at = steps.find((name, i) => i > 0 && ['accepted', 'labelled'].every((one) => steps.slice(0, i + 1).includes(one)));
    assert.deepEqual(await sentAfter(steps), [{ at, parcel: 'p1', label: 'HD-P1-07', steps: 4 }]);
  }
});

test('a parcel that is not labelled is not ready', async () => {
  assert.deepEqual(await sentAfter(['posted', 'accepted', 'priced']), []);
});
