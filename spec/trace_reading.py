"""Reading traces back, one event at a time, and merging them (WS-TRACE-3, WS-TRACE-4).

Source: CHOICE (design §13).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from spec.trace import MAX_LINE, SCHEMA, VERSION, Kind, TraceError, TraceEvent, event_key


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
    header = _object(_next_line(stream, number), number)
    if header != {"schema": SCHEMA, "version": VERSION}:
        allowed = json.dumps({"schema": SCHEMA, "version": VERSION})
        raise TraceError(f"line {number}: header", header, allowed)
    while line := _next_line(stream, number := number + 1):
        yield _event(_object(line, number), number)


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


def _next_line(stream: TextIn, number: int) -> str:
    line = stream.readline(MAX_LINE)
    if line and not line.endswith("\n"):
        cut = f"{len(line)} characters without a line feed"
        raise TraceError(f"line {number}", cut, f"whole lines of at most {MAX_LINE} characters")
    return line


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (RecursionError, ValueError):
        data = None
    if not isinstance(data, dict):
        raise TraceError(f"line {number}", line[:60].rstrip(), "one JSON object")
    return data


_VALUES: Final = (str, int, bool)
_FIELDS: Final[Mapping[str, type]] = {
    "id": str, "session": str, "process": str, "kind": str,
    "unit": int, "t_ns": int, "dur_ns": int, "cause": list, "detail": dict,
}  # fmt: skip


def _event(data: dict[str, Any], number: int) -> TraceEvent:
    if data.keys() != _FIELDS.keys():
        raise TraceError(f"line {number}: keys", sorted(data), ", ".join(_FIELDS))
    for name, kind in _FIELDS.items():
        if type(data[name]) is not kind:
            raise TraceError(f"line {number}: {name}", data[name], kind.__name__)
    if not all(type(cause) is str for cause in data["cause"]):
        raise TraceError(f"line {number}: cause", data["cause"], "a list of ids")
    if not all(value is None or type(value) in _VALUES for value in data["detail"].values()):
        allowed = "texts, integers, true, false, null"
        raise TraceError(f"line {number}: detail", data["detail"], allowed)
    if data["kind"] not in list(Kind):
        raise TraceError(f"line {number}: kind", data["kind"], ", ".join(Kind))
    try:
        return TraceEvent(**{**data, "kind": Kind(data["kind"]), "cause": tuple(data["cause"])})
    except TraceError as error:
        raise TraceError(f"line {number}: {error.what}", error.value, error.allowed) from None
