"""Checks that a JSON value has the shape that a type describes, and makes it into that type."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Reader = Callable[[Any], Any]


@lru_cache(maxsize=256)
def reader(shape: Any) -> Reader:
    """A function that gives back the value in the shape, or raises `ValueError`. `TypeError` if it is no shape."""
    if shape is Any or shape is object:
        return lambda value: value
    if shape in (str, bool, int, type(None), dict, list):
        return _plain(shape)
    if shape is float:
        return _float
    if dataclasses.is_dataclass(shape):
        return _dataclass(shape)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin is list:
        return _list(reader(arguments[0]))
    if origin is dict and arguments[0] is str:
        return _dict(reader(arguments[1]))
    if origin is typing.Literal:
        return _literal(arguments)
    if origin in (typing.Union, types.UnionType):
        return _union(shape, [reader(argument) for argument in arguments])
    raise TypeError(f"{shape} cannot be read from JSON")


_NAMES = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    type(None): "null",
    dict: "an object",
    list: "a list",
}


def _plain(shape: type) -> Reader:
    name = _NAMES[shape]

    def read(value: Any) -> Any:
        if type(value) is not shape:
            raise ValueError(f"expected {name}, found {_found(value)}")
        return value

    return read


def _float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise ValueError(f"expected a number, found {_found(value)}")


def _list(item: Reader) -> Reader:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise ValueError(f"expected a list, found {_found(value)}")
        return [item(entry) for entry in value]

    return read


def _dict(item: Reader) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValueError(f"expected an object, found {_found(value)}")
        return {name: item(entry) for name, entry in value.items()}

    return read


def _literal(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
        raise ValueError(f"expected one of {', '.join(map(repr, choices))}, found {_found(value)}")

    return read


def _union(shape: Any, readers: list[Reader]) -> Reader:
    def read(value: Any) -> Any:
        cause = None
        for one in readers:
            try:
                return one(value)
            except ValueError as error:
                cause = cause or str(error)
        raise ValueError(cause)

    return read


def _dataclass(shape: Any) -> Reader:
    hints = typing.get_type_hints(shape)
    fields = [field for field in dataclasses.fields(shape) if field.init]
    readers = [(field.name, _required(field), reader(hints[field.name])) for field in fields]

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"expected an object, found {_found(value)}")
        members = {}
        for name, required, member in readers:
            if name in value:
                try:
                    members[name] = member(value[name])
                except ValueError as error:
                    raise ValueError(f"`{name}`: {error}") from None
            elif required:
                raise ValueError(f"`{name}` is missing")
        return shape(**members)

    return read


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _found(value: Any) -> str:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        text = repr(value)
        return text if len(text) <= 60 else text[:60] + "…"
    return _NAMES[type(value)] if value is None or isinstance(value, (list, dict)) else str(value).lower()
