"""Random numbers that are a matter of the event alone, whatever its instance has run before.

An instance draws from the host's entropy by itself while it runs its first event, and only then. So what a handler
draws does not come from there, but from a generator that starts over with each event.
"""

# mypy: ignore-errors
from __future__ import annotations

import os
import sys
from _random import Random  # the module `random` itself is loaded only if the handler loads it

_generator = Random(0)
_event = ""
_fresh = False


def install() -> None:
    """To be called before the handler is loaded: it may take `os.urandom` by name."""
    os.urandom = _urandom


def begin(event: str) -> None:
    """An event begins: the generator is seeded once it is asked for a number."""
    global _event, _fresh
    _event, _fresh = event, True


def seed(event: str, handler: str) -> int:
    """What the random numbers of an event begin with."""
    return int.from_bytes(f"{handler}/{event}".encode(), "little")


def seeder():
    """Seeds the functions of `random`. None if no module has loaded it: none can be loaded later."""
    random = sys.modules.get("random")
    return None if random is None else random.seed


def _urandom(size: int, /) -> bytes:
    global _fresh
    if _fresh:
        from heddle import _host

        _generator.seed(seed(_event, _host.current.handler()))
        _fresh = False
    return _generator.getrandbits(size * 8).to_bytes(size, "little") if size else b""
