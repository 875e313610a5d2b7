"""An event loop for a handler that is `async`: it runs to its end within the call.

There is nothing outside to wait for, so time jumps to the next timer whenever all tasks wait. If there is no timer
either, what they wait for never comes, and the handler gets an error that says so. Every event gets a loop of its own:
tasks that are left over at the end are cancelled, and nothing of them is seen by the next event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from heddle._run import NeverComes
from heddle._trace import Frame
from heddle.event import Event


def synchronous(handle: Callable[[Event], Coroutine[Any, Any, Any]]) -> Callable[[Event], Any]:
    """A function that runs the coroutine of `handle` to its end."""

    def call(event: Event) -> Any:
        return run(handle(event))

    return call


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end, and nothing of its tasks beyond it."""
    loop = Loop()
    try:
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except NeverComes:
            frames = _waiting(coroutine)
        raise NeverComes(frames)
    finally:
        loop.end()


class Loop(asyncio.BaseEventLoop):
    """A loop over timers alone, on a clock of its own that begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = 1e-9
        self._selector = self
        self._now = 0.0

    def time(self) -> float:
        """Seconds since the event began."""
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """What the base class calls to wait: until the next timer, or for ever if there is none."""
        if timeout is None:
            raise NeverComes
        self._now += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake this one."""

    def end(self) -> None:
        """Cancels what is left."""
        try:
            tasks = asyncio.all_tasks(self)
            if tasks:
                for task in tasks:
                    task.cancel()
                self.run_until_complete(_settled(tasks))
            if self._asyncgens:  # type: ignore[attr-defined]
                self.run_until_complete(self.shutdown_asyncgens())
        except NeverComes:
            pass
        finally:
            self.close()


async def _settled(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _waiting(awaited: Awaitable[Any] | None) -> list[Frame]:
    """Where a coroutine waits."""
    frames: list[Frame] = []
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        if frame is not None:
            frames.append((frame.f_code, frame.f_lineno))
        awaited = getattr(awaited, "cr_await", None)
    return frames
