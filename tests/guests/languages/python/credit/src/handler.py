"""Lends every customer credit up to a limit.

| on | publishes |
|---|---|
| `order.created.<customer>` | `credit.reserved.<customer>`, or `credit.exceeded.<customer>` |
| `order.cancelled.<customer>` | `credit.released.<customer>` if credit was reserved for the order |

The key is the customer: `{subject.2}`. The state is what is reserved for each order. An approved order keeps its
reservation; a cancelled one gives back exactly what it had, once.

Config: `limit`, 1000 if it is not set.
"""

from dataclasses import dataclass

from heddle import Event, Reject, config, log, publish, state


@dataclass
class Created:
    order: str
    amount: int

    def __post_init__(self) -> None:
        if not 0 < self.amount < 1 << 64:
            raise ValueError(f"`amount`: {self.amount} is not a whole number above 0")


@dataclass
class Cancelled:
    order: str


def handle(event: Event) -> None:
    match event.subject.split("."):
        case ["order", "created", *_]:
            reserve(event)
        case ["order", "cancelled", *_]:
            release(event)
        case _:
            raise Reject(f"`{event.subject}` is no event that touches credit")


def reserve(event: Event) -> None:
    created = event.json(Created)
    limit = config.parse("limit", int, 1000)
    reservations = state.get(dict[str, int], default={})
    if created.order in reservations:
        raise Reject(f"order `{created.order}` has a reservation already")
    reserved = sum(reservations.values())
    if reserved + created.amount > limit:
        log.info(f"order `{created.order}` exceeds the limit: {reserved} of {limit} are reserved")
        publish(f"credit.exceeded.{event.key}", account(created.order, created.amount, reserved, limit))
        return
    reservations[created.order] = created.amount
    store(reservations)
    reserved += created.amount
    publish(f"credit.reserved.{event.key}", account(created.order, created.amount, reserved, limit))


def release(event: Event) -> None:
    order = event.json(Cancelled).order
    limit = config.parse("limit", int, 1000)
    reservations = state.get(dict[str, int], default={})
    amount = reservations.pop(order, None)
    if amount is None:
        return
    store(reservations)
    reserved = sum(reservations.values())
    publish(f"credit.released.{event.key}", account(order, amount, reserved, limit))


def account(order: str, amount: int, reserved: int, limit: int) -> dict[str, object]:
    """What happened to the credit of a customer."""
    return {"order": order, "amount": amount, "reserved": reserved, "limit": limit}


def store(reservations: dict[str, int]) -> None:
    if reservations:
        state.set(dict(sorted(reservations.items())))
    else:
        state.clear()
