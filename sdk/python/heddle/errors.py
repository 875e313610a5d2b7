"""What a handler raises, and what it may catch.

`Retry`, `Defer` and `Reject` are verdicts: the handler raises them. The others are raised by this package.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil, inf
from typing import Final, Literal

from heddle._text import plain

Kind = Literal["not-granted", "invalid", "too-large", "too-many"]
"""Why an effect was refused."""


class Failure(Exception):
    """Why an event was not handled: `Retry`, `Defer` or `Reject`. Everything the handler did is forgotten."""

    def __init__(self, reason: object) -> None:
        super().__init__(str(reason))

    @property
    def reason(self) -> str:
        """Shown to operators."""
        return plain(str(self))


class Retry(Failure):
    """Try again after the handler's back-off, up to `max-attempts`; then the event becomes a dead letter."""


class Reject(Failure):
    """Never try again: the event becomes a dead letter at once."""


class Defer(Failure):
    """Try again after at least `delay`, in seconds or as a `timedelta`. Not counted as an attempt.

    A fraction of a millisecond counts as one more. The most is 4,294,967,295 ms, about 49 days; what is longer
    is cut to it. A negative delay is a `ValueError`.
    """

    delay_ms: int = 0
    """The least time until the next run, in milliseconds."""

    def __init__(self, delay: float | timedelta, reason: object) -> None:
        super().__init__(reason)
        self.delay_ms = min(whole(delay, 1000), MOST)


class DecodeError(Exception):
    """The payload or the state is not what the handler expects. Uncaught, the event is rejected.

    A handler may raise it for what it checks itself: `DecodeError("payload", "no order")`.
    """

    what: Final[str]
    """`payload` or `state`."""

    def __init__(self, what: str, cause: object) -> None:
        self.what = what
        super().__init__(f"cannot decode the {what}: {cause}")


class EffectError(Exception):
    """The host refused an effect. The handler may go on without it. Uncaught, the event is rejected."""

    kind: Final[Kind]
    """`not-granted`: the subject is outside of the handler's `publishes`.
    `invalid`: the subject, a header or the payload cannot be published.
    `too-large`: larger than `limit` bytes.
    `too-many`: more messages than `limit` for one event.
    """

    limit: Final[int | None]
    """The limit in bytes (`too-large`) or messages (`too-many`), otherwise `None`."""

    def __init__(self, effect: str, kind: Kind, detail: str = "", limit: int | None = None) -> None:
        self.kind = kind
        self.limit = limit
        super().__init__(f"{effect} refused: {_refusal(kind, detail, limit)}")


class ConfigError(Exception):
    """A setting cannot be read. Uncaught, the event is tried again: it is not to blame."""

    def __init__(self, name: str, value: str, cause: object) -> None:
        super().__init__(f"config `{name}` cannot be `{value}`: {cause}")


MOST = 0xFFFF_FFFF
"""The largest delay that the contract can carry, in its unit."""


def whole(delay: float | timedelta, units: int) -> int:
    """A delay in units of which a second has so many. It is never shortened; what is endless is cut to `MOST`."""
    if isinstance(delay, timedelta):
        micros = (delay.days * 86_400 + delay.seconds) * 1_000_000 + delay.microseconds
        amount = -(-micros * units // 1_000_000)
    elif delay == inf:
        amount = MOST
    else:
        # Rounded to nanoseconds first: 0.3 s are 300 ms, not the 300.00000000000006 of its product.
        amount = ceil(round(delay * units, 6))
    if amount < 0:
        raise ValueError(f"a delay cannot be negative: {delay}")
    return amount


def _refusal(kind: Kind, detail: str, limit: int | None) -> str:
    match kind:
        case "not-granted":
            return f"not granted: {detail}"
        case "invalid":
            return f"invalid: {detail}"
        case "too-large":
            return f"too large: the limit is {limit} bytes"
        case "too-many":
            return f"too many messages: the limit is {limit}"
