"""Where the calls of a handler go: to the real host in a plugin, to its double in a test.

The rest of the package calls `current`. Each host raises `Refusal` for an effect that it does not take.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

from heddle.errors import Kind

Headers = list[tuple[str, str]]


class Refusal(Exception):
    """An effect was refused; the caller says which."""

    def __init__(self, kind: Kind, detail: str = "", limit: int | None = None) -> None:
        self.kind: Kind = kind
        self.detail = detail
        self.limit = limit


class Host(Protocol):
    """What a handler can ask for. Texts hold no lone surrogates."""

    def publish(self, subject: str, headers: Headers, payload: str | bytes, seconds: int) -> None: ...
    def reply(self, headers: Headers, payload: bytes) -> None: ...
    def state(self) -> bytes | None: ...
    def set_state(self, value: str | bytes) -> None: ...
    def clear_state(self) -> None: ...
    def attempt(self) -> int: ...
    def stream(self) -> str: ...
    def sequence(self) -> int: ...
    def handler(self) -> str: ...
    def correlation(self) -> str: ...
    def deadline_ms(self) -> int: ...
    def config(self, name: str) -> str | None: ...
    def log(self, level: int, message: str) -> None: ...


class Nobody:
    """Stands where no host is: while a module is loaded, and outside of a test's run."""

    def log(self, level: int, message: str) -> None:
        """Shows the line, so that a function that logs can be tested by itself."""
        print(message)

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(
            "the host can only be called while an event is handled, in a plugin or within `heddle.testing`"
        )


nobody: Host = Nobody()
current: Host = nobody
