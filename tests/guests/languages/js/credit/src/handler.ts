// Lends every customer credit up to a limit.
//
// | on | publishes |
// |---|---|
// | `order.created.<customer>` | `credit.reserved.<customer>`, or `credit.exceeded.<customer>` |
// | `order.cancelled.<customer>` | `credit.released.<customer>` if credit was reserved for the order |
//
// The key is the customer: `{subject.2}`. The state is what is reserved for each order. An approved order keeps its
// reservation; a cancelled one gives back exactly what it had, once. Each order reserves at least 1, so the state never
// holds more orders than the limit.
//
// Config: `limit`, 1000 if it is not set.

import { config, type Event, log, publish, Reject, state } from '@heddle/sdk';

/** What each order of the customer has reserved. */
type Reservations = Record<string, number>;

/** What happened to the credit of a customer. */
interface Account {
  order: string;
  amount: number;
  /** What is reserved for all orders of the customer, after the event. */
  reserved: number;
  limit: number;
}

/** Handles one event of a customer. */
export default function handle(event: Event) {
  const kind = event.token(0) === 'order' ? event.token(1) : undefined;
  switch (kind) {
    case 'created':
      return reserve(event);
    case 'cancelled':
      return release(event);
    default:
      throw new Reject(`\`${event.subject}\` is no event that touches credit`);
  }
}

function reserve(event: Event) {
  const { order, amount } = event.json(created);
  const limit = readLimit();
  const reservations = state.get(asReservations) ?? {};
  if (Object.hasOwn(reservations, order)) throw new Reject(`order \`${order}\` has a reservation already`);
  const reserved = total(reservations);
  if (reserved + amount > limit) {
    log.info(`order \`${order}\` exceeds the limit: ${reserved} of ${limit} are reserved`);
    publish(`credit.exceeded.${event.key}`, { order, amount, reserved, limit } satisfies Account);
    return;
  }
  reservations[order] = amount;
  store(reservations);
  publish(`credit.reserved.${event.key}`, { order, amount, reserved: reserved + amount, limit } satisfies Account);
}

function release(event: Event) {
  const { order } = event.json(cancelled);
  const limit = readLimit();
  const reservations = state.get(asReservations) ?? {};
  const amount = Object.hasOwn(reservations, order) ? reservations[order] : undefined;
  if (amount === undefined) return;
  delete reservations[order];
  store(reservations);
  publish(`credit.released.${event.key}`, { order, amount, reserved: total(reservations), limit } satisfies Account);
}

function readLimit(): number {
  return config.integer('limit') ?? 1000;
}

function total(reservations: Reservations): number {
  return Object.values(reservations).reduce((sum, amount) => sum + amount, 0);
}

function store(reservations: Reservations) {
  if (Object.keys(reservations).length === 0) state.clear();
  else state.set(reservations);
}

function cancelled(value: unknown): { order: string } {
  const { order } = value as { order?: unknown };
  if (typeof order !== 'string') throw new Error('`order` is no text');
  return { order };
}

function created(value: unknown): { order: string; amount: number } {
  const { amount } = value as { amount?: unknown };
  return { ...cancelled(value), amount: atLeastOne(amount) };
}

function asReservations(value: unknown): Reservations {
  if (typeof value !== 'object' || value === null) throw new Error('no reservations');
  for (const amount of Object.values(value)) atLeastOne(amount);
  return value as Reservations;
}

function atLeastOne(amount: unknown): number {
  if (!Number.isSafeInteger(amount) || (amount as number) < 1) throw new Error('an amount is a whole number from 1');
  return amount as number;
}
