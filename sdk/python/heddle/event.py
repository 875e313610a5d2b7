"""The event as a handler sees it. It can be read and nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Final, TypeVar, overload

from heddle import _json
from heddle.errors import DecodeError

T = TypeVar("T")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some producers put before JSON. It says nothing."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Event:
    """One message of a stream."""

    __slots__ = ("headers", "id", "key", "payload", "subject", "time_ns")

    id: Final[str]
    """`<stream>/<sequence>`: the same whenever this event is run again, so it serves as an idempotency key for
    calls to the outside."""

    subject: Final[str]
    """The subject the event was published on."""

    key: Final[str]
    """The key that keeps this event in order, as the handler's `key` template gave it. State is kept by it."""

    time_ns: Final[int]
    """When the stream stored the event, in nanoseconds since 1970. `time.time_ns()` reads this very time while
    the event runs."""

    headers: Final[list[tuple[str, str]]]
    """All headers as name and value, in their order. Names may repeat. `Nats-…` headers are not among them."""

    payload: Final[bytes]
    """The payload as it was published."""

    def __init__(
        self, id: str, subject: str, key: str, time_ns: int, headers: list[tuple[str, str]], payload: bytes
    ) -> None:
        self.id = id
        self.subject = subject
        self.key = key
        self.time_ns = time_ns
        self.headers = headers
        self.payload = payload

    @property
    def time(self) -> datetime:
        """When the stream stored the event, in UTC, cut to microseconds. `datetime.now()` reads the same time
        while the event runs."""
        return _EPOCH + timedelta(microseconds=self.time_ns // 1000)

    def token(self, index: int) -> str | None:
        """The token of the subject at `index`, counted from 0 as in `key = "{subject.2}"`, or `None`."""
        tokens = self.subject.split(".")
        return tokens[index] if 0 <= index < len(tokens) else None

    def header(self, name: str) -> str | None:
        """The first value of a header, or `None`. Upper and lower case differ."""
        for known, value in self.headers:
            if known == name:
                return value
        return None

    def header_values(self, name: str) -> list[str]:
        """All values of a header, in their order."""
        return [value for known, value in self.headers if known == name]

    def text(self) -> str:
        """The payload as text. `DecodeError` if it is not UTF-8."""
        try:
            return str(self.payload, "utf-8")
        except UnicodeDecodeError as cause:
            raise DecodeError("payload", cause) from None

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, shape: type[T]) -> T: ...
    def json(self, shape: Any = None) -> Any:
        """The payload as JSON; with a `shape`, checked and made into it. A byte order mark before it is skipped.

        A shape is a dataclass whose fields are shapes, or `str`, `int`, `float`, `bool`, `list[…]`,
        `dict[str, …]`, `… | None`, `Any`. Members that a dataclass does not know are ignored. A `ValueError` of
        its `__post_init__` counts as unreadable.

        `DecodeError` if the payload is not JSON or has another shape.
        """
        return _json.read("payload", self.payload.removeprefix(_BYTE_ORDER_MARK), shape)

    def __repr__(self) -> str:
        return f"Event(id={self.id!r}, subject={self.subject!r}, key={self.key!r})"
