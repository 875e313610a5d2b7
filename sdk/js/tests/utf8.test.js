import assert from 'node:assert/strict';
import { test as once } from 'node:test';
import { TextDecoder as OwnDecoder, TextEncoder as OwnEncoder } from '../src/plugin/utf8.js';

const encoder = new OwnEncoder();

/** Tests our own code, and that which the engine helps with what Node lacks. */
function test(name, check) {
  once(name, check);
  once(`${name}, with the help of the engine`, (t) => {
    Uint8Array.fromBase64 = (text) => Uint8Array.from(Buffer.from(text, 'base64'));
    Uint8Array.prototype.toBase64 = function () {
      return Buffer.from(this.buffer, this.byteOffset, this.byteLength).toString('base64');
    };
    t.after(() => {
      delete Uint8Array.fromBase64;
      delete Uint8Array.prototype.toBase64;
    });
    return check(t);
  });
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');

test('every scalar value goes there and back', () => {
  for (let start = 0; start < 0x110000; start += 0x800) {
    if (start === 0xd800) continue;
    const text = String.fromCodePoint(...Array.from({ length: 0x800 }, (_, i) => start + i));
    const bytes = encoder.encode(text);
    assert.ok(Buffer.from(text).equals(bytes), `U+${start.toString(16)}`);
    assert.equal(new OwnDecoder('utf-8', { ignoreBOM: true, fatal: true }).decode(bytes), text);
  }
});

test('half a pair is replaced when it is encoded', () => {
  for (const text of ['\ud800', 'a\udc00b', '\ud800\ud800\udc00', '\udc00\ud800', 'x\udbff']) {
    assert.equal(hex(encoder.encode(text)), hex(new TextEncoder().encode(text)), JSON.stringify(text));
  }
});

test('bytes that are no UTF-8 are replaced as the standard has it, or refused', () => {
  const samples = [
    '80',
    'bf',
    'c0',
    'c080',
    'c1bf',
    'c2',
    'c241',
    'df',
    'e0',
    'e080',
    'e09f80',
    'e0a0',
    'e0a041',
    'eda080',
    'edbfbf',
    'ed9f',
    'ef',
    'efbf',
    'f0',
    'f08080',
    'f08f8080',
    'f09f',
    'f09f98',
    'f09f9841',
    'f4908080',
    'f48f',
    'f5',
    'f8808080',
    'fe',
    'ff',
    'ffff',
    '41ff42',
    'c2c2',
    'e0a0e0a0',
    'f09f98f09f9880',
    'efbbbf',
    'efbbbf41',
    '41efbbbf',
  ];
  for (const sample of samples) {
    const bytes = Buffer.from(sample, 'hex');
    for (const options of [{}, { ignoreBOM: true }]) {
      assert.equal(new OwnDecoder('utf-8', options).decode(bytes), new TextDecoder('utf-8', options).decode(bytes), sample);
    }
    let isFatal = false;
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      isFatal = true;
    }
    const decode = () => new OwnDecoder('utf-8', { fatal: true }).decode(bytes);
    if (isFatal) assert.throws(decode, TypeError, sample);
    else decode();
  }
});

test('random bytes are read as by Node', () => {
  let seed = 1;
  for (let round = 0; round < 2000; round++) {
    const bytes = Uint8Array.from({ length: 12 }, () => {
      seed = Math.imul(seed, 1103515245) + 12345;
      return (seed >>> 16) | (round % 2 ? 0x80 : 0);
    });
    assert.equal(new OwnDecoder().decode(bytes), new TextDecoder().decode(bytes), hex(bytes));
  }
});

test('long texts are decoded in parts', () => {
  const text = 'aä€😀'.repeat(20_000);
  assert.equal(new OwnDecoder().decode(encoder.encode(text)), text);
});

test('a stream may be cut within a character', () => {
  const bytes = encoder.encode('\ufeffä😀x');
  for (const size of [1, 2, 3]) {
    const decoder = new OwnDecoder();
    let text = '';
    for (let at = 0; at < bytes.length; at += size) text += decoder.decode(bytes.subarray(at, at + size), { stream: true });
    assert.equal(text + decoder.decode(), 'ä😀x', String(size));
  }
  const cut = new OwnDecoder();
  assert.equal(cut.decode(Uint8Array.of(0xf0, 0x9f), { stream: true }), '');
  assert.equal(cut.decode(), '\ufffd');
});

test('encodeInto stops before a character that does not fit', () => {
  const bytes = new Uint8Array(5);
  assert.deepEqual(encoder.encodeInto('a€😀', bytes), { read: 2, written: 4 });
  assert.equal(hex(bytes), '61e282ac00');
});

test('views and buffers are decoded, other encodings refused', () => {
  const bytes = encoder.encode('abc');
  assert.equal(new OwnDecoder('UTF8').decode(bytes.buffer), 'abc');
  assert.equal(new OwnDecoder().decode(new DataView(bytes.buffer, 1)), 'bc');
  assert.equal(new OwnDecoder().decode(), '');
  assert.throws(() => new OwnDecoder('latin1'), RangeError);
});
