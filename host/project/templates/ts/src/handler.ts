import { type Event, publish, state } from '@heddle/sdk';

interface Placed {
  order: string;
}

/** Gives a customer a gift for every third order. */
export default function handle(event: Event) {
  const { order } = event.json<Placed>();
  const orders = state.update((orders: number) => orders + 1, 0);
  if (orders % 3 === 0) {
    publish(`gift.earned.${event.key}`, { order, number: orders / 3 });
  }
}
