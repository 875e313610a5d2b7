"""Runs a handler on an event, and decides what its errors mean. The same in a plugin and in a test."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Union

from heddle import _trace
from heddle.errors import ConfigError, DecodeError, EffectError, Failure, Reject, Retry
from heddle.event import Event

Handler = Union[Callable[[Event], None], Callable[[Event], Awaitable[None]]]


class NeverComes(Exception):
    """All tasks of a handler wait, and no timer is set."""

    def __init__(self, frames: Sequence[_trace.Frame] = ()) -> None:
        super().__init__("the handler awaits what never comes: no task is ready, and no timer is set")
        self.frames = list(frames)


def caller(handle: Handler) -> Callable[[Event], None]:
    """A function that runs `handle` to its end and raises what it raises.

    `asyncio` is loaded for a handler that is `async`, and for no other.
    """
    function: Any = handle
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):
        from heddle import _loop

        function = _loop.synchronous(function)

    def call(event: Event) -> None:
        answer = function(event)
        if answer is not None:
            refuse(answer)

    return call


def refuse(answer: object) -> None:
    """A handler answers by returning nothing or by raising. Anything else would pass for done unseen."""
    if inspect.iscoroutine(answer):
        answer.close()
    hint = "write it as `async def`" if inspect.isawaitable(answer) else "raise Retry, Defer or Reject for a failure"
    raise TypeError(f"the handler must return nothing, but it returned a {type(answer).__name__}: {hint}")


def judge(error: BaseException) -> Failure:
    """What becomes of an event whose handler raised `error`."""
    error = _only(error)
    if isinstance(error, Failure):
        return error
    if isinstance(error, (DecodeError, EffectError)):
        return Reject(error)
    if isinstance(error, ConfigError):
        return Retry(error)
    if isinstance(error, NeverComes):
        return Retry("\n".join([str(error), *_trace.told(error.frames)]))
    return Retry(_trace.report(error))


def _only(error: BaseException) -> BaseException:
    """A group that holds a single error, as that of a task group, is judged as that error."""
    while True:
        inner = getattr(error, "exceptions", None)
        if not isinstance(inner, tuple) or len(inner) != 1:
            return error
        error = inner[0]
