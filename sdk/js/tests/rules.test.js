import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Event } from '../src/event.js';
import { keyOf } from '../src/testing/key.js';
import { checkHeaders, checkSubject } from '../src/testing/rules.js';

const subject = (text, publishes) => checkSubject(text, publishes)?.val;
const header = (name, value) => checkHeaders([{ name, value }])?.val;

test('only plain subjects pass', () => {
  assert.equal(subject('order.created.c1'), undefined);
  for (const bad of ['', '.a', 'a.', 'a..b']) assert.equal(subject(bad), `subject \`${bad}\` has an empty token`);
  for (const bad of ['a.*', 'a.>', 'a.b*']) assert.equal(subject(bad), `subject \`${bad}\` has a wildcard`);
  for (const bad of ['$JS.API.INFO', '_heddle.shop.claim.1', '_INBOX.x', 'dead.shop.credit.a']) {
    assert.equal(subject(bad), `subject \`${bad}\` is reserved`);
  }
  assert.equal(subject('a b'), 'subject `a b` has a space or a control character');
  assert.equal(subject('a\r\nb'), 'subject `a\\r\\nb` has a space or a control character');
});

test('only subjects within publishes pass', () => {
  const granted = (text) => checkSubject(text, ['order.*.c1', 'credit.>']) === undefined;
  assert.ok(granted('order.created.c1'));
  assert.ok(granted('credit.reserved.c1'));
  for (const bad of ['order.created.c2', 'order.created', 'order.created.c1.x', 'credit']) assert.ok(!granted(bad), bad);
  assert.equal(checkSubject('x', []).tag, 'not-granted');
});

test('headers of the host are refused', () => {
  assert.equal(header('Priority', 'low'), undefined);
  for (const name of ['Nats-Rollup', 'nats-msg-id', 'Heddle-Cause', 'traceparent', 'TraceParent']) {
    assert.equal(header(name, 'x'), `header \`${name}\` is set by the host alone`);
  }
});

test('headers that would break the wire are refused', () => {
  for (const [name, value] of [
    ['', 'x'],
    ['a:b', 'x'],
    ['a b', 'x'],
    ['a\r\n', 'x'],
    ['a', 'x\r\nb: c'],
    ['ä', 'x'],
    ['a', '\0'],
  ]) {
    assert.ok(header(name, value) !== undefined, JSON.stringify([name, value]));
  }
});

test('a message has at most 64 headers', () => {
  const headers = (n) => Array.from({ length: n }, () => ({ name: 'a', value: 'b' }));
  assert.equal(checkHeaders(headers(64)), undefined);
  assert.equal(checkHeaders(headers(65)).val, '65 headers, more than 64');
});

function key(template) {
  const raw = {
    id: 'SHOP/7',
    subject: 'order.created.c1',
    headers: [{ name: 'Customer', value: 'c2' }],
    payload: new TextEncoder().encode('\ufeff{"customer":{"id":"c3","n":4,"a/b":"c5"},"list":["c6"],"\\"1":[1.0,100000000000000000001,true]}'),
  };
  return keyOf(template, new Event(raw));
}

test('a template takes its parts from the event', () => {
  for (const [template, expected] of [
    ['{subject}', 'order.created.c1'],
    ['{subject.2}', 'c1'],
    ['{header.Customer}', 'c2'],
    ['{payload./customer/id}', 'c3'],
    ['{payload./customer/n}', '4'],
    ['{payload./customer/a~1b}', 'c5'],
    ['{payload./list/0}', 'c6'],
    ['{payload./"1/0}', '1.0'],
    ['{payload./"1/1}', '100000000000000000001'],
    ['{payload./"1/2}', 'true'],
    ['{event}', 'SHOP/7'],
    ['a-{subject.0}-{subject.2}', 'a-order-c1'],
    ['constant', 'constant'],
  ]) {
    assert.equal(key(template), expected, template);
  }
});

test('an event that lacks a part has no key', () => {
  for (const template of ['{subject.3}', '{header.customer}', '{payload./customer}', '{payload./nobody/id}']) {
    assert.equal(key(template), undefined, template);
  }
});

test('a template that is none fails the test', () => {
  for (const template of ['{topic}', '{subject.x}', '{subject', '{}', '{topic.a}']) {
    assert.throws(() => key(template), /^Error: key template `/, template);
  }
});
