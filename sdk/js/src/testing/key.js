// The `key` template of a handler, as in `heddle.toml`.

/** The key that `template` gives an event, or none if the event lacks a part of it. Throws if the template is not one. */
export function keyOf(template, event) {
  let complete = true;
  const key = template.replace(/\{([^}]*)(\}?)/g, (_, part, end) => {
    if (end === '') throw wrong(template, '`{` without `}`');
    const value = valueOf(template, part, event);
    if (value === undefined) complete = false;
    return value;
  });
  return complete ? key : undefined;
}

function valueOf(template, part, event) {
  if (part === 'subject') return event.subject;
  if (part === 'event') return event.id;
  const dot = part.indexOf('.');
  const rest = part.slice(dot + 1);
  switch (part.slice(0, Math.max(dot, 0))) {
    case 'subject':
      if (!/^\d+$/.test(rest)) throw wrong(template, 'the token of a subject is a number');
      return event.token(Number(rest));
    case 'header':
      return event.header(rest);
    case 'payload':
      return fromPayload(rest, event);
    default:
      throw wrong(template, 'a part is `subject`, `subject.N`, `header.NAME`, `payload./POINTER` or `event`');
  }
}

function fromPayload(pointer, event) {
  let value;
  try {
    event.json();
    value = JSON.parse(asItStands(event.text()));
  } catch {
    return undefined;
  }
  if (pointer !== '' && !pointer.startsWith('/')) return undefined;
  for (const step of pointer.split('/').slice(1)) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return typeof value === 'string' || typeof value === 'boolean' ? String(value) : undefined;
}

/** JSON with each number as the text that it is: as a key, it keeps all its digits. */
function asItStands(json) {
  const stringOrNumber = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
  return json.replace(/^\ufeff/, '').replace(stringOrNumber, (token) => (token[0] === '"' ? token : `"${token}"`));
}

function wrong(template, problem) {
  return new Error(`key template \`${template}\`: ${problem}`);
}
