"""The `key` template of a handler, as in `heddle.toml`."""

from __future__ import annotations

from json import JSONDecoder
from typing import Any

from heddle.errors import DecodeError
from heddle.event import Event


_AS_IT_STANDS = JSONDecoder(parse_int=str, parse_float=str)
"""A number is a key as it stands in the payload, with all its digits."""


def of(template: str, event: Event) -> str | None:
    """The key that `template` gives an event, or `None` if the event lacks a part of it. `ValueError` if it is no
    template."""
    key = ""
    rest = template
    while "{" in rest:
        text, _, rest = rest.partition("{")
        part, closed, rest = rest.partition("}")
        if not closed:
            raise _fault(template, "`{` without `}`")
        value = _value(template, part, event)
        if value is None:
            return None
        key += text + value
    return key + rest


def _value(template: str, part: str, event: Event) -> str | None:
    kind, dot, detail = part.partition(".")
    if not dot:
        if kind == "subject":
            return event.subject
        if kind == "event":
            return event.id
    elif kind == "subject":
        if not (detail.isascii() and detail.isdigit()):
            raise _fault(template, "the token of a subject is a number")
        return event.token(int(detail))
    elif kind == "header":
        return event.header(detail)
    elif kind == "payload":
        return _pointed(event, detail)
    raise _fault(template, "a part is `subject`, `subject.N`, `header.NAME`, `payload./POINTER` or `event`")


def _pointed(event: Event, pointer: str) -> str | None:
    try:
        event.json()
    except DecodeError:
        return None
    value: Any = _AS_IT_STANDS.decode(event.text().removeprefix("\ufeff"))
    if pointer:
        if not pointer.startswith("/"):
            return None
        for step in pointer[1:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and step in value:
                value = value[step]
            elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            else:
                return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None


def _fault(template: str, problem: str) -> ValueError:
    return ValueError(f"key template `{template}`: {problem}")
