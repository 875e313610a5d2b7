// The plugin: the contract on the one side, the user's handler on the other. The only file that knows the contract's modules.

import * as settings from 'heddle:plugin/config@0.1.0';
import * as context from 'heddle:plugin/context@0.1.0';
import * as effects from 'heddle:plugin/effects@0.1.0';
import * as lines from 'heddle:plugin/log@0.1.0';
import * as values from 'heddle:plugin/state@0.1.0';
import { NEVER } from './never.js';
import { loop, reseed, unhandled } from './prelude.js';
import { Retry, verdictOf } from '../errors.js';
import { Event } from '../event.js';
import { nobody, setHost } from '../host.js';

/** The record of the event that runs. */
let running;

const host = {
  // Numbers beyond 2^31 go through the engine as negative ones.
  publish: (subject, headers, payload, seconds) => effects.publishAfter({ subject, headers, payload }, seconds | 0),
  publishText: (subject, headers, payload, seconds) => effects.publishText(subject, headers, payload, seconds | 0),
  reply: effects.reply,
  state: values.get,
  stateText: values.getText,
  setState: values.set,
  setStateText: values.setText,
  clearState: values.clear,
  payloadText: (event) => (event === running ? context.payloadText() : nobody.payloadText(event)),
  attempt: context.attempt,
  stream: context.stream,
  sequence: context.sequence,
  handler: context.handler,
  correlation: context.correlation,
  deadlineMs: context.deadlineMs,
  config: settings.get,
  log: lines.log,
};

/** What the plugin exports as `handler`: the user's function, which gets an event and throws what is no success. */
export function plugin(handle) {
  if (typeof handle !== 'function') throw new TypeError('the default export is no function');
  // What the user's modules have begun to do while they were loaded is done before the first event.
  loop.runJobs();
  loop.clear();
  if (unhandled.size > 0) throw unhandled.values().next().value;
  return {
    handle(raw) {
      begin(raw);
      try {
        finish(handle(new Event(raw)));
      } catch (thrown) {
        throw verdictOf(thrown);
      } finally {
        end();
      }
    },
  };
}

function begin(raw) {
  running = raw;
  setHost(host);
  reseed(() => `${raw.id}\n${context.handler()}`);
}

function end() {
  loop.clear();
  unhandled.clear();
  setHost(nobody);
  running = undefined;
}

/** Lets everything that the handler has begun come to its end. */
function finish(answer) {
  if (answer !== undefined) {
    if (typeof answer?.then === 'function') settle(answer);
    else if (answer instanceof Error) throw answer;
  } else if (loop.timers > 0) {
    host.log('warn', 'the handler has ended without waiting for its timers, which are forgotten: return a promise');
  }
  loop.runJobs();
  if (unhandled.size > 0) throw unhandled.values().next().value;
}

function settle(promise) {
  let state = 'pending';
  let reason;
  Promise.resolve(promise).then(
    (answer) => {
      state = answer instanceof Error ? 'rejected' : 'fulfilled';
      reason = answer;
    },
    (thrown) => {
      state = 'rejected';
      reason = thrown;
    },
  );
  do loop.runJobs();
  while (state === 'pending' && loop.runTimer());
  if (state === 'rejected') throw reason;
  if (state === 'pending') throw unhandled.size > 0 ? unhandled.values().next().value : new Retry(NEVER);
}
