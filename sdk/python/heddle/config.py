"""The handler's `config` table of `heddle.toml`. It does not change while an instance lives.

It can be read while an event is handled, not while the module is loaded: that happens once, at build time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

from heddle import _host
from heddle._text import plain
from heddle.errors import ConfigError

T = TypeVar("T")
D = TypeVar("D")


def get(name: str) -> str | None:
    """The value of a name, or `None`."""
    return _host.current.config(plain(name))


@overload
def parse(name: str, read: Callable[[str], T]) -> T | None: ...
@overload
def parse(name: str, read: Callable[[str], T], default: D) -> T | D: ...
def parse(name: str, read: Callable[[str], T], default: D | None = None) -> T | D | None:
    """The value of a name, read by `read`, or `default` if the name is not set: `config.parse("limit", int, 1000)`.

    `ConfigError` if `read` raises a `ValueError`.
    """
    value = get(name)
    if value is None:
        return default
    try:
        return read(value)
    except ValueError as error:
        cause = str(error)
    raise ConfigError(name, value, cause)
