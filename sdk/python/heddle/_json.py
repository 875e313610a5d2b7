"""JSON in and out, as strict as the contract's other languages: UTF-8, no `NaN`, no infinity."""

from __future__ import annotations

import dataclasses
from json import JSONDecoder, JSONEncoder
from typing import Any, NoReturn

from heddle import _shape
from heddle.errors import DecodeError


def read(what: str, payload: bytes, shape: Any = None) -> Any:
    """The value that `payload` holds, made into `shape` if there is one. `DecodeError` if it is unreadable."""
    try:
        value = _decode(str(payload, "utf-8"))
        return value if shape is None else _shape.reader(shape)(value)
    except RecursionError:
        cause = "nested too deeply"
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


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _dataclass(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_decode = JSONDecoder(parse_constant=_refuse_constant).decode
_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_dataclass).encode
_encode_ascii = JSONEncoder(allow_nan=False, separators=(",", ":"), default=_dataclass).encode
