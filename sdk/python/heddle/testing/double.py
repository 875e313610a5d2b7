"""The double of the host: one event at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heddle._host import Headers, Refusal
from heddle.testing import rules
from heddle.testing.run import LEVELS, LogLine, Published


@dataclass(frozen=True)
class Limits:
    """The `limits` table of a handler."""

    messages: int = 100
    """The most messages for one event."""

    output: int = 1 << 20
    """The most bytes of subjects, headers and payloads for one event; 1 MiB by default."""

    state: int = 256 << 10
    """The most bytes of the state of a key; 256 KiB by default."""

    time_ms: int = 2000
    """The run time that `context.deadline_ms` tells. It is not enforced."""


@dataclass
class World:
    """Everything a handler can ask for or change while its event runs."""

    name: str
    stream_name: str
    event_sequence: int
    event_attempt: int
    event_correlation: str
    reply_to: str | None
    settings: Mapping[str, str]
    publishes: Sequence[str] | None
    limits: Limits
    value: bytes | None
    messages: list[Published] = field(default_factory=list)
    answer: Published | None = None
    logs: list[LogLine] = field(default_factory=list)

    def publish(self, subject: str, headers: Headers, payload: str | bytes, seconds: int) -> None:
        message = Published(subject, headers, payload.encode() if isinstance(payload, str) else payload, seconds)
        rules.check_subject(subject, self.publishes)
        rules.check_headers(headers)
        if len(self.messages) >= self.limits.messages:
            raise Refusal("too-many", limit=self.limits.messages)
        self._check_output(message)
        self.messages.append(message)

    def reply(self, headers: Headers, payload: bytes) -> None:
        if self.reply_to is None:
            raise Refusal("invalid", "the event has no `Heddle-Reply-To` header")
        rules.check_headers(headers)
        if self.answer is not None:
            raise Refusal("invalid", "the event is answered already")
        answer = Published(self.reply_to, headers, payload, 0)
        self._check_output(answer)
        self.answer = answer

    def state(self) -> bytes | None:
        return self.value

    def set_state(self, value: str | bytes) -> None:
        value = value.encode() if isinstance(value, str) else value
        if len(value) > self.limits.state:
            raise Refusal("too-large", limit=self.limits.state)
        self.value = value

    def clear_state(self) -> None:
        self.value = None

    def attempt(self) -> int:
        return self.event_attempt

    def stream(self) -> str:
        return self.stream_name

    def sequence(self) -> int:
        return self.event_sequence

    def handler(self) -> str:
        return self.name

    def correlation(self) -> str:
        return self.event_correlation

    def deadline_ms(self) -> int:
        return self.limits.time_ms

    def config(self, name: str) -> str | None:
        return self.settings.get(name)

    def log(self, level: int, message: str) -> None:
        self.logs.append(LogLine(LEVELS[level], message))

    def _check_output(self, following: Published) -> None:
        """The output of an event is the sum of what its messages and its reply hold."""
        so_far = sum(message.size() for message in self.messages)
        if self.answer is not None:
            so_far += self.answer.size()
        if so_far + following.size() > self.limits.output:
            raise Refusal("too-large", limit=self.limits.output)
