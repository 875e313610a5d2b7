// The conformance guest: one verb for each promise of the SDK. The verb is token 1 of the subject.

import { config, context, Defer, EffectError, type Event, log, publish, Reject, reply, Retry, state } from '@heddle/sdk';

/** Counts the events of this instance. */
let seen = 0;

type Verb = (event: Event, out: string) => void | Promise<void>;

const verbs: Record<string, Verb> = {
  echo(event, out) {
    const headers = event.headers.filter(([name]) => !/^(nats-|heddle-|traceparent$)/i.test(name));
    publish(out, event.payload, { headers: headers.slice(0, 64) });
  },

  headers(event, out) {
    publish(out, event.headers);
  },

  text(event, out) {
    const scalars = [...event.text()];
    publish(out, { chars: scalars.length, reversed: scalars.reverse().join('') });
  },

  json(event, out) {
    const { name, n } = event.json(greeted);
    publish(out, { greeting: `hello ${name}`, next: n + 1 });
  },

  verdict(event, out) {
    const { verdict, reason, delay_ms } = event.json<{ verdict: string; reason: string; delay_ms: number }>();
    publish(out, 'forgotten');
    switch (verdict) {
      case 'retry':
        throw new Retry(reason);
      case 'defer':
        throw new Defer(delay_ms, reason);
      case 'reject':
        throw new Reject(reason);
    }
  },

  count(_event, out) {
    publish(
      out,
      state.update((count: number) => count + 1, 0),
    );
  },

  /** Fails at as many attempts as the event says, and counts after that. */
  fail(event, out) {
    const { times, verdict } = event.json<{ times: number; verdict: string }>();
    if (context.attempt > times) {
      publish(
        out,
        state.update((count: number) => count + 1, 0),
      );
      return;
    }
    switch (verdict) {
      case 'retry':
        throw new Retry('asked to');
      case 'reject':
        throw new Reject('asked to');
      default:
        deeper('asked to');
    }
  },

  state(event, out) {
    const { op, value } = event.json<{ op: string; value: unknown }>();
    if (op === 'set') state.setText(value as string);
    if (op === 'set-bytes') state.setBytes(Uint8Array.from(value as number[]));
    if (op === 'clear') state.clear();
    publish(out, { state: textOfState(), bytes: state.getBytes()?.length ?? null });
  },

  later(event, out) {
    const { seconds } = event.json<{ seconds: number }>();
    publish(out, 'later', { delayMs: seconds * 1000 });
  },

  reply(event) {
    reply(event.text(), { headers: { 'X-Probe': 'yes' } });
  },

  context(event, out) {
    const { attempt, stream, sequence, handler, correlation, deadlineMs } = context;
    publish(out, {
      id: event.id,
      subject: event.subject,
      key: event.key,
      attempt,
      stream,
      sequence,
      handler,
      correlation,
      time_s: event.timestamp.seconds,
      time_ns: event.timestamp.nanoseconds,
      deadline: deadlineMs > 0 && deadlineMs <= 60_000,
    });
  },

  config(event, out) {
    publish(out, JSON.stringify(config.get(event.text()) ?? null));
  },

  log() {
    log.trace('at trace');
    log.debug('at debug');
    log.info('at info');
    log.warn('at warn');
    log.error('at error');
    console.log('printed out');
    console.error('printed err');
  },

  throw(event) {
    deeper(event.text());
  },

  refused() {
    publish('secret.x', 'not granted');
  },

  caught(_event, out) {
    try {
      publish('secret.x', 'not granted');
    } catch (error) {
      if (!(error instanceof EffectError)) throw error;
      publish(out, { kind: error.kind, text: error.message });
    }
    try {
      state.setBytes(new Uint8Array(1_000_000));
    } catch (error) {
      if (!(error instanceof EffectError)) throw error;
      publish(out, { kind: error.kind, limit: error.limit });
    }
  },

  many(event, out) {
    const { n } = event.json<{ n: number }>();
    for (let i = 0; i < n; i++) publish(out, String(i));
  },

  large(event, out) {
    const { bytes } = event.json<{ bytes: number }>();
    publish(out, new Uint8Array(bytes).fill(0x61));
  },

  loop() {
    for (;;);
  },

  allocate() {
    const all: Uint8Array[] = [];
    for (;;) all.push(new Uint8Array(1 << 20).fill(1));
  },

  recurse() {
    const recurse = (depth: number): number => recurse(depth + 1) + 1;
    recurse(0);
  },

  clock(_event, out) {
    publish(out, { now_ms: Date.now() });
  },

  random(_event, out) {
    publish(out, [Math.random(), Math.random(), Math.random()]);
  },

  global(_event, out) {
    seen += 1;
    publish(out, seen);
  },

  async async(_event, out) {
    for (const promise of [Promise.resolve(1), Promise.resolve(2), Promise.resolve(3)]) await promise;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 10);
    });
    publish(out, JSON.stringify('awaited'));
  },

  async never() {
    await new Promise(() => {});
  },
};

export default function probe(event: Event): void | Promise<void> {
  const verb = event.token(1) ?? '';
  const run = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  if (run === undefined) throw new Reject(`unknown verb \`${verb}\``);
  return run(event, `out.${verb}.${event.token(2)}`);
}

function greeted(value: unknown): { name: string; n: number } {
  const { name, n } = value as { name?: unknown; n?: unknown };
  if (typeof name !== 'string') throw new Error('`name` is no text');
  if (!Number.isSafeInteger(n)) throw new Error('`n` is no whole number');
  return { name, n: n as number };
}

/** The state, or null if there is none or it is not UTF-8. */
function textOfState(): string | null {
  try {
    return state.getText() ?? null;
  } catch {
    return null;
  }
}

function deeper(text: string): never {
  deep(text);
}

function deep(text: string): never {
  throw new Error(text);
}
