// Random numbers that are the same on every run of one event: seeded by texts. Not for secrets.

/** A generator (sfc32), seeded with a text. */
export class Random {
  #a;
  #b;
  #c;
  #d;

  constructor(seed) {
    [this.#a, this.#b, this.#c, this.#d] = hash(seed);
    for (let i = 0; i < 12; i++) this.next32();
  }

  /** 32 bits. */
  next32() {
    const sum = (this.#a + this.#b + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A number from 0 to 1, 1 excluded, of 53 bits. */
  next() {
    return ((this.next32() >>> 5) * 0x400_0000 + (this.next32() >>> 6)) / 0x20_0000_0000_0000;
  }

  /** Fills an array of whole numbers. */
  fill(array) {
    if (
      !ArrayBuffer.isView(array) ||
      array instanceof DataView ||
      array instanceof Float32Array ||
      array instanceof Float64Array
    ) {
      throw new TypeError('random values fill an array of whole numbers');
    }
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.next32() & 0xff;
    return array;
  }

  /** A version 4 UUID. */
  uuid() {
    const bytes = this.fill(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
}

/** Four words of a text (FNV-1a with four starts, mixed). */
function hash(text) {
  return [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35].map((start) => {
    let word = start;
    for (let i = 0; i < text.length; i++) word = Math.imul(word ^ text.charCodeAt(i), 0x01000193);
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    return word ^ (word >>> 16);
  });
}
