"""Exchange messages as JSON objects and back, strictly in both directions (WS-EXCHANGE-2).

Source: CHOICE.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
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
    return {f.name: _plain(getattr(value, f.name)) for f in attrs.fields(type(value))}


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


@functools.cache
def _types(cls: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in attrs.fields(cls)}


def _record(cls: type, data: object, what: str) -> object:
    types = _types(cls)
    if not isinstance(data, dict) or data.keys() != types.keys():
        came = sorted(data) if isinstance(data, dict) else data
        raise ExchangeError(f"keys of {what}", came, ", ".join(types))
    return cls(**{name: _value(types[name], data[name], f"{what}.{name}") for name in types})


def _value(kind: Any, value: object, what: str) -> object:
    if kind is Terms:
        return _record(Terms, value, what)
    if kind == Range:
        return _pair(value, (int, int), what)
    if kind == Segments:
        require(type(value) is list, what, value, "a list of [segment, tokens]")
        items = typing.cast("list[object]", value)
        return tuple(_pair(item, (str, int), what) for item in items)
    plain = int if kind is int else str
    require(type(value) is plain, what, value, plain.__name__)
    return value


def _pair(value: object, kinds: tuple[type, type], what: str) -> tuple[Any, Any]:
    # `type(...) is`, because a bool is an int to isinstance.
    allowed = f"[{kinds[0].__name__}, {kinds[1].__name__}]"
    require(type(value) is list, what, value, allowed)
    items = typing.cast("list[object]", value)
    require(len(items) == 2 and tuple(map(type, items)) == kinds, what, value, allowed)
    return items[0], items[1]
