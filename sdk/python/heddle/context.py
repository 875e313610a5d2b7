"""About the run of this event."""

from __future__ import annotations

from heddle import _host


def attempt() -> int:
    """1 on the first run, 2 on the first retry, and so on. Deferrals do not count."""
    return _host.current.attempt()


def stream() -> str:
    """The stream the event was read from."""
    return _host.current.stream()


def sequence() -> int:
    """The event's sequence in that stream."""
    return _host.current.sequence()


def handler() -> str:
    """The handler's name in `heddle.toml`."""
    return _host.current.handler()


def correlation() -> str:
    """The id of the event that began this chain of events."""
    return _host.current.correlation()


def deadline_ms() -> int:
    """What is left of `limits.time`, in milliseconds of run time. The one answer that is not the same on every run
    of an event."""
    return _host.current.deadline_ms()
