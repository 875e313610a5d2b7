"""The real host, reached through the generated bindings. The only file that knows them.

The bindings end the instance if a value has another type than the contract says, so whoever calls this has checked.
"""

# mypy: ignore-errors
from __future__ import annotations

from componentize_py_types import Err
from wit_world.imports import config as settings
from wit_world.imports import context, effects, types
from wit_world.imports import log as lines
from wit_world.imports import state as values

from heddle._host import Headers, Refusal
from heddle.errors import Defer, Failure, Reject
from heddle.event import Event

attempt = context.attempt
stream = context.stream
sequence = context.sequence
handler = context.handler
correlation = context.correlation
deadline_ms = context.deadline_ms
config = settings.get
state = values.get
clear_state = values.clear

_LEVELS = (lines.Level.TRACE, lines.Level.DEBUG, lines.Level.INFO, lines.Level.WARN, lines.Level.ERROR)


def log(level: int, message: str) -> None:
    lines.log(_LEVELS[level], message)


def publish(subject: str, headers: Headers, payload: str | bytes, seconds: int) -> None:
    pairs = _write_headers(headers) if headers else []
    try:
        if type(payload) is bytes:
            return effects.publish_after(types.Message(subject, pairs, payload), seconds)
        return effects.publish_text(subject, pairs, payload, seconds)
    except Err as error:
        refusal = _read_refusal(error.value)
    raise refusal


def reply(headers: Headers, payload: bytes) -> None:
    try:
        return effects.reply(_write_headers(headers), payload)
    except Err as error:
        refusal = _read_refusal(error.value)
    raise refusal


def set_state(value: str | bytes) -> None:
    try:
        if type(value) is bytes:
            return values.set(value)
        return values.set_text(value)
    except Err as error:
        refusal = _read_refusal(error.value)
    raise refusal


def read_event(event: types.Event) -> Event:
    headers = [(header.name, header.value) for header in event.headers]
    time = event.time
    time_ns = time.seconds * 1_000_000_000 + time.nanoseconds
    return Event(event.id, event.subject, event.key, time_ns, headers, event.payload)


def write_failure(failure: Failure) -> Err:
    if isinstance(failure, Defer):
        return Err(types.Failure_Defer(types.Deferral(failure.delay_ms, failure.reason)))
    if isinstance(failure, Reject):
        return Err(types.Failure_Reject(failure.reason))
    return Err(types.Failure_Retry(failure.reason))


def _write_headers(headers: Headers) -> list[types.Header]:
    return [types.Header(name, value) for name, value in headers]


def _read_refusal(error: types.EffectError) -> Refusal:
    if isinstance(error, types.EffectError_NotGranted):
        return Refusal("not-granted", error.value)
    if isinstance(error, types.EffectError_Invalid):
        return Refusal("invalid", error.value)
    if isinstance(error, types.EffectError_TooLarge):
        return Refusal("too-large", limit=error.value)
    return Refusal("too-many", limit=error.value)
