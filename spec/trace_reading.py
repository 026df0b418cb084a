"""Reading traces back, one event at a time, and merging them (WS-TRACE-3, WS-TRACE-4).

Source: CHOICE (design §13).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, Final, NoReturn, Protocol

from spec.trace import (
    MAX_LINE,
    SCHEMA,
    VERSION,
    Detail,
    Kind,
    TraceError,
    TraceEvent,
    event_key,
)


class TextIn(Protocol):
    """All that a reader needs of a file."""

    def readline(self, limit: int, /) -> str: ...


def read_trace(stream: TextIn) -> Iterator[TraceEvent]:
    """Events of a trace, one at a time (WS-TRACE-3).

    Raises:
        TraceError: wrong schema or version, a line that is not an event, or a last line without
            its line feed; the message names the line.
    """
    number = 1
    header_of_line(_next_line(stream, number), number)
    while line := _next_line(stream, number := number + 1):
        yield event_of_line(line, number)


def merge_traces(*traces: Iterable[TraceEvent]) -> Iterator[TraceEvent]:
    """One trace of several, in the order of `event_key` (WS-TRACE-4).

    Raises:
        TraceError: a trace that is not in that order itself; `sorted_trace` puts it so.
    """
    return heapq.merge(*map(in_order, traces), key=event_key)


def sorted_trace(events: Iterable[TraceEvent]) -> list[TraceEvent]:
    """In the order of `event_key`: a span is written when it ends but is ordered by its start."""
    return sorted(events, key=event_key)


def in_order(events: Iterable[TraceEvent]) -> Iterator[TraceEvent]:
    """The same events, once they are known to be in the order of `event_key` (WS-TRACE-4).

    Raises:
        TraceError: two events that are not.
    """
    last: TraceEvent | None = None
    for event in events:
        if last is not None and event_key(event) <= event_key(last):
            raise TraceError("trace", f"{event.id} after {last.id}", "events by (t_ns, id)")
        last = event
        yield event


def header_of_line(line: str, number: int) -> None:
    """Take the first line of a trace (WS-TRACE-3).

    Raises:
        TraceError: another schema, another version, or no header at all.
    """
    header = _object(line, number)
    if header != {"schema": SCHEMA, "version": VERSION}:
        allowed = json.dumps({"schema": SCHEMA, "version": VERSION})
        raise TraceError(f"line {number}: header", header, allowed)


class NotPlainError(Exception):
    """A text is not in the writer's own form: the strict reader says what it is."""


def detail_of(text: str) -> Detail:
    """The detail that ``text``, without a backslash in it, is (WS-TRACE-1).

    Raises:
        NotPlainError: it is none.
    """
    data = _plain(text)
    # Where nothing is escaped and no space stands before a colon, a colon after a quote ends a key:
    # as many as there are keys, so each is there once.
    spaced = " :" in text or not text.isprintable()
    if spaced or not isinstance(data, dict) or len(data) != text.count('":') or not _flat(data):
        raise NotPlainError
    return data


def integers(texts: list[str]) -> list[int]:
    """The integers that texts of digits, perhaps after a sign, are.

    Raises:
        NotPlainError: one begins with a zero too many, or is too long.
    """
    numbers = _plain(f"[{','.join(texts)}]")
    assert isinstance(numbers, list)
    return numbers


def _plain(text: str) -> object:
    try:
        data, end = _scan(text)
    except (RecursionError, ValueError):
        raise NotPlainError from None
    if end != len(text):
        raise NotPlainError
    return data


def refuse_line(line: str, number: int) -> NoReturn:
    """Refuse a line that is too long, or the last one when it was cut off (WS-TRACE-3)."""
    cut = f"{len(line)} characters without a line feed"
    raise TraceError(f"line {number}", cut, f"whole lines of at most {MAX_LINE} characters")


def _next_line(stream: TextIn, number: int) -> str:
    line = stream.readline(MAX_LINE)
    if line and not line.endswith("\n"):
        refuse_line(line, number)
    return line


def _object(line: str, number: int) -> dict[str, Any]:
    shown = line[:60].rstrip()
    try:
        data = _decode(line)
        # A byte that was no UTF-8, or an escape that is half a character.
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise TraceError(f"line {number}", shown, "text in UTF-8") from None
    except TraceError as error:
        raise TraceError(f"line {number}: {error.what}", error.value, error.allowed) from None
    except (RecursionError, ValueError):
        data = None
    if not isinstance(data, dict):
        raise TraceError(f"line {number}", shown, "one JSON object")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise TraceError("keys", [name for name, _ in pairs][:20], "each key once")
    return data


def _no_number(name: str) -> NoReturn:
    raise TraceError("number", name, "integers")


_decode: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number).decode

_scan: Final = json.JSONDecoder(parse_constant=_no_number).raw_decode

_VALUES: Final = frozenset((str, int, bool, NoneType))
_FIELDS: Final[Mapping[str, type]] = {
    "id": str, "session": str, "process": str, "kind": str,
    "unit": int, "t_ns": int, "dur_ns": int, "cause": list, "detail": dict,
}  # fmt: skip


def event_of_line(line: str, number: int) -> TraceEvent:
    """The event that a line is (WS-TRACE-1, WS-TRACE-2).

    Raises:
        TraceError: it is none; the message names the line.
    """
    data = _object(line, number)
    if data.keys() != _FIELDS.keys():
        raise TraceError(f"line {number}: keys", sorted(data), ", ".join(_FIELDS))
    for name, kind in _FIELDS.items():
        if type(data[name]) is not kind:
            raise TraceError(f"line {number}: {name}", data[name], kind.__name__)
    if not all(type(cause) is str for cause in data["cause"]):
        raise TraceError(f"line {number}: cause", data["cause"], "a list of ids")
    if not _flat(data["detail"]):
        allowed = "texts, integers, true, false, null"
        raise TraceError(f"line {number}: detail", data["detail"], allowed)
    if data["kind"] not in list(Kind):
        raise TraceError(f"line {number}: kind", data["kind"], ", ".join(Kind))
    try:
        return TraceEvent(**{**data, "kind": Kind(data["kind"]), "cause": tuple(data["cause"])})
    except TraceError as error:
        raise TraceError(f"line {number}: {error.what}", error.value, error.allowed) from None


def _flat(detail: dict[str, Any]) -> bool:
    return _VALUES.issuperset(map(type, detail.values()))
