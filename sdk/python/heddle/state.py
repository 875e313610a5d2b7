"""One value for each key of this handler.

It is stored in the same commit as the effects, so it never disagrees with what was published. Events of a key run
one at a time, so reading and then writing needs no lock. Its size is bounded by `limits.state`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, TypeVar, overload

from heddle import _host, _json
from heddle.errors import DecodeError, EffectError

T = TypeVar("T")
D = TypeVar("D")


@overload
def get() -> Any: ...
@overload
def get(*, default: Any) -> Any: ...
@overload
def get(shape: type[T]) -> T | None: ...
@overload
def get(shape: type[T], *, default: D) -> T | D: ...
def get(shape: Any = None, *, default: Any = None) -> Any:
    """The value left by the last event of this key, or what this event has set, read as JSON; `default` if there is
    none.

    With a `shape`, it is checked and made into it, as by `Event.json`. `DecodeError` if it is not JSON or has
    another shape.
    """
    value = _host.current.state()
    return default if value is None else _json.read("state", value, shape)


def set(value: object) -> None:
    """Replaces the value, written as JSON. Dataclasses are written as objects.

    `EffectError` if it is larger than `limits.state` or cannot be written as JSON.
    """
    try:
        text = _json.write(value)
    except _json.Unwritable as error:
        problem = str(error)
    else:
        return _set(text)
    raise EffectError("state", "invalid", problem)


def update(change: Callable[[Any], T], *, default: Any = None) -> T:
    """Sets the value to what `change` makes of it, or of `default` if there is none, and returns the new value.

    Raises what `get` and `set` raise, and a `TypeError` if `change` returns `None`: it has to return the new value,
    also if it has altered the old one.
    """
    value = change(get(default=default))
    if value is None:
        raise TypeError("the function given to `state.update` must return the new state, not None")
    set(value)
    return value


def clear() -> None:
    """Removes the value: `get` gives none from now on. A key without a value costs nothing."""
    _host.current.clear_state()


def get_text() -> str | None:
    """The value as text, or `None`. `DecodeError` if it is not UTF-8."""
    value = _host.current.state()
    if value is None:
        return None
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as cause:
        raise DecodeError("state", cause) from None


def set_text(value: str) -> None:
    """Replaces the value. `EffectError` if it is larger than `limits.state` or cannot be written as UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"the state must be a str, not {type(value).__name__}")
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError as cause:
        problem = f"cannot be written as UTF-8: {cause}"
    else:
        return _set(value)
    raise EffectError("state", "invalid", problem)


def get_bytes() -> bytes | None:
    """The value as it was stored, or `None`."""
    return _host.current.state()


def set_bytes(value: bytes) -> None:
    """Replaces the value. `EffectError` if it is larger than `limits.state`."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"the state must be bytes, not {type(value).__name__}")
    _set(builtins.bytes(value))


def _set(value: str | bytes) -> None:
    try:
        return _host.current.set_state(value)
    except _host.Refusal as refusal:
        error = EffectError("state", refusal.kind, refusal.detail, refusal.limit)
    raise error
