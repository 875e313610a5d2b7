"""JSON in and out, as strict as the contract's other languages: UTF-8, no `NaN`, no infinity."""

from __future__ import annotations

import dataclasses
import re
from json import JSONDecoder, JSONEncoder
from typing import Any, NoReturn

from heddle import _shape
from heddle.errors import DecodeError

DEEPEST = 512
"""Levels of lists and objects. The 1 MiB stack of a plugin holds some 1,500; what exceeds it ends the instance."""


def read(what: str, payload: bytes, shape: Any = None) -> Any:
    """The value that `payload` holds, made into `shape` if there is one. `DecodeError` if it is unreadable."""
    try:
        text = str(payload, "utf-8")
        if text.count("[") + text.count("{") > DEEPEST:
            _check_depth(text)
        value = _decode(text)
        return value if shape is None else _shape.reader(shape)(value)
    except ValueError as error:
        cause = str(error)
    raise DecodeError(what, cause)


def write(value: object) -> str:
    """The value as compact JSON that UTF-8 can carry. `Unwritable` if it cannot be written."""
    try:
        text = _encode(value)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                text = _encode_ascii(value)
        return text
    except (TypeError, ValueError, RecursionError) as error:
        cause = str(error)
    raise Unwritable(f"cannot be written as JSON: {cause}")


class Unwritable(Exception):
    """A value that is no JSON."""


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} levels")


_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = re.compile(r"[\[\]{}]")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _dataclass(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_decode = JSONDecoder(parse_constant=_refuse_constant).decode
_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_dataclass).encode
_encode_ascii = JSONEncoder(allow_nan=False, separators=(",", ":"), default=_dataclass).encode
