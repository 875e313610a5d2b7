"""Gives every customer a gift for every third order."""

from dataclasses import dataclass

from heddle import Event, publish, state


@dataclass
class Placed:
    order: str


def handle(event: Event) -> None:
    order = event.json(Placed).order
    orders = state.update(lambda orders: orders + 1, default=0)
    if orders % 3 == 0:
        publish(f"gift.earned.{event.key}", {"order": order, "number": orders // 3})
