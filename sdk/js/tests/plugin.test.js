// The plugin's own side of the contract, with the contract's modules replaced. The globals of this process become those of a
// plugin, so nothing here may rely on `Promise` but what is handed to a handler.

import assert from 'node:assert/strict';
import { register } from 'node:module';
import { after, test } from 'node:test';

const calls = [];
const fake = { payload: 'text of the host', stateText: null, refusal: undefined };
globalThis.contract = {
  effects: {
    publishAfter: (...args) => called('publishAfter', args),
    publishText: (...args) => called('publishText', args),
    reply: (...args) => called('reply', args),
  },
  state: {
    get: () => null,
    getText: () => fake.stateText,
    set: (...args) => called('set', args),
    setText: (...args) => called('setText', args),
    clear: () => called('clear', []),
  },
  context: {
    payloadText: () => fake.payload,
    attempt: () => 2,
    stream: () => 'SHOP',
    sequence: () => 7,
    handler: () => 'credit',
    correlation: () => 'SHOP/1',
    deadlineMs: () => 1999,
  },
  config: { get: () => null },
  log: { log: (...args) => called('log', args) },
};

function called(name, args) {
  calls.push([name, ...args]);
  if (fake.refusal !== undefined) throw Object.assign(new Error('refused'), { payload: fake.refusal });
}

const hooks = `
export function resolve(id, context, next) {
  const name = /^heddle:plugin\\/(.*)@0\\.1\\.0$/.exec(id)?.[1];
  return name === undefined ? next(id, context) : { url: 'heddle:' + name, shortCircuit: true };
}
export function load(url, context, next) {
  if (!url.startsWith('heddle:')) return next(url, context);
  const name = url.slice('heddle:'.length);
  const known = { effects: 'publishAfter publishText reply', state: 'get getText set setText clear', config: 'get', log: 'log',
    context: 'payloadText attempt stream sequence handler correlation deadlineMs' }[name];
  const source = known.split(' ').map((f) => 'export const ' + f + ' = contract.' + name + '.' + f + ';').join('');
  return { format: 'module', shortCircuit: true, source };
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

const kept = Object.getOwnPropertyDescriptors(globalThis);
const { unhandled } = await import('../src/plugin/prelude.js');
const { plugin } = await import('../src/plugin/entry.js');
const sdk = await import('../src/index.js');
const own = Object.getOwnPropertyDescriptors(globalThis);
const changed = Object.keys(own).filter((name) => own[name].value !== kept[name]?.value);

/** The globals of Node, but while a handler runs. */
function asNode() {
  for (const name of changed) {
    if (kept[name]) Object.defineProperty(globalThis, name, kept[name]);
  }
}
function asPlugin() {
  for (const name of changed) Object.defineProperty(globalThis, name, own[name]);
}
asNode();
after(asNode);

const raw = (sequence = 7) => ({
  id: `SHOP/${sequence}`,
  subject: 'order.created.c1',
  key: 'c1',
  time: { seconds: 12, nanoseconds: 345_678_901 },
  headers: [{ name: 'A', value: '1' }],
  payload: Uint8Array.of(0x78),
});

/** What the handler's run throws to the engine, and the calls it makes. */
function ran(handle, event = raw()) {
  calls.length = 0;
  asPlugin();
  try {
    plugin(handle).handle(event);
    return { calls: [...calls] };
  } catch (verdict) {
    return { verdict, calls: [...calls] };
  } finally {
    asNode();
  }
}

test('a handler that returns is done', () => {
  const { verdict, calls } = ran((event) => {
    sdk.publish('out.x', { text: event.text(), time: event.time.toISOString() }, { delayMs: 1 });
    sdk.publish('out.y', event.payload);
  });
  assert.equal(verdict, undefined);
  assert.deepEqual(calls, [
    ['publishText', 'out.x', [], '{"text":"text of the host","time":"1970-01-01T00:00:12.345Z"}', 1],
    ['publishAfter', { subject: 'out.y', headers: [], payload: Uint8Array.of(0x78) }, 0],
  ]);
});

test('numbers beyond 2^31 keep their bits', () => {
  const { calls } = ran(() => sdk.publish('out.x', 1, { delayMs: 0xffff_ffff * 1000 }));
  assert.equal(calls[0][4] >>> 0, 0xffff_ffff);
});

test('errors become verdicts', () => {
  const verdict = (thrown) =>
    ran(() => {
      throw thrown;
    }).verdict;
  assert.deepEqual(verdict(new sdk.Retry('r')), { tag: 'retry', val: 'r' });
  assert.deepEqual(verdict(new sdk.Defer(1500, 'd')), { tag: 'defer', val: { delayMs: 1500, reason: 'd' } });
  assert.deepEqual(verdict(new sdk.Reject('x\ud800')), { tag: 'reject', val: 'x\ufffd' });
  const other = verdict(new TypeError('boom'));
  assert.equal(other.tag, 'retry');
  assert.match(other.val, /^TypeError: boom\nat /);
});

test('whatever is thrown becomes a verdict', () => {
  const odd = new Error('odd');
  Object.defineProperty(odd, 'stack', {
    get() {
      throw new Error('no stack');
    },
  });
  const broken = { toJSON: () => assert.fail() };
  for (const thrown of [
    null,
    undefined,
    5,
    Symbol('s'),
    broken,
    Object.create(null),
    odd,
    Object.assign(new sdk.Reject('x'), { message: 5 }),
  ]) {
    const { verdict } = ran(() => {
      throw thrown;
    });
    assert.ok(['retry', 'reject'].includes(verdict.tag));
    assert.equal(typeof verdict.val, 'string');
  }
});

test('refusals of the host become errors', () => {
  fake.refusal = { tag: 'not-granted', val: 'subject `secret.x` is not within' };
  const { verdict } = ran(() => sdk.publish('secret.x', 1));
  fake.refusal = undefined;
  assert.deepEqual(verdict, {
    tag: 'reject',
    val: 'publish on `secret.x` refused: not granted: subject `secret.x` is not within',
  });
});

test('an event that is kept does not show the payload of another one', () => {
  let first;
  ran((event) => {
    first = event;
  });
  ran(() => assert.equal(first.text(), 'x'));
});

test('a promise is run to its end within the call', () => {
  const { calls } = ran(() => {
    sdk.publish('out.1', 1);
    return Promise.resolve()
      .then(
        () =>
          new Promise((resolve) => {
            setTimeout(resolve, 1e9, 2);
          }),
      )
      .then((n) => sdk.publish(`out.${n}`, n));
  });
  assert.deepEqual(
    calls.map(([, subject]) => subject),
    ['out.1', 'out.2'],
  );
});

test('a rejected promise is the verdict', () => {
  assert.deepEqual(ran(() => Promise.reject(new sdk.Reject('no'))).verdict, { tag: 'reject', val: 'no' });
});

test('a promise that never settles is a retry that says so', () => {
  const { verdict } = ran(() => new Promise(() => {}));
  assert.equal(verdict.tag, 'retry');
  assert.match(verdict.val, /^the handler awaits what never comes/);
  assert.match(ran(async () => {}).verdict.val, /that the engine made by itself/);
});

test('a rejection that nobody handles fails the event', () => {
  const lost = () => {
    Promise.reject(new sdk.Reject('lost'));
  };
  assert.deepEqual(ran(lost).verdict, { tag: 'reject', val: 'lost' });
  assert.deepEqual(ran(() => Promise.resolve(lost())).verdict, { tag: 'reject', val: 'lost' });
  const thrown = ran(() =>
    queueMicrotask(() => {
      throw new sdk.Reject('job');
    }),
  );
  assert.deepEqual(thrown.verdict, { tag: 'reject', val: 'job' });
});

test('nothing is left for the next event', () => {
  ran(() => {
    setTimeout(() => sdk.publish('out.late', 1), 1);
    new Promise(() => {});
    throw new sdk.Retry('now');
  });
  assert.deepEqual(ran(() => Promise.resolve()).calls, []);
  assert.throws(() => sdk.context.attempt, /outside of an event/);
});

test('timers that nobody waits for are told', () => {
  const { calls } = ran(() => {
    setTimeout(() => sdk.publish('out.late', 1), 1);
  });
  assert.equal(calls.length, 1);
  assert.deepEqual(calls[0].slice(0, 2), ['log', 'warn']);
});

test('random numbers depend on the event alone', () => {
  const numbers = (event, before = 0) => {
    let answer;
    ran(() => {
      for (let i = 0; i < before; i++) Math.random();
    });
    ran(() => {
      answer = [Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint8Array(4)).join()];
    }, event);
    return answer;
  };
  assert.deepEqual(numbers(raw(1)), numbers(raw(1), 5));
  assert.notDeepEqual(numbers(raw(1)), numbers(raw(2)));
});

test('what is printed is logged', () => {
  const { calls } = ran(() => {
    console.log('n', 1);
    console.error(new Error('bad').message);
    sdk.log.warn('w\ud800');
  });
  assert.deepEqual(calls, [
    ['log', 'info', 'n 1'],
    ['log', 'error', 'bad'],
    ['log', 'warn', 'w\ufffd'],
  ]);
});

test('what the modules of a handler begin is done when they are loaded, or fails the build', () => {
  asPlugin();
  try {
    let loaded = false;
    Promise.resolve().then(() => {
      loaded = true;
    });
    plugin(() => {});
    assert.ok(loaded);
    Promise.reject(new RangeError('at the top'));
    assert.throws(() => plugin(() => {}), RangeError);
  } finally {
    unhandled.clear();
    asNode();
  }
  assert.equal(ran(() => {}).verdict, undefined);
});

test('what is no function is no handler', () => {
  assert.throws(() => plugin({}), /the default export is no function/);
});
