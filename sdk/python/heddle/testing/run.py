"""How an event ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from heddle.errors import Defer, Failure, Reject, Retry

Level = Literal["trace", "debug", "info", "warn", "error"]
LEVELS: tuple[Level, ...] = ("trace", "debug", "info", "warn", "error")


@dataclass(frozen=True)
class LogLine:
    """A line of the handler's log."""

    level: Level
    """How much it matters."""

    message: str
    """What it says."""


@dataclass(frozen=True)
class Published:
    """A message that was published, or a reply."""

    subject: str
    """The subject; of a reply the inbox."""

    headers: list[tuple[str, str]]
    """Those the handler gave, in their order."""

    payload: bytes
    """What it carries."""

    delay: int = 0
    """The delay after the commit, in whole seconds."""

    def header(self, name: str) -> str | None:
        """The first value of a header, or `None`. Upper and lower case differ."""
        return next((value for known, value in self.headers if known == name), None)

    def text(self) -> str:
        """The payload as text."""
        return self.payload.decode()

    def json(self) -> Any:
        """The payload as JSON."""
        return decode(self.payload)

    def size(self) -> int:
        """What counts for `limits.output`, in bytes."""
        headers = sum(len(name.encode()) + len(value.encode()) for name, value in self.headers)
        return len(self.subject.encode()) + headers + len(self.payload)


@dataclass(frozen=True)
class Run:
    """The verdict on one event and what it left. After a failure there are no messages, there is no reply, and the
    state is what it was before; only the log lines remain."""

    failure: Failure | None
    """What the handler failed with; `None` if the event is done."""

    messages: list[Published]
    """What was published, in order."""

    reply: Published | None
    """The answer to the event."""

    state_bytes: bytes | None
    """The state of the event's key after the run, as it was stored."""

    logs: list[LogLine]
    """What was logged, in order. What is printed is not among them."""

    error: BaseException | None = None
    """What the handler raised."""

    @property
    def verdict(self) -> Literal["done", "retry", "defer", "reject"]:
        """What becomes of the event."""
        if self.failure is None:
            return "done"
        if isinstance(self.failure, Defer):
            return "defer"
        return "reject" if isinstance(self.failure, Reject) else "retry"

    @property
    def subjects(self) -> list[str]:
        """The subjects of what was published, in order."""
        return [message.subject for message in self.messages]

    def done(self) -> Run:
        """Asserts that the event is done."""
        if self.failure is not None:
            raise AssertionError(f"expected the event to be done, but: {self._told()}") from self.error
        return self

    def retried(self) -> str:
        """Asserts that the event is to be tried again, and returns the reason."""
        return self._failed(Retry, "a retry").reason

    def deferred(self) -> tuple[int, str]:
        """Asserts that the event is deferred, and returns the delay in milliseconds and the reason."""
        failure = self._failed(Defer, "a deferral")
        return failure.delay_ms, failure.reason  # type: ignore[attr-defined]

    def rejected(self) -> str:
        """Asserts that the event is rejected, and returns the reason."""
        return self._failed(Reject, "a reject").reason

    def message(self, subject: str) -> Published:
        """The only message on `subject`. Asserts that there is one, and no more."""
        on_subject = [message for message in self.messages if message.subject == subject]
        if len(on_subject) != 1:
            told = f"expected one message on `{subject}` among {self.subjects}, verdict {self._told()}"
            raise AssertionError(told) from self.error
        return on_subject[0]

    @property
    def state(self) -> Any:
        """The state of the event's key after the run, as JSON, or `None`."""
        return None if self.state_bytes is None else decode(self.state_bytes)

    def _failed(self, kind: type[Failure], name: str) -> Failure:
        if not isinstance(self.failure, kind):
            raise AssertionError(f"expected {name}, but: {self._told()}") from self.error
        return self.failure

    def _told(self) -> str:
        return "done" if self.failure is None else f"{self.verdict}: {self.failure.reason}"


def decode(payload: bytes) -> Any:
    """JSON that a test expects."""
    try:
        return json.loads(payload)
    except ValueError as error:
        raise AssertionError(f"{error} in: {payload.decode(errors='replace')}") from None
