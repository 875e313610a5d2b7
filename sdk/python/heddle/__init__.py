"""Handlers for Heddle in Python.

A handler is a function `handle` in the module `handler`. It takes an event. What it publishes and the state it
sets are held back by the host and take effect together if it returns. If it raises, they are forgotten. So a
handler never has to undo anything.

    from heddle import Event, publish, state

    def handle(event: Event) -> None:
        order = event.json()["order"]
        total = state.update(lambda total: total + 1, default=0)
        publish(f"order.counted.{event.key}", {"order": order, "total": total})

What is raised says what becomes of the event:

| raised                                          | the event is                                             |
|-------------------------------------------------|----------------------------------------------------------|
| `Retry`                                         | tried again after the handler's back-off                 |
| `Defer`                                         | tried again after a delay, which is not an attempt       |
| `Reject`                                        | a dead letter at once                                    |
| `DecodeError`: payload or state cannot be read  | rejected: it would fail again                            |
| `EffectError`: the host refused an effect       | rejected: it would be refused again                      |
| `ConfigError`: a setting cannot be read         | tried again: the event is not to blame                   |
| anything else                                   | tried again; the reason is the error and its stack       |

`heddle.testing` runs a handler without a host. `python -m heddle.build` makes the plugin.
"""

from heddle import config, context, log, state
from heddle.effects import publish, publish_bytes, publish_text, reply, reply_bytes, reply_text
from heddle.errors import ConfigError, DecodeError, Defer, EffectError, Failure, Reject, Retry
from heddle.event import Event

__all__ = [
    "ConfigError",
    "DecodeError",
    "Defer",
    "EffectError",
    "Event",
    "Failure",
    "Reject",
    "Retry",
    "config",
    "context",
    "log",
    "publish",
    "publish_bytes",
    "publish_text",
    "reply",
    "reply_bytes",
    "reply_text",
    "state",
]

__version__ = "0.1.0"
