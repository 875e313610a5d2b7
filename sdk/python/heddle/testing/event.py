"""The event a test hands to a handler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Union

from heddle import _json

_NOTHING: Any = object()

_START_OF_2026 = 1_767_225_600


@dataclass(frozen=True)
class GivenEvent:
    """An event to be, made by `event`. It may be run more than once."""

    subject: str
    payload: bytes
    headers: tuple[tuple[str, str], ...]
    key: str | None
    sequence: int | None
    time_ns: int | None
    attempt: int
    correlation: str | None


def event(
    subject: str,
    *,
    json: object = _NOTHING,
    text: str | None = None,
    payload: bytes = b"",
    headers: Union[Mapping[str, str], Iterable[tuple[str, str]]] = (),
    reply_to: str | None = None,
    key: str | None = None,
    sequence: int | None = None,
    time: Union[datetime, int, None] = None,
    attempt: int = 1,
    correlation: str | None = None,
) -> GivenEvent:
    """An event on `subject`.

    - `json`, `text` or `payload`: what it carries; by default nothing.
    - `headers`: names and values. `Nats-…` headers are not shown to the handler, as by the host.
    - `reply_to`: asks for an answer on that inbox. Without it a reply is refused.
    - `key`: in place of the one that the key template gives.
    - `sequence`: in the stream, which is part of the event's id. By default the next one.
    - `time`: when the stream stored it, as a `datetime` (local time if it has no zone) or in nanoseconds since
      1970. By default the start of 2026 and one second for each sequence.
    - `attempt`: which try this is; the first is 1.
    - `correlation`: the id of the event that began the chain. By default the event's own.
    """
    if json is not _NOTHING:
        payload = _json.write(json).encode()
    elif text is not None:
        payload = text.encode()
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if reply_to is not None:
        pairs.append(("Heddle-Reply-To", reply_to))
    time_ns = _nanoseconds(time) if isinstance(time, datetime) else time
    return GivenEvent(subject, payload, tuple(pairs), key, sequence, time_ns, attempt, correlation)


def default_time(sequence: int) -> int:
    """The time of an event that does not say, in nanoseconds."""
    return (_START_OF_2026 + sequence) * 1_000_000_000


def _nanoseconds(time: datetime) -> int:
    since = time.astimezone(timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
