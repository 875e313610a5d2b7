import { publish, state } from '@heddle/sdk';

/**
 * Gives a customer a gift for every third order.
 * @param {import('@heddle/sdk').Event} event
 */
export default function handle(event) {
  const { order } = event.json();
  const orders = state.update((orders) => orders + 1, 0);
  if (orders % 3 === 0) {
    publish(`gift.earned.${event.key}`, { order, number: orders / 3 });
  }
}
