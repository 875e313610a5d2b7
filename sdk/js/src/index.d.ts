/**
 * Handlers for Heddle in JavaScript and TypeScript.
 *
 * A handler is a function that takes an event. It is the default export of its module. What it publishes and the state it
 * sets are held back by the host and take effect together once it returns. If it throws, they are forgotten. So a handler
 * never has to undo anything.
 *
 * ```ts
 * import { type Event, publish, state } from '@heddle/sdk';
 *
 * export default function credit(event: Event) {
 *   const { order, amount } = event.json<{ order: string; amount: number }>();
 *   const total = state.update((total: number) => total + amount, 0);
 *   publish(`credit.reserved.${event.key}`, { order, total });
 * }
 * ```
 *
 * | what is thrown and not caught | the event is |
 * |---|---|
 * | {@link Retry}, {@link Defer}, {@link Reject} | what they say |
 * | {@link DecodeError}: the payload or the state cannot be read | rejected: it would fail again |
 * | {@link EffectError}: the host refused an effect | rejected: it would be refused again |
 * | {@link ConfigError}: a setting cannot be read | tried again: the event is not to blame |
 * | anything else | tried again; the reason has the error's stack |
 *
 * @packageDocumentation
 */

/** A handler: the default export of a plugin's module. If it returns a promise, the event ends with the promise. */
export type Handler = (event: Event) => void | Promise<void>;

/** One message of a stream, as a handler sees it. */
export class Event {
  private constructor();
  /**
   * `<stream>/<sequence>`: the same whenever this event is run again, so it serves as an idempotency key for calls to the
   * outside.
   */
  get id(): string;
  /** The subject the event was published on. */
  get subject(): string;
  /** The token of the subject at `index`, counted from 0 as in `key = "{subject.2}"`. */
  token(index: number): string | undefined;
  /** The key that keeps this event in order, as the handler's `key` template gave it. State is kept by it. */
  get key(): string;
  /**
   * When the stream stored the event, in whole milliseconds. `Date.now()` reads this very time while the event runs.
   * {@link timestamp} is exact.
   */
  get time(): Date;
  /** When the stream stored the event: whole seconds since 1970 and nanoseconds below 1,000,000,000. */
  get timestamp(): { seconds: number; nanoseconds: number };
  /** All headers as name and value, in their order. Names may repeat. `Nats-…` headers are not among them. */
  get headers(): [name: string, value: string][];
  /** The first value of a header. Upper and lower case differ. */
  header(name: string): string | undefined;
  /** All values of a header, in their order. Upper and lower case differ. */
  headerValues(name: string): string[];
  /** The payload as it was published. */
  get payload(): Uint8Array;
  /**
   * The payload as text.
   * @throws {DecodeError} The payload is not UTF-8.
   */
  text(): string;
  /**
   * The payload as JSON. Nothing is checked: `T` is a promise of the publisher. A byte order mark before it is skipped.
   * @throws {DecodeError} The payload is not JSON.
   */
  json<T = any>(): T;
  /**
   * The payload as JSON and as what `read` makes of it. If `read` throws, the payload counts as unreadable. The `parse` of
   * a schema serves: `event.json(Order.parse)`.
   * @throws {DecodeError} The payload is not JSON, or `read` has thrown.
   */
  json<T>(read: (value: unknown) => T): T;
}

/** Names and values: an object, or pairs, in which names may repeat. */
export type Headers = Iterable<readonly [name: string, value: string]> | Readonly<Record<string, string>>;

/** Bytes are sent as they are and a string as text. Everything else is written as JSON. */
export type Payload = Uint8Array | ArrayBuffer | string | number | boolean | null | object;

/** How a message is published. */
export interface PublishOptions {
  /**
   * None by default; at most 64. The host refuses names that begin with `Nats-` or `Heddle-`, and `traceparent`, which it
   * sets itself.
   */
  headers?: Headers;
  /**
   * The delay after the commit, in milliseconds; 0 by default. The host counts in whole seconds: a fraction counts as one
   * more. It survives restarts of host and server.
   */
  delayMs?: number;
}

/**
 * Publishes a message in the application's stream if the event is done. A `string` is sent as text: for a JSON string
 * pass `JSON.stringify(text)`.
 * @throws {EffectError} The host refused the message, or the payload cannot be written as JSON.
 */
export function publish(subject: string, payload: Payload, options?: PublishOptions): void;

/** How an event is answered. */
export interface ReplyOptions {
  /** As those of a message. */
  headers?: Headers;
}

/**
 * Answers the event, on the inbox that its publisher gave in the header `Heddle-Reply-To`. The answer is sent once after
 * the commit and not repeated if the host dies in between.
 * @throws {EffectError} The event has no `Heddle-Reply-To` header or is answered already, the host refused the answer, or
 * the payload cannot be written as JSON.
 */
export function reply(payload: Payload, options?: ReplyOptions): void;

/**
 * One value for each key of this handler.
 *
 * It is stored in the same commit as the effects, so it never disagrees with what was published. Events of a key run one
 * at a time, so reading and then writing needs no lock. Its size is bounded by `limits.state`.
 */
export namespace state {
  /**
   * The value left by the last event of this key, or what this event has set, read as JSON; `undefined` if there is none.
   * @throws {DecodeError} The value is not JSON.
   */
  export function get<T = any>(): T | undefined;
  /**
   * The value as what `read` makes of it. If `read` throws, the value counts as unreadable.
   * @throws {DecodeError} The value is not JSON, or `read` has thrown.
   */
  export function get<T>(read: (value: unknown) => T): T | undefined;
  /**
   * Replaces the value, written as JSON.
   * @throws {EffectError} The value is larger than `limits.state`, or cannot be written as JSON.
   */
  export function set(value: unknown): void;
  /**
   * Hands the value, or `initial` if there is none, to `change`, sets what it returns, and answers with that.
   * @throws {DecodeError} The value is not JSON.
   * @throws {EffectError} The new value is larger than `limits.state`, or cannot be written as JSON.
   */
  export function update<T>(change: (value: T) => T, initial: T): T;
  /** Removes the value: {@link get} gives `undefined` from now on. A key without a value costs nothing. */
  export function clear(): void;
  /**
   * The value as text; `undefined` if there is none.
   * @throws {DecodeError} The value is not UTF-8.
   */
  export function getText(): string | undefined;
  /**
   * Replaces the value with a text.
   * @throws {EffectError} The value is larger than `limits.state`.
   */
  export function setText(value: string): void;
  /** The value as it was stored; `undefined` if there is none. */
  export function getBytes(): Uint8Array | undefined;
  /**
   * Replaces the value with bytes.
   * @throws {EffectError} The value is larger than `limits.state`.
   */
  export function setBytes(value: Uint8Array): void;
}

/** About the run of this event. Every read asks the host. */
export const context: {
  /** 1 on the first run, 2 on the first retry, and so on. Deferrals do not count. */
  readonly attempt: number;
  /** The stream the event was read from. */
  readonly stream: string;
  /** The event's sequence in that stream. */
  readonly sequence: number;
  /** The handler's name in `heddle.toml`. */
  readonly handler: string;
  /** The id of the event that began this chain of events. */
  readonly correlation: string;
  /** What is left of `limits.time`, in whole milliseconds of run time. */
  readonly deadlineMs: number;
};

/** The handler's `config` table of `heddle.toml`. It does not change while an instance lives. */
export namespace config {
  /** The value of a name; `undefined` if it is not set. */
  export function get(name: string): string | undefined;
  /**
   * The value of a name as a number; `undefined` if it is not set.
   * @throws {ConfigError} It is not a number.
   */
  export function number(name: string): number | undefined;
  /**
   * The value of a name as a whole number; `undefined` if it is not set.
   * @throws {ConfigError} It is not a whole number that JavaScript holds exactly.
   */
  export function integer(name: string): number | undefined;
  /**
   * The value of a name, `true` or `false`; `undefined` if it is not set.
   * @throws {ConfigError} It is neither.
   */
  export function boolean(name: string): boolean | undefined;
  /**
   * The value of a name as what `read` makes of it; `undefined` if it is not set.
   * @throws {ConfigError} `read` has thrown or answered `NaN`.
   */
  export function parse<T>(name: string, read: (text: string) => T): T | undefined;
}

/**
 * Log lines. They carry the event's id and the handler's name and are bounded in length and number for each event. Each
 * function takes what `console.log` takes, whose lines go to the handler's log as well.
 */
export namespace log {
  /** Every step. */
  export function trace(...values: unknown[]): void;
  /** For debugging. */
  export function debug(...values: unknown[]): void;
  /** What happens in the ordinary course. */
  export function info(...values: unknown[]): void;
  /** Something is odd and nothing is lost. */
  export function warn(...values: unknown[]): void;
  /** Something is lost, or someone must act. */
  export function error(...values: unknown[]): void;
}

/** The parent of {@link Retry}, {@link Defer} and {@link Reject}. Everything the handler did is forgotten. */
export class Failure extends Error {
  protected constructor(reason: unknown);
}

/** Try again after the handler's back-off, up to `max-attempts`; then the event becomes a dead letter. */
export class Retry extends Failure {
  /** @param reason Shown to operators. An error gives its message and those of its causes. */
  constructor(reason: unknown);
}

/** Try again after at least a delay. Not counted as an attempt. */
export class Defer extends Failure {
  /**
   * @param delayMs The least time until the next run, in milliseconds: a fraction counts as one more. The most is
   * 4,294,967,295, about 49 days; what is longer is cut to it.
   * @param reason Shown to operators. An error gives its message and those of its causes.
   */
  constructor(delayMs: number, reason: unknown);
  /** The delay in whole milliseconds. */
  readonly delayMs: number;
}

/** Never try again: the event becomes a dead letter at once. */
export class Reject extends Failure {
  /** @param reason Shown to operators. An error gives its message and those of its causes. */
  constructor(reason: unknown);
}

/** The payload or the state is not what the handler expects. Uncaught it is a reject. */
export class DecodeError extends Error {
  private constructor();
}

/** An effect was refused. The handler may go on without it. Uncaught it is a reject. */
export class EffectError extends Error {
  private constructor();
  /** What was refused: `` publish on `subject` ``, `reply` or `state`. */
  readonly effect: string;
  /**
   * Why.
   * - `not-granted`: the subject is outside the handler's `publishes`.
   * - `invalid`: the subject, a header or the payload cannot be published; the message says what is wrong.
   * - `too-large`: larger than allowed.
   * - `too-many`: more messages than allowed for one event.
   */
  readonly kind: 'not-granted' | 'invalid' | 'too-large' | 'too-many';
  /** Of `too-large` the limit in bytes, of `too-many` that of messages. */
  readonly limit?: number;
}

/**
 * A value of the config cannot be read. Uncaught it is a retry: the event is not to blame, and the config may be
 * corrected before its attempts are used up.
 */
export class ConfigError extends Error {
  private constructor();
}
