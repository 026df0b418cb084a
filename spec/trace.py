"""The trace: one JSONL schema for what happened, simulated or real (design §13).

A file is a header line, then one event a line. Events are written as they come and read one at a
time, so neither side holds a trace in memory. Source: CHOICE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Protocol

import attrs

from spec.errors import WanStreamerError

SCHEMA: Final = "wanstreamer-trace"
VERSION: Final = 1
MAX_LINE: Final = 65_536
"""Characters of a line, the line feed included; longer ones are refused unread (WS-TRACE-3)."""

MAX_NS: Final = 2**63 - 1
PROCESSES: Final = ("thinker", "performer", "client", "link")

EVENT_ID: Final = re.compile(r"([a-z]+):(0|[1-9][0-9]{0,17})")

Value = str | int | bool | None
Detail = Mapping[str, Value]
Source = tuple[str, str, str]
"""Process, kind, session."""


class TraceError(WanStreamerError):
    """A trace, or a line of one, outside the schema (WS-TRACE-3)."""


class Kind(StrEnum):
    """What an event is (WS-TRACE-2)."""

    OBSERVE = "observe"
    UPDATE = "update"
    SEND = "send"
    RECEIVE = "receive"
    APPEND = "append"
    SOLVE = "solve"
    COMMIT = "commit"
    DECODE = "decode"
    EMIT = "emit"
    WAIT = "wait"
    EXPORT = "export"
    DROP = "drop"
    FAULT = "fault"
    END = "end"


def event_key(event: TraceEvent) -> tuple[int, str, int]:
    """The total order of a merged trace: (t_ns, process, number of the id) (WS-TRACE-4)."""
    process, _, number = event.id.rpartition(":")
    return event.t_ns, process, int(number)


@attrs.frozen(kw_only=True)
class TraceEvent:
    """One event (WS-TRACE-1).

    ``id`` is ``process:n``, unique in the trace. ``t_ns`` is its start and ``dur_ns`` its length,
    on one clock for the whole trace. ``cause`` names the events it waited for. ``unit`` is -1
    where there is none. ``detail`` is flat and small.

    Raises:
        TraceError: a field outside its domain.
    """

    id: str
    session: str
    process: str
    kind: Kind
    unit: int
    t_ns: int
    dur_ns: int
    cause: tuple[str, ...]
    detail: Detail

    def __attrs_post_init__(self) -> None:
        match = EVENT_ID.fullmatch(self.id)
        if match is None or match[1] != self.process:
            raise TraceError("id", self.id, f"{self.process}:n, n = 0, 1, 2, ...")
        if self.process not in PROCESSES:
            raise TraceError("process", self.process, ", ".join(PROCESSES))
        for name in ("t_ns", "dur_ns"):
            if not 0 <= getattr(self, name) <= MAX_NS:
                raise TraceError(name, getattr(self, name), f"0 to {MAX_NS} ns")

    @property
    def end_ns(self) -> int:
        """When it ended."""
        return self.t_ns + self.dur_ns


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
"""One for all lines: `json.dumps` makes one each time."""


class TextOut(Protocol):
    """All that a tracer needs of a file."""

    def write(self, text: str, /) -> object: ...


class Tracer:
    """Writes the events of one process, each as soon as it is over (WS-TRACE-1, WS-TRACE-3).

    Args:
        stream: text stream, line by line JSON; the header is written at once.
        session: default session of its events.
        process: one of `PROCESSES`.
        first: number of its first event; a restarted process must not use its ids again.
    """

    def __init__(self, stream: TextOut, session: str, process: str, first: int = 0) -> None:
        self._stream = stream
        self._session = session
        self._process = process
        self._count = first
        stream.write(_line({"schema": SCHEMA, "version": VERSION}))

    def record(
        self,
        kind: Kind,
        unit: int,
        t_ns: int,
        dur_ns: int = 0,
        *,
        cause: Iterable[str] = (),
        detail: Detail | None = None,
        session: str | None = None,
    ) -> str:
        """Append one event; returns its id, for the ``cause`` of others.

        Raises:
            TraceError: a field outside its domain.
        """
        event = TraceEvent(
            id=f"{self._process}:{self._count}",
            session=self._session if session is None else session,
            process=self._process,
            kind=kind,
            unit=unit,
            t_ns=t_ns,
            dur_ns=dur_ns,
            cause=tuple(cause),
            detail={} if detail is None else detail,
        )
        self._count += 1
        self._stream.write(event_line(event))
        return event.id

    def end(self, t_ns: int) -> None:
        """The last event of the process: a trace without it was cut off (WS-TRACE-8)."""
        self.record(Kind.END, -1, t_ns)


def event_line(event: TraceEvent) -> str:
    """One event as a line of JSON, keys sorted (WS-TRACE-1)."""
    return _line(attrs.asdict(event, recurse=False))


def write_trace(stream: TextOut, events: Iterable[TraceEvent]) -> None:
    """A whole trace: header and events (WS-TRACE-3)."""
    stream.write(_line({"schema": SCHEMA, "version": VERSION}))
    for event in events:
        stream.write(event_line(event))


def _line(data: dict[str, Any]) -> str:
    return _ENCODER.encode(data) + "\n"
