import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Loop } from '../src/plugin/loop.js';

test('jobs that jobs add run as well, in order', () => {
  const loop = new Loop();
  const notes = [];
  loop.queue(() => {
    notes.push(1);
    loop.queue(() => notes.push(3));
  });
  loop.queue(() => notes.push(2));
  loop.runJobs();
  assert.deepEqual(notes, [1, 2, 3]);
});

test('timers run by their time, the older one of two, with their arguments', () => {
  const loop = new Loop();
  const notes = [];
  const note = (...values) => notes.push(values.join());
  loop.setTimer(note, 20, ['c']);
  loop.setTimer(note, 10, ['a', 1]);
  loop.setTimer(note, 10, ['b']);
  loop.setTimer(() => loop.setTimer(note, 5, ['nested']), 10, []);
  loop.setTimer(note, undefined, ['at once']);
  while (loop.runTimer());
  assert.deepEqual(notes, ['at once', 'a,1', 'b', 'nested', 'c']);
});

test('an interval runs until it is cleared, also from within', () => {
  const loop = new Loop();
  let count = 0;
  const id = loop.setTimer(
    () => {
      count += 1;
      if (count === 3) loop.clearTimer(id);
    },
    1,
    [],
    true,
  );
  while (loop.runTimer());
  assert.equal(count, 3);
});

test('a cleared timer does not run, and nothing is left after an event', () => {
  const loop = new Loop();
  const fail = () => assert.fail('it runs');
  loop.clearTimer(loop.setTimer(fail, 1, []));
  loop.setTimer(fail, 1, []);
  loop.queue(fail);
  loop.clear();
  loop.runJobs();
  assert.equal(loop.runTimer(), false);
});
