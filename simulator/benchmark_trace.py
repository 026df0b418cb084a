"""A trace in memory for the benchmark of the checker, in the form of a real split run's.

Source: CHOICE (design §15).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Final

from spec.trace import Detail, Kind, TraceEvent, write_trace
from spec.trace_check import check_rows
from spec.trace_rows import read_rows

UNITS: Final = 5_000
MS: Final = 1_000_000

STEPS: Final[tuple[tuple[str, Kind, str], ...]] = (
    ("thinker", Kind.OBSERVE, ""),
    ("thinker", Kind.UPDATE, ""),
    ("thinker", Kind.SEND, "Header"),
    ("performer", Kind.RECEIVE, "?"),
    ("performer", Kind.APPEND, "slice"),
    ("performer", Kind.SEND, "SliceAck"),
    ("thinker", Kind.RECEIVE, "?"),
    ("performer", Kind.SOLVE, ""),
    ("performer", Kind.SEND, "Latents"),
    ("performer", Kind.COMMIT, ""),
    ("thinker", Kind.RECEIVE, "?"),
    ("thinker", Kind.DECODE, ""),
    ("thinker", Kind.EMIT, ""),
    ("thinker", Kind.COMMIT, ""),
    ("thinker", Kind.SEND, "LatentsAck"),
    ("performer", Kind.RECEIVE, "?"),
)
"""The events of a unit, one after the other; what each says."""


def split_trace(units: int = UNITS) -> str:
    """The text of a clean trace of so many units, 16 events each, with details and digests of the
    lengths that a real one has."""
    stream = io.StringIO()
    write_trace(stream, _events(units))
    return stream.getvalue()


def check_text(text: str) -> int:
    """Read and check a trace as the command reads its file, from memory; the number of its
    events."""
    data = io.BytesIO(text.encode())
    file = io.TextIOWrapper(data, encoding="utf-8", errors="surrogateescape", newline="\n")
    report = check_rows(read_rows(file))
    assert report.clean, report
    return report.events


def _events(units: int) -> Iterator[TraceEvent]:
    counts = {"thinker": 0, "performer": 0}
    t_ns, last = 0, ""

    def event(process: str, kind: Kind, unit: int, dur_ns: int, detail: Detail) -> TraceEvent:
        counts[process] += 1
        return TraceEvent(
            id=f"{process}:{counts[process] - 1}", session="split", process=process, kind=kind,
            unit=unit, t_ns=t_ns, dur_ns=dur_ns, cause=(last,) if last else (), detail=detail,
        )  # fmt: skip

    for unit in range(units):
        for process, kind, said in STEPS:
            detail: dict[str, str | int] = {}
            if said == "slice":
                digest = hashlib.sha256(str(unit).encode()).hexdigest()
                detail = {"digest": digest, "epoch": 0, "kv_len_after": 17 * unit + 17,
                          "kv_len_before": 17 * unit}  # fmt: skip
            elif kind in (Kind.OBSERVE, Kind.EMIT):
                detail = {"queue": 1, "queue_limit": 3}
            elif said:
                detail = {"bytes": 12_800 + unit % 90, "channel": "exchange"}
                if said != "?":
                    detail["kind"] = said
                if said in ("Header", "Latents"):
                    detail |= {"queue": 1, "queue_limit": 2}
            made = event(process, kind, unit, 0 if said or kind is Kind.EMIT else 5 * MS, detail)
            yield made
            t_ns, last = made.end_ns + 100_000, made.id
    for process in counts:
        yield event(process, Kind.END, -1, 0, {})
        t_ns += 1
