// `structuredClone` for plain values, arrays, maps, sets, dates, regular expressions, buffers and errors.

export function structuredClone(value) {
  return clone(value, new Map());
}

function clone(value, known) {
  if (typeof value === 'function' || typeof value === 'symbol') {
    throw new TypeError(`a ${typeof value} cannot be cloned`);
  }
  if (value === null || typeof value !== 'object') return value;
  if (known.has(value)) return known.get(value);
  const remember = (copy) => {
    known.set(value, copy);
    return copy;
  };
  if (Array.isArray(value)) {
    const copy = remember(new Array(value.length));
    for (const key of Object.keys(value)) copy[key] = clone(value[key], known);
    return copy;
  }
  if (value instanceof Date) return remember(new Date(value.getTime()));
  if (value instanceof RegExp) return remember(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return remember(value.slice(0));
  if (value instanceof DataView) return remember(new DataView(clone(value.buffer, known), value.byteOffset, value.byteLength));
  if (ArrayBuffer.isView(value)) {
    return remember(new value.constructor(clone(value.buffer, known), value.byteOffset, value.length));
  }
  if (value instanceof Map) {
    const copy = remember(new Map());
    for (const [key, child] of value) copy.set(clone(key, known), clone(child, known));
    return copy;
  }
  if (value instanceof Set) {
    const copy = remember(new Set());
    for (const child of value) copy.add(clone(child, known));
    return copy;
  }
  if (value instanceof Error) {
    const type = typeof globalThis[value.name] === 'function' ? globalThis[value.name] : Error;
    const copy = remember(new type(value.message));
    const define = (name, own) => Object.defineProperty(copy, name, { value: own, configurable: true, writable: true });
    define('stack', value.stack);
    if ('cause' in value) define('cause', clone(value.cause, known));
    return copy;
  }
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
    throw new TypeError(`a ${value.constructor.name} cannot be cloned`);
  }
  const copy = remember({});
  for (const key of Object.keys(value)) copy[key] = clone(value[key], known);
  return copy;
}
