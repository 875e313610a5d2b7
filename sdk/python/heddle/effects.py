"""What a handler publishes and answers.

The host judges every effect at once and holds it back until the verdict. It is the only judge: `heddle.testing`
judges alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Union

from heddle import _host, _json
from heddle._text import plain
from heddle.errors import MOST, EffectError, whole

Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]
"""Names and values. Names may repeat in a list of pairs. At most 64. The host refuses names that begin with `Nats-`
or `Heddle-`, and `traceparent`, which it sets itself."""

Delay = Union[float, timedelta]
"""Seconds or a `timedelta`, counted from the commit. It survives restarts of host and server. The host counts in
whole seconds: a fraction counts as one more."""


def publish(subject: str, value: object, *, headers: Headers = (), delay: Delay = 0) -> None:
    """Publishes `value` as JSON, if the event is done. Dataclasses are written as objects.

    `EffectError` if the host refuses the message or the value cannot be written as JSON.
    """
    try:
        text = _json.write(value)
    except _json.Unwritable as error:
        problem = str(error)
    else:
        return _publish(subject, text, headers, delay)
    raise EffectError(_on(subject), "invalid", problem)


def publish_text(subject: str, text: str, *, headers: Headers = (), delay: Delay = 0) -> None:
    """Publishes text, if the event is done. `EffectError` if the host refuses the message."""
    try:
        _check_text(text, "the payload")
    except _host.Refusal as refusal:
        error = _refused(_on(subject), refusal)
    else:
        return _publish(subject, text, headers, delay)
    raise error


def publish_bytes(subject: str, payload: bytes, *, headers: Headers = (), delay: Delay = 0) -> None:
    """Publishes bytes, if the event is done. `EffectError` if the host refuses the message."""
    _publish(subject, _bytes(payload), headers, delay)


def reply(value: object, *, headers: Headers = ()) -> None:
    """Answers the event with `value` as JSON, on the inbox that its publisher gave in `Heddle-Reply-To`.

    It is sent once after the commit and not repeated if the host dies in between. `EffectError` if the publisher
    did not ask for an answer, the event is answered already, or the value cannot be written as JSON.
    """
    try:
        text = _json.write(value)
    except _json.Unwritable as error:
        problem = str(error)
    else:
        return _reply(text.encode(), headers)
    raise EffectError("reply", "invalid", problem)


def reply_text(text: str, *, headers: Headers = ()) -> None:
    """Answers the event with text. Otherwise the same as `reply`."""
    try:
        _check_text(text, "the payload")
    except _host.Refusal as refusal:
        error = _refused("reply", refusal)
    else:
        return _reply(text.encode(), headers)
    raise error


def reply_bytes(payload: bytes, *, headers: Headers = ()) -> None:
    """Answers the event with bytes. Otherwise the same as `reply`."""
    _reply(_bytes(payload), headers)


def _publish(subject: str, payload: str | bytes, headers: Headers, delay: Delay) -> None:
    try:
        _check_text(subject, "the subject")
        seconds = whole(delay, 1) if delay else 0
        if seconds > MOST:
            raise _host.Refusal("invalid", f"a delay of {seconds} seconds is too long")
        return _host.current.publish(subject, _pairs(headers) if headers else [], payload, seconds)
    except _host.Refusal as refusal:
        error = _refused(_on(subject), refusal)
    raise error


def _reply(payload: bytes, headers: Headers) -> None:
    try:
        return _host.current.reply(_pairs(headers) if headers else [], payload)
    except _host.Refusal as refusal:
        error = _refused("reply", refusal)
    raise error


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    pairs = [(name, value) for name, value in (headers.items() if isinstance(headers, Mapping) else headers)]
    for name, value in pairs:
        _check_text(name, "a header's name")
        _check_text(value, "a header's value")
    return pairs


def _check_text(text: str, what: str) -> None:
    """The host takes texts of UTF-8 only, and anything else would end the instance."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _host.Refusal("invalid", f"{what} cannot be written as UTF-8: {error}") from None


def _bytes(payload: bytes) -> bytes:
    if type(payload) is bytes:
        return payload
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    raise TypeError(f"the payload must be bytes, not {type(payload).__name__}")


def _on(subject: str) -> str:
    return f"publish on `{plain(str(subject))}`"


def _refused(effect: str, refusal: _host.Refusal) -> EffectError:
    return EffectError(effect, refusal.kind, refusal.detail, refusal.limit)
