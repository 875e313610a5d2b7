// Where the calls of a handler go: to the real host in a plugin, to its double in a test. Knows neither.

const OUTSIDE =
  'outside of an event the host cannot be called: in a plugin call it within the handler, in a test run the handler with `@heddle/sdk/testing`';

function outside() {
  throw new Error(OUTSIDE);
}

/** The host while no event runs: every call fails, but a log line is shown where there is someone to see it. */
export const nobody = {
  publish: outside,
  publishText: outside,
  reply: outside,
  state: outside,
  stateText: outside,
  setState: outside,
  setStateText: outside,
  clearState: outside,
  payloadText: (event) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(event.payload),
  attempt: outside,
  stream: outside,
  sequence: outside,
  handler: outside,
  correlation: outside,
  deadlineMs: outside,
  config: outside,
  log: () => {},
};

/**
 * The host of the event that runs. A refused effect is thrown as an object whose `payload` is a case of the contract's
 * `effect-error`.
 */
export let host = nobody;

export function setHost(next) {
  host = next;
}
