// What the contract forbids, as pure functions. A refusal is a case of the contract's `effect-error`.

const MOST_HEADERS = 64;

/** Subjects that begin so are the server's or the host's. */
const RESERVED = ['$', '_heddle.', '_INBOX.', 'dead.'];

const invalid = (val) => ({ tag: 'invalid', val });

/** A subject on which a handler may publish: none if it is one, else the refusal. */
export function checkSubject(subject, publishes) {
  const problem = problemOf(subject);
  if (problem !== undefined) return invalid(`subject \`${escaped(subject)}\` ${problem}`);
  if (publishes !== undefined && !publishes.some((pattern) => covers(pattern, subject))) {
    return { tag: 'not-granted', val: `subject \`${subject}\` is outside of \`publishes\`` };
  }
  return undefined;
}

function problemOf(subject) {
  if (subject.split('.').includes('')) return 'has an empty token';
  if (/[\s\p{Cc}]/u.test(subject)) return 'has a space or a control character';
  if (/[*>]/.test(subject)) return 'has a wildcard';
  if (RESERVED.some((prefix) => subject.startsWith(prefix))) return 'is reserved';
  return undefined;
}

/** The headers of a message or a reply: none if they may be sent, else the refusal. */
export function checkHeaders(headers) {
  if (headers.length > MOST_HEADERS) return invalid(`${headers.length} headers, more than ${MOST_HEADERS}`);
  for (const { name, value } of headers) {
    const problem = problemOfHeader(name, value);
    if (problem !== undefined) return invalid(`header \`${escaped(name)}\` ${problem}`);
  }
  return undefined;
}

function problemOfHeader(name, value) {
  const lower = name.toLowerCase();
  if (name === '') return 'has no name';
  if (!/^[!-9;-~]+$/.test(name)) return 'has a name that is not of plain characters';
  if (lower.startsWith('nats-') || lower.startsWith('heddle-') || lower === 'traceparent') return 'is set by the host alone';
  if (/[\r\n\0]/.test(value)) return 'has a line break in its value';
  return undefined;
}

/** Whether a pattern with `*` and `>` covers a subject. */
export function covers(pattern, subject) {
  const tokens = subject.split('.');
  const parts = pattern.split('.');
  for (const [i, part] of parts.entries()) {
    if (i >= tokens.length) return false;
    if (part === '>') return true;
    if (part !== '*' && part !== tokens[i]) return false;
  }
  return parts.length === tokens.length;
}

function escaped(text) {
  return JSON.stringify(text).slice(1, -1);
}
