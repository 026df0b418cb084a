"""Traces of a session with constant stage times, made by hand for metrics, pictures and fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from spec.trace import Detail, Kind, TraceEvent
from spec.trace_reading import sorted_trace

MS: Final = 1_000_000
T: Final = 160

STAGES: Final[Mapping[str, int]] = {
    "up": 100, "encode": 20, "update": 25, "comm": 5, "solve": 60, "back": 4, "decode": 15,
    "commit": 7, "down": 90,
}  # fmt: skip
"""ms; all of a unit fits into T, so nothing queues and the return is eager."""


def session_trace(
    units: int, stages: Mapping[str, int] = STAGES, emission: Detail | None = None
) -> list[TraceEvent]:
    """Client, thinker and performer: unit k is captured at (k + 1) T and waits for nothing."""
    return sorted_trace(_events(units, stages, emission or {}))


def _events(units: int, stages: Mapping[str, int], emission: Detail) -> Iterator[TraceEvent]:
    counts = {"client": 0, "thinker": 0, "performer": 0}
    kv = (("epoch", 0),)

    def at(
        process: str, kind: Kind, unit: int, ms: int, dur: int, causes: tuple[str, ...], **rest: int
    ) -> TraceEvent:
        number = counts[process]
        counts[process] += 1
        detail: Detail = emission if kind is Kind.EMIT else rest
        return TraceEvent(
            id=f"{process}:{number}", session="s", process=process, kind=kind, unit=unit,
            t_ns=ms * MS, dur_ns=dur * MS, cause=causes, detail=detail,
        )  # fmt: skip

    s = stages
    for k in range(units):
        now = (k + 1) * T
        captured = at("client", Kind.SEND, k, now, 0, ())
        now += s["up"]
        arrived = at("thinker", Kind.RECEIVE, k, now, 0, (captured.id,))
        observed = at("thinker", Kind.OBSERVE, k, now, s["encode"], (arrived.id,))
        now += s["encode"]
        updated = at("thinker", Kind.UPDATE, k, now, s["update"], (observed.id,))
        now += s["update"]
        sent = at("thinker", Kind.SEND, k, now, s["comm"], (updated.id,))
        now += s["comm"]
        lengths = {"kv_len_before": 5 * k, "kv_len_after": 5 * k + 5, **dict(kv)}
        appended = at("performer", Kind.APPEND, k, now, 0, (sent.id,), **lengths)
        solved = at("performer", Kind.SOLVE, k, now, s["solve"], (appended.id,))
        now += s["solve"]
        back = at("performer", Kind.SEND, k, now, s["back"], (solved.id,))
        now += s["back"]
        returned = at("thinker", Kind.RECEIVE, k, now, 0, (back.id,))
        decoded = at("thinker", Kind.DECODE, k, now, s["decode"], (returned.id,))
        now += s["decode"]
        emitted = at("thinker", Kind.EMIT, k, now, 0, (decoded.id,))
        commit = at("thinker", Kind.COMMIT, k, now, s["commit"], (decoded.id,))
        heard = at("client", Kind.RECEIVE, k, now + s["down"], 0, (emitted.id,))
        yield from (captured, arrived, observed, updated, sent, appended, solved, back, returned)
        yield from (decoded, emitted, commit, heard)
    for process in counts:
        yield at(process, Kind.END, -1, (units + 5) * T, 0, ())
