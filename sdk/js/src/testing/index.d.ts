/**
 * Runs a handler without a host, under the same contract.
 *
 * In a run, `publish`, `state` and the others reach a double of the host. It judges effects by the rules of the contract,
 * and forgets them if the handler fails. Timers do not wait, random numbers are those of the event, and what is printed is
 * logged as well.
 *
 * ```ts
 * import { test } from 'node:test';
 * import { event, handler } from '@heddle/sdk/testing';
 * import discount from '../src/handler.js';
 *
 * test('five off', async () => {
 *   const shop = handler(discount, { key: '{subject.2}', publishes: ['price.offered.*'], config: { off: 5 } });
 *   const run = await shop.run(event('price.asked.c1', 100));
 *   assert.equal(run.done().message('price.offered.c1').json(), 95);
 * });
 * ```
 *
 * @packageDocumentation
 */

import type { Handler, Payload } from '../index.js';

/** What is known of an event besides its subject and its payload. */
export interface EventOptions {
  /** None by default. `Nats-…` headers are not shown to the handler, as by the host. */
  headers?: readonly (readonly [name: string, value: string])[] | Readonly<Record<string, string>>;
  /** Asks for an answer on this inbox. Without it a reply is refused. */
  replyTo?: string;
  /** The key, in place of the one that the template gives. */
  key?: string;
  /** The sequence in the stream, which is part of the event's id. By default the next one. */
  sequence?: number;
  /** When the stream stored it. By default 2026-01-01 and a second for each sequence. */
  time?: Date;
  /** Which try this is. By default the first, which is 1. */
  attempt?: number;
  /** The id of the event that began the chain. By default the event's own. */
  correlation?: string;
}

/** An event to be. Made by {@link event}. */
export interface TestEvent extends EventOptions {
  readonly subject: string;
  readonly payload: Uint8Array;
}

/** An event on `subject`. Its payload is empty by default; bytes and text are taken as they are, all else as JSON. */
export function event(subject: string, payload?: Payload, options?: EventOptions): TestEvent;

/** The `limits` table of a handler. */
export interface Limits {
  /** The most messages for one event; 100 by default. */
  messages?: number;
  /** The most bytes of subjects, headers and payloads for one event; 1,048,576 by default. */
  output?: number;
  /** The most bytes of the state of a key; 262,144 by default. */
  state?: number;
  /** The run time that `context.deadlineMs` tells, in milliseconds; 2000 by default. It is not enforced. */
  timeMs?: number;
}

/** The defaults of {@link Limits}. */
export const LIMITS: Readonly<Required<Limits>>;

/** What `heddle.toml` says of a handler. */
export interface Settings {
  /** The handler's name; `handler` by default. */
  name?: string;
  /** The stream it reads; `TEST` by default. */
  stream?: string;
  /**
   * The template of the key, as in `heddle.toml`: `{subject}`, `{subject.2}`, `{header.Customer}`,
   * `{payload./customer/id}` and `{event}`, which may be joined. `{subject}` by default.
   */
  key?: string;
  /** The subjects it may publish on, with `*` and `>`. By default all. */
  publishes?: readonly string[];
  /** Its `config` table; empty by default. */
  config?: Readonly<Record<string, string | number | boolean>>;
  /** The limits it runs under. */
  limits?: Limits;
}

/** A handler under test. */
export function handler(handle: Handler, settings?: Settings): TestHandler;

/** Runs a handler once, with the defaults of {@link Settings}. */
export function run(handle: Handler, event: TestEvent): Promise<Run>;

/** A handler that runs one event after another and keeps a state for each key. Made by {@link handler}. */
export class TestHandler {
  private constructor();
  /** Sets the state that earlier events of `key` have left. Answers with itself. */
  givenState(key: string, value: unknown): this;
  /** The state of `key` as the events so far have left it, read as JSON; `undefined` if there is none. */
  state<T = any>(key: string): T | undefined;
  /**
   * Runs the next event. If it fails, its effects and its state are forgotten.
   * @throws The event has no key: a host would not have run it.
   */
  run(event: TestEvent): Promise<Run>;
}

/** What a handler answered. */
export type Verdict =
  | { verdict: 'done' }
  | { verdict: 'retry'; reason: string }
  | { verdict: 'defer'; reason: string; delayMs: number }
  | { verdict: 'reject'; reason: string };

/**
 * The verdict on one event and what it left. After a failure there are no messages, there is no reply, and the state is
 * what it was before; only the log lines remain.
 */
export class Run {
  private constructor();
  /** What the handler answered. */
  readonly verdict: Verdict;
  /** What the handler threw, if it failed. */
  readonly error: unknown;
  /**
   * Asserts that the event is done. Answers with itself.
   * @throws {AssertionError} It failed.
   */
  done(): this;
  /**
   * Asserts that the event is to be tried again. Answers with the reason, which has the stack in the lines after the first
   * one if the handler threw an ordinary error.
   * @throws {AssertionError} The verdict is another one.
   */
  retried(): string;
  /**
   * Asserts that the event is deferred.
   * @throws {AssertionError} The verdict is another one.
   */
  deferred(): { delayMs: number; reason: string };
  /**
   * Asserts that the event is rejected. Answers with the reason.
   * @throws {AssertionError} The verdict is another one.
   */
  rejected(): string;
  /** What was published, in order. The headers are those the handler gave. */
  readonly messages: readonly Published[];
  /** The subjects of what was published, in order. */
  get subjects(): string[];
  /**
   * The only message on `subject`.
   * @throws {AssertionError} There is none or more than one.
   */
  message(subject: string): Published;
  /** The answer to the event, on the inbox of its publisher. */
  readonly reply: Published | undefined;
  /** The state of the event's key after the run, read as JSON; `undefined` if there is none. */
  state<T = any>(): T | undefined;
  /** The state of the event's key after the run, as it was stored. */
  get stateBytes(): Uint8Array | undefined;
  /** What was logged and printed, in order. */
  readonly logs: readonly LogLine[];
}

/** A message that was published, or a reply. */
export class Published {
  private constructor();
  /** The subject; of a reply the inbox. */
  readonly subject: string;
  /** All headers, in order. */
  get headers(): [name: string, value: string][];
  /** The first value of a header. Upper and lower case differ. */
  header(name: string): string | undefined;
  /** The payload. */
  readonly payload: Uint8Array;
  /** The payload as text. */
  text(): string;
  /** The payload as JSON. */
  json<T = any>(): T;
  /** The delay after the commit in milliseconds, a whole number of seconds; 0 without one. */
  readonly delayMs: number;
}

/** A line of the handler's log. */
export interface LogLine {
  /** How much it matters. */
  level: 'trace' | 'debug' | 'info' | 'warn' | 'error';
  /** What it says. */
  message: string;
}
