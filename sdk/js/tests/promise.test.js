import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Loop } from '../src/plugin/loop.js';
import { makePromise } from '../src/plugin/promise.js';

/** Runs `begin` with a class of its own and answers with what it has noted once all jobs have run. */
function noted(begin) {
  const loop = new Loop();
  const { Promise, unhandled } = makePromise(loop.queue);
  const notes = [];
  const note = (value) => notes.push(value);
  begin(Promise, note, loop);
  loop.runJobs();
  return { notes, unhandled: [...unhandled.values()] };
}

test('reactions run later, in order, and once', () => {
  const { notes } = noted((Promise, note) => {
    const promise = new Promise((resolve, reject) => {
      resolve('a');
      resolve('b');
      reject(new Error('c'));
    });
    promise.then((value) => note(`1 ${value}`));
    promise.then((value) => note(`2 ${value}`));
    note('first');
  });
  assert.deepEqual(notes, ['first', '1 a', '2 a']);
});

test('jobs interleave as in every other engine', () => {
  const expected = [];
  const begin = (P, note) => {
    P.resolve()
      .then(() => {
        note(0);
        return P.resolve(4);
      })
      .then(note);
    P.resolve()
      .then(() => note(1))
      .then(() => note(2))
      .then(() => note(3))
      .then(() => note(5))
      .then(() => note(6));
  };
  const { notes } = noted(begin);
  begin(Promise, (value) => expected.push(value));
  return new Promise(setImmediate).then(() => {
    assert.deepEqual(notes, expected);
    assert.deepEqual(notes, [0, 1, 2, 3, 4, 5, 6]);
  });
});

test('values, errors and thenables pass through chains', () => {
  const { notes, unhandled } = noted((Promise, note) => {
    Promise.resolve(1).then().catch().then(note);
    Promise.reject(2)
      .then(note)
      .catch((reason) => note(`caught ${reason}`));
    new Promise(() => {
      throw 3;
    }).catch((reason) => note(`thrown ${reason}`));
    Promise.resolve({ then: (resolve) => resolve('thenable') }).then(note);
    Promise.resolve(5)
      .finally(() => 'ignored')
      .then(note);
    Promise.reject(6)
      .finally(() => {})
      .catch((reason) => note(`finally ${reason}`));
    Promise.resolve()
      .finally(() => Promise.reject(7))
      .catch((reason) => note(`instead ${reason}`));
  });
  assert.deepEqual(new Set(notes), new Set([1, 'caught 2', 'thrown 3', 'thenable', 5, 'finally 6', 'instead 7']));
  assert.deepEqual(unhandled, []);
});

test('a promise that is resolved with itself is rejected', () => {
  const { notes } = noted((Promise, note) => {
    const { promise, resolve } = Promise.withResolvers();
    resolve(promise);
    promise.catch((error) => note(error.name));
  });
  assert.deepEqual(notes, ['TypeError']);
});

test('a promise of the engine is refused, for it would never settle', () => {
  const { notes } = noted((Promise, note) => {
    Promise.resolve(globalThis.Promise.resolve(1)).catch((error) => note(error.message));
  });
  assert.match(notes[0], /that the engine made/);
});

test('all, allSettled, any and race', () => {
  const { notes, unhandled } = noted((Promise, note) => {
    Promise.all([1, Promise.resolve(2)]).then(note);
    Promise.all([]).then(note);
    Promise.all([1, Promise.reject('no')]).catch(note);
    Promise.allSettled([1, Promise.reject('no')]).then(note);
    Promise.any([Promise.reject('no'), 7]).then(note);
    Promise.any([Promise.reject('a'), Promise.reject('b')]).catch((error) => note(error.errors));
    Promise.any([]).catch((error) => note(error.name));
    Promise.race([new Promise(() => {}), 8]).then(note);
    Promise.try((a, b) => a + b, 4, 5).then(note);
    Promise.all(7).catch((error) => note(error.name));
  });
  const expected = [
    [1, 2],
    [],
    'no',
    [
      { status: 'fulfilled', value: 1 },
      { status: 'rejected', reason: 'no' },
    ],
    7,
    ['a', 'b'],
    'AggregateError',
    8,
    9,
    'TypeError',
  ];
  for (const value of expected)
    assert.ok(
      notes.some((one) => same(one, value)),
      JSON.stringify(value),
    );
  assert.equal(notes.length, expected.length);
  assert.deepEqual(unhandled, []);
});

function same(left, right) {
  try {
    assert.deepEqual(left, right);
    return true;
  } catch {
    return false;
  }
}

test('a rejection that nobody listens to is not lost', () => {
  const { unhandled } = noted((Promise) => {
    Promise.reject('alone');
    const late = Promise.reject('late');
    Promise.resolve().then(() => late.catch(() => {}));
    Promise.resolve().then(() => {
      throw 'in a chain';
    });
  });
  assert.deepEqual(unhandled, ['alone', 'in a chain']);
});

test('it can be extended and looks like a promise', () => {
  noted((Promise) => {
    class Mine extends Promise {}
    assert.ok(Mine.resolve(1) instanceof Mine);
    assert.ok(Mine.resolve(1).then() instanceof Mine);
    assert.ok(Mine.all([]) instanceof Promise);
    assert.equal(Object.prototype.toString.call(Promise.resolve()), '[object Promise]');
    assert.throws(() => new Promise(), TypeError);
    assert.throws(() => Promise(() => {}), TypeError);
  });
});

test('a rejected thenable within then is thrown into the chain', () => {
  const { notes } = noted((Promise, note) => {
    const bad = {
      get then() {
        throw 'getter';
      },
    };
    Promise.resolve(1)
      .then(() => bad)
      .catch(note);
  });
  assert.deepEqual(notes, ['getter']);
});
