"""Exchange messages as JSON objects and back, strictly in both directions (WS-EXCHANGE-2).

Source: CHOICE.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from spec.errors import ExchangeError
from spec.exchange_message import KIND_OF, KINDS, Message
from spec.exchange_terms import Range, Segments, Terms, require


def to_json(message: Message) -> dict[str, Any]:
    """The message as a JSON object with its ``kind`` (WS-EXCHANGE-2)."""
    return {"kind": KIND_OF[type(message)], **_plain(message)}


def _plain(value: Any) -> Any:
    """Records as objects, tuples as lists."""
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    kind: type = type(value)
    return {name: _plain(getattr(value, name)) for name in _readers(kind)}


def from_json(data: object) -> Message:
    """The message that a JSON object holds (WS-EXCHANGE-2).

    Raises:
        ExchangeError: not an object, unknown kind, a key missing or too many, a value of the wrong
            type or outside its domain.
    """
    require(isinstance(data, dict), "message", type(data).__name__, "a JSON object")
    fields = dict(typing.cast("dict[str, Any]", data))
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ExchangeError("kind", kind, ", ".join(KINDS))
    return typing.cast("Message", _record(KINDS[kind], fields, kind))


Reader = Callable[[object, str], object]
"""Makes the value of a field out of JSON; told what the field is called."""


@functools.cache
def _readers(cls: type) -> Mapping[str, Reader]:
    """How each field of a record is read, by its type."""
    hints = typing.get_type_hints(cls)
    kinds: Mapping[Any, Reader] = {
        Terms: functools.partial(_record, Terms),
        Range: functools.partial(_pair, (int, int)),
        Segments: _segments,
        int: _integer,
    }
    return {field.name: kinds.get(hints[field.name], _text) for field in attrs.fields(cls)}


def _record(cls: type, data: object, what: str) -> object:
    readers = _readers(cls)
    if not isinstance(data, dict) or data.keys() != readers.keys():
        came = sorted(data) if isinstance(data, dict) else data
        raise ExchangeError(f"keys of {what}", came, ", ".join(readers))
    return cls(**{name: read(data[name], f"{what}.{name}") for name, read in readers.items()})


def _integer(value: object, what: str) -> object:
    # `type(...) is`, here and below, because a bool is an int to isinstance.
    require(type(value) is int, what, value, "int")
    return value


def _text(value: object, what: str) -> object:
    require(type(value) is str, what, value, "str")
    return value


def _segments(value: object, what: str) -> object:
    require(type(value) is list, what, value, "a list of [segment, tokens]")
    items = typing.cast("list[object]", value)
    return tuple(_pair((str, int), item, what) for item in items)


def _pair(kinds: tuple[type, type], value: object, what: str) -> tuple[Any, Any]:
    allowed = f"[{kinds[0].__name__}, {kinds[1].__name__}]"
    require(type(value) is list, what, value, allowed)
    items = typing.cast("list[object]", value)
    require(len(items) == 2 and tuple(map(type, items)) == kinds, what, value, allowed)
    return items[0], items[1]
