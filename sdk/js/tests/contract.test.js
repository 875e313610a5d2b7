// What a handler can rely on, and what its tests can.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { config, context, DecodeError, Defer, EffectError, log, publish, Reject, reply, Retry, state } from '../src/index.js';
import { event, handler, run } from '../src/testing/index.js';

function count(event) {
  const n = state.update((n) => n + 1, 0);
  publish(`count.${event.key}`, n);
  log.info(`${event.key} is at`, n);
  if (event.text() === 'fail') throw new Retry('as told');
}

test('each key has a state of its own', async () => {
  const counter = handler(count, { key: '{subject.1}' });
  (await counter.run(event('hit.a'))).done();
  (await counter.run(event('hit.b'))).done();
  const second = await counter.run(event('hit.a'));
  assert.equal(second.done().message('count.a').json(), 2);
  assert.deepEqual([counter.state('a'), counter.state('b'), counter.state('c')], [2, 1, undefined]);
});

test('what a failed event did is forgotten but its log', async () => {
  const counter = handler(count, { key: 'k' }).givenState('k', 5);
  const failed = await counter.run(event('hit', 'fail'));
  assert.equal(failed.retried(), 'as told');
  assert.deepEqual(failed.messages, []);
  assert.equal(failed.state(), 5);
  assert.deepEqual(failed.logs, [{ level: 'info', message: 'k is at 6' }]);
});

test('a payload that cannot be read is a reject', async () => {
  const read = (event) => event.json();
  assert.match((await run(read, event('a', 'nope'))).rejected(), /^cannot decode the payload: \S/);
  assert.equal((await run(read, event('a', Uint8Array.of(0xff)))).rejected(), 'cannot decode the payload: it is not UTF-8');
  const checked = (event) =>
    event.json(({ n }) => {
      if (n === undefined) throw new Error('no `n`\nat all');
    });
  assert.equal((await run(checked, event('a', {}))).rejected(), 'cannot decode the payload: no `n` at all');
  (await run(checked, event('a', { n: 1 }))).done();
});

test('a byte order mark before JSON is skipped and stays in text', async () => {
  const payload = new TextEncoder().encode('\ufeff{"order":"o-1"}');
  const seen = [];
  (await run((event) => void seen.push(event.json(), event.text()[0]), event('a', payload))).done();
  assert.deepEqual(seen, [{ order: 'o-1' }, '\ufeff']);
});

test('a state that cannot be read is a reject', async () => {
  const broken = handler(() => state.setText('nope'), { key: 'k' });
  (await broken.run(event('a'))).done();
  const reads = (read) =>
    run(() => {
      state.setText('"five"');
      read();
    }, event('a'));
  assert.match((await reads(() => state.get(Number.parse))).verdict.verdict, /done/);
  assert.equal(
    (await reads(() => state.get((n) => assert.fail(`${n} is no number`)))).rejected(),
    'cannot decode the state: five is no number',
  );
  const bytes = await run(() => {
    state.setBytes(Uint8Array.of(0xff));
    assert.throws(() => state.getText(), DecodeError);
    state.get();
  }, event('a'));
  assert.equal(bytes.rejected(), 'cannot decode the state: it is not UTF-8');
});

test('a state is text, bytes or JSON, and gone once cleared', async () => {
  const one = handler(() => {
    assert.equal(state.get(), undefined);
    assert.equal(state.getText(), undefined);
    assert.equal(state.getBytes(), undefined);
    state.set({ a: 'ä' });
    assert.equal(state.getText(), '{"a":"ä"}');
    const bytes = state.getBytes();
    bytes[0] = 0;
    assert.deepEqual(state.get(), { a: 'ä' });
    state.clear();
    assert.equal(state.get(), undefined);
  });
  assert.equal((await one.run(event('a'))).done().stateBytes, undefined);
});

test('a refused effect is a reject that says which', async () => {
  const refused = await handler(() => publish('other.x', 1), { publishes: ['out.*'] }).run(event('a'));
  assert.equal(refused.rejected(), 'publish on `other.x` refused: not granted: subject `other.x` is outside of `publishes`');
});

test('what is no JSON is refused with its subject', async () => {
  const circular = {};
  circular.self = circular;
  for (const [payload, problem] of [
    [undefined, /: undefined$/],
    [circular, /circular/],
    [{ n: 1n }, /BigInt/],
    [Promise.resolve(1), /: it is a promise, which must be awaited first$/],
  ]) {
    const reason = (await run(() => publish('out.x', payload), event('a'))).rejected();
    assert.match(reason, /^publish on `out\.x` refused: invalid: cannot be written as JSON: /);
    assert.match(reason, problem);
  }
  const reason = (await run(() => state.update(() => {}, 1), event('a'))).rejected();
  assert.equal(reason, 'state refused: invalid: cannot be written as JSON: undefined');
});

test('a handler may go on without a refused effect', async () => {
  const going = await run(() => {
    assert.throws(
      () => publish('out.*', 1),
      (error) => error instanceof EffectError && error.kind === 'invalid',
    );
    publish('out.x', 2);
  }, event('a'));
  assert.deepEqual(going.done().subjects, ['out.x']);
});

test('limits hold', async () => {
  const refusal = (call) => {
    try {
      call();
    } catch (error) {
      return [error.kind, error.limit];
    }
    return undefined;
  };
  const limited = handler(
    () => {
      publish('out.a', '1');
      assert.deepEqual(
        refusal(() => publish('out.b', 'x'.repeat(100))),
        ['too-large', 99],
      );
      assert.deepEqual(
        refusal(() => state.set('longer than ten bytes')),
        ['too-large', 10],
      );
      publish('out.c', '1');
      assert.deepEqual(
        refusal(() => publish('out.d', '1')),
        ['too-many', 2],
      );
      assert.equal(
        refusal(() => state.setText('0123456789')),
        undefined,
      );
    },
    { limits: { messages: 2, output: 99, state: 10 } },
  );
  assert.deepEqual((await limited.run(event('a'))).done().subjects, ['out.a', 'out.c']);
});

test('texts of refusals are those of every SDK', () => {
  const text = (tag, val) => new EffectError('publish on `out.x`', { tag, val }).message;
  assert.equal(text('too-large', 9), 'publish on `out.x` refused: too large: the limit is 9 bytes');
  assert.equal(text('too-many', 3), 'publish on `out.x` refused: too many messages: the limit is 3');
});

test('a message carries its payload, headers and delay', async () => {
  const sent = await run(() => {
    publish('out.json', { a: [1, null] }, { headers: { Priority: 'low' }, delayMs: 1500 });
    publish('out.text', 'plain \ud800', {
      headers: [
        ['A', '1'],
        ['A', '2'],
      ],
    });
    publish('out.bytes', Uint8Array.of(1, 255));
    publish('out.buffer', Uint8Array.of(1, 2).buffer, { headers: new Map([['B', '3']]) });
    publish('out.view', new Uint8Array([1, 2, 3]).subarray(1));
    publish('out.null', null);
  }, event('a'));
  const message = (name) => sent.done().message(`out.${name}`);
  assert.deepEqual(message('json').json(), { a: [1, null] });
  assert.deepEqual([message('json').header('Priority'), message('json').delayMs], ['low', 2000]);
  assert.equal(message('text').text(), 'plain \ufffd');
  assert.deepEqual(message('text').headers, [
    ['A', '1'],
    ['A', '2'],
  ]);
  assert.deepEqual([...message('bytes').payload], [1, 255]);
  assert.deepEqual([...message('buffer').payload], [1, 2]);
  assert.equal(message('buffer').header('B'), '3');
  assert.deepEqual([...message('view').payload], [2, 3]);
  assert.equal(message('null').text(), 'null');
});

test('a delay is a number of milliseconds that the host can count', async () => {
  for (const delayMs of [-1, Number.NaN, '5', Infinity, 2 ** 42 * 1000]) {
    const reason = (await run(() => publish('out.x', 1, { delayMs }), event('a'))).rejected();
    assert.match(reason, /^publish on `out\.x` refused: invalid: a delay of /, String(delayMs));
  }
});

test('a reply goes to whoever asked and to no one else', async () => {
  const answer = () => reply('yés', { headers: { Kind: 'short' } });
  const asked = await run(answer, event('a', '', { replyTo: '_INBOX.7' }));
  assert.deepEqual([asked.done().reply.subject, asked.reply.text(), asked.reply.header('Kind')], ['_INBOX.7', 'yés', 'short']);
  assert.equal((await run(answer, event('a'))).rejected(), 'reply refused: invalid: the event has no `Heddle-Reply-To` header');
  const twice = await run(() => [answer(), answer()], event('a', '', { replyTo: '_INBOX.7' }));
  assert.equal(twice.rejected(), 'reply refused: invalid: the event is answered already');
});

test('the context is that of the event', async () => {
  const settings = { stream: 'SHOP', name: 'credit' };
  const given = event('a.b', 'x', {
    attempt: 3,
    sequence: 41,
    correlation: 'SHOP/7',
    time: new Date(1500),
    headers: [
      ['A', '1'],
      ['Nats-Msg-Id', 'x'],
      ['a', '3'],
      ['A', '2'],
    ],
  });
  const ran = await handler((event) => {
    const { attempt, sequence, stream, handler, correlation, deadlineMs } = context;
    assert.deepEqual([attempt, sequence, stream, handler, correlation, deadlineMs], [3, 41, 'SHOP', 'credit', 'SHOP/7', 2000]);
    assert.deepEqual([event.id, event.subject, event.key], ['SHOP/41', 'a.b', 'a.b']);
    assert.deepEqual([event.token(0), event.token(1), event.token(2)], ['a', 'b', undefined]);
    assert.deepEqual([event.time, event.timestamp], [new Date(1500), { seconds: 1, nanoseconds: 500_000_000 }]);
    assert.deepEqual(event.headers, [
      ['A', '1'],
      ['a', '3'],
      ['A', '2'],
    ]);
    assert.deepEqual([event.header('A'), event.header('b'), event.headerValues('A')], ['1', undefined, ['1', '2']]);
    assert.deepEqual([...event.payload], [0x78]);
  }, settings).run(given);
  ran.done();
});

test('a deferral tells its delay, never shortened but by what fits', async () => {
  const deferred = async (delayMs) =>
    (
      await run(() => {
        throw new Defer(delayMs, 'too early');
      }, event('a'))
    ).deferred();
  assert.deepEqual(await deferred(60_000), { delayMs: 60_000, reason: 'too early' });
  assert.equal((await deferred(1.001)).delayMs, 2);
  assert.equal((await deferred(-5)).delayMs, 0);
  assert.equal((await deferred(Infinity)).delayMs, 0xffff_ffff);
  assert.throws(() => new Defer('soon', 'x'), TypeError);
});

test('settings are read, and a setting that cannot be read is a retry', async () => {
  const settings = { limit: 7, half: '0.5', much: 'much', on: true, none: '' };
  await handler(
    () => {
      assert.equal(config.get('limit'), '7');
      assert.equal(config.get('nothing'), undefined);
      assert.equal(config.integer('limit'), 7);
      assert.equal(config.integer('nothing') ?? 1000, 1000);
      assert.equal(config.number('half'), 0.5);
      assert.equal(config.boolean('on'), true);
      assert.equal(config.parse('limit', Number), 7);
    },
    { config: settings },
  )
    .run(event('a'))
    .then((ran) => ran.done());
  for (const [read, reason] of [
    [() => config.integer('much'), 'config `much` cannot be `much`: not a whole number'],
    [() => config.integer('half'), 'config `half` cannot be `0.5`: not a whole number'],
    [() => config.number('none'), 'config `none` cannot be ``: not a number'],
    [() => config.boolean('limit'), 'config `limit` cannot be `7`: neither `true` nor `false`'],
    [() => config.parse('much', Number), 'config `much` cannot be `much`: not a number'],
    [
      () =>
        config.parse('much', () => {
          throw new Error('odd');
        }),
      'config `much` cannot be `much`: odd',
    ],
  ]) {
    assert.equal((await handler(read, { config: settings }).run(event('a'))).retried(), reason);
  }
});

test('reasons may be errors, with their causes', async () => {
  const rejected = await run(() => {
    throw new Reject(new Error('outer', { cause: new TypeError('inner\nline') }));
  }, event('a'));
  assert.equal(rejected.rejected(), 'outer: inner line');
});

test('any other error is a retry with its stack', async () => {
  function deep() {
    throw new RangeError('too\nfar', { cause: new Error('root') });
  }
  const reason = (await run(() => deep(), event('a'))).retried().split('\n');
  assert.equal(reason[0], 'RangeError: too far');
  assert.match(reason[1], /^at deep \(.*contract\.test\.js:\d+:\d+\)$/);
  assert.ok(reason.some((line) => line === 'caused by Error: root'));
  assert.ok(reason.every((line) => !line.includes('node:')));
  assert.equal(
    (
      await run(() => {
        throw 'text';
      }, event('a'))
    ).retried(),
    'thrown: text',
  );
  assert.equal(
    (
      await run(() => {
        throw { a: 1 };
      }, event('a'))
    ).retried(),
    'thrown: {"a":1}',
  );
  assert.match(
    (
      await run(() => {
        throw undefined;
      }, event('a'))
    ).retried(),
    /^thrown: undefined/,
  );
});

test('an error that is returned counts as thrown', async () => {
  assert.equal((await run(() => new Reject('no'), event('a'))).rejected(), 'no');
  assert.equal((await run(async () => new Reject('no'), event('a'))).rejected(), 'no');
});

test('a promise is awaited, and its timers do not wait', async () => {
  const begin = Date.now();
  const waited = await run(async () => {
    await new Promise((resolve) => {
      setTimeout(resolve, 3_600_000);
    });
    publish('out.x', 1);
  }, event('a'));
  assert.deepEqual(waited.done().subjects, ['out.x']);
  assert.ok(Date.now() - begin < 60_000);
  const failed = await run(async () => {
    await null;
    throw new Reject('later');
  }, event('a'));
  assert.equal(failed.rejected(), 'later');
});

test('a promise that never settles is a retry that says so', async () => {
  assert.match((await run(() => new Promise(() => {}), event('a'))).retried(), /^the handler awaits what never comes/);
});

test('several runs at once do not mix', async () => {
  const slow = async (event) => {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
    publish(`out.${event.key}`, 1);
  };
  const runs = await Promise.all(['a', 'b', 'c'].map((key) => run(slow, event(key))));
  assert.deepEqual(
    runs.map((ran) => ran.subjects),
    [['out.a'], ['out.b'], ['out.c']],
  );
});

test('random numbers are those of the event', async () => {
  const roll = () => publish('out.x', [Math.random(), Math.random()]);
  const numbers = async (sequence) => (await run(roll, event('a', '', { sequence }))).message('out.x').json();
  assert.deepEqual(await numbers(1), await numbers(1));
  assert.notDeepEqual(await numbers(1), await numbers(2));
  assert.notEqual(Math.random(), Math.random());
});

test('what is printed is logged', async (t) => {
  t.mock.method(process.stdout, 'write', () => true);
  const ran = await run(() => console.log('n is', { n: 1 }), event('a'));
  t.mock.restoreAll();
  assert.deepEqual(ran.logs, [{ level: 'info', message: 'n is {"n":1}' }]);
});

test('outside of a run there is no host', () => {
  assert.throws(() => context.attempt, /outside of an event the host cannot be called/);
  assert.throws(() => publish('a', 1), /outside of an event/);
  assert.throws(() => state.get(), /outside of an event/);
});

test('an expectation that does not hold fails the test', async () => {
  const failed = await run(() => {
    throw new Reject('no');
  }, event('a'));
  assert.throws(() => failed.done(), /expected the verdict done, but it is reject: no/);
  const done = await run(() => {}, event('a'));
  assert.throws(() => done.rejected(), /expected the verdict reject, but it is done/);
  assert.throws(() => done.message('out.x'), /expected one message on `out\.x`/);
});

test('a setting that there is not is a mistake', () => {
  assert.throws(() => handler(() => {}, { publish: ['a'] }), /has no setting `publish`/);
  assert.throws(() => handler(() => {}, { limits: { time: 1 } }), /has no setting `time`/);
  assert.throws(() => event('a', '', { reply: 'x' }), /has no setting `reply`/);
  assert.throws(() => handler('x'), TypeError);
});
