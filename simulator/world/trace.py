"""Trace events of a world, put in order and written as time goes on (WS-TRACE-4).

An event is known at the latest when it starts, so what lies before the present can be written and
forgotten: the memory does not grow with the length of a run. Source: CHOICE (design §13).
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable

from spec.trace import Detail, Kind, TextOut, TraceEvent, event_key, event_line, write_trace


class Recorder:
    """Writes a trace in the order of `event_key`, and its SHA-256 (WS-TRACE-1, WS-TRACE-4).

    Args:
        stream: gets the lines; None for the digest alone.
    """

    def __init__(self, stream: TextOut | None = None) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._counts = Counter[str]()
        self._waiting: list[tuple[tuple[int, str, int], TraceEvent]] = []
        write_trace(self, ())

    def record(
        self,
        process: str,
        kind: Kind,
        session: str,
        unit: int,
        t_ns: int,
        dur_ns: int = 0,
        cause: Iterable[str] = (),
        detail: Detail | None = None,
    ) -> str:
        """Note an event that starts now or later; returns its id."""
        number = self._counts[process]
        self._counts[process] = number + 1
        event = TraceEvent(
            id=f"{process}:{number}",
            session=session,
            process=process,
            kind=kind,
            unit=unit,
            t_ns=t_ns,
            dur_ns=dur_ns,
            cause=tuple(name for name in cause if name),
            detail={} if detail is None else detail,
        )
        heapq.heappush(self._waiting, (event_key(event), event))
        return event.id

    def flush(self, before_ns: int) -> None:
        """Write what lies before ``before_ns``; nothing earlier will come."""
        while self._waiting and self._waiting[0][0][0] < before_ns:
            _, event = heapq.heappop(self._waiting)
            self.write(event_line(event))

    def end(self, session: str, t_ns: int) -> str:
        """The end of every process that said anything; returns the trace's SHA-256
        (WS-TRACE-8)."""
        for process in sorted(self._counts):
            self.record(process, Kind.END, session, -1, t_ns)
        self.flush(t_ns + 1)
        assert not self._waiting, "an event after the end"
        return self._digest.hexdigest()

    def write(self, line: str, /) -> None:
        """Add one line to the file and to its digest."""
        self._digest.update(line.encode())
        if self._stream is not None:
            self._stream.write(line)
