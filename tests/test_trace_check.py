"""The invariants, each on a trace that breaks nothing else (WS-TRACE-5 to WS-TRACE-9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from spec.trace import Kind, TraceError, TraceEvent
from spec.trace_check import KEPT_VIOLATIONS, check_trace
from spec.trace_reading import sorted_trace

MS = 1_000_000


def clean_trace(units: int = 3, session: str = "s", start: int = 0) -> list[TraceEvent]:
    """A session as both sides would trace it, a unit every 160 ms."""
    counts = {"thinker": start, "performer": start, "client": start}
    made: list[TraceEvent] = []

    def add(process: str, kind: Kind, unit: int, t: int, dur: int = 0, **rest: Any) -> str:
        name = f"{process}:{counts[process]}"
        counts[process] += 1
        made.append(
            TraceEvent(
                id=name, session=session, process=process, kind=kind, unit=unit, t_ns=t * MS,
                dur_ns=dur * MS, cause=rest.get("cause", ()), detail=rest.get("detail", {}),
            )
        )  # fmt: skip
        return name

    def append(unit: int, t: int, cause: str, epoch: int = 0) -> str:
        before = 0 if unit == -1 else 10 + 5 * unit
        after = 10 + 5 * (unit + 1)
        detail = {"epoch": epoch, "kv_len_before": before, "kv_len_after": after}
        return add("performer", Kind.APPEND, unit, t, cause=(cause,), detail=detail)

    append(-1, 2, add("thinker", Kind.SEND, -1, 1))
    for k in range(units):
        t = 160 * (k + 1)
        observed = add("thinker", Kind.OBSERVE, k, t, 20)
        updated = add("thinker", Kind.UPDATE, k, t + 20, 20, cause=(observed,))
        sent = add("thinker", Kind.SEND, k, t + 40, cause=(updated,))
        appended = append(k, t + 42, sent)
        solved = add("performer", Kind.SOLVE, k, t + 42, 60, cause=(appended,))
        add("performer", Kind.COMMIT, k, t + 102, 10, cause=(solved,))
        decoded = add("thinker", Kind.DECODE, k, t + 110, 30, cause=(solved,))
        # At the very instant the decoding ends: "client" stands before "thinker" in the order.
        add("client", Kind.EMIT, k, t + 140, cause=(decoded,))
    for process in ("thinker", "performer", "client"):
        add(process, Kind.END, -1, 160 * (units + 2))
    return made


def changed(trace: list[TraceEvent], kind: Kind, unit: int, /, **changes: Any) -> list[TraceEvent]:
    """The trace with one event changed, in order again."""
    return sorted_trace(
        attrs.evolve(e, **changes) if (e.kind, e.unit) == (kind, unit) else e for e in trace
    )


def without(trace: list[TraceEvent], kind: Kind, unit: int) -> list[TraceEvent]:
    return sorted_trace(e for e in trace if (e.kind, e.unit) != (kind, unit))


def clauses(trace: list[TraceEvent]) -> set[str]:
    return {violation.clause for violation in check_trace(trace).violations}


def detail(epoch: int, before: int, after: int) -> dict[str, int]:
    return {"epoch": epoch, "kv_len_before": before, "kv_len_after": after}


def test_a_clean_trace_is_clean() -> None:
    """Otherwise the findings below would mean nothing."""
    report = check_trace(sorted_trace(clean_trace()))
    assert report.clean, report
    assert report.events == len(clean_trace())


def test_two_sessions_are_kept_apart() -> None:
    """WS-TRACE-6, WS-TRACE-7, WS-TRACE-9: each has its own caches, units and processes."""
    both = sorted_trace([*clean_trace(), *clean_trace(session="t", start=1000)])
    assert check_trace(both).clean


Change = Callable[[list[TraceEvent]], list[TraceEvent]]

BROKEN: dict[str, Change] = {
    "WS-TRACE-5 a cause that does not exist": lambda t: changed(
        t, Kind.SEND, 1, cause=("thinker:999",)
    ),
    "WS-TRACE-5 a cause that ends too late": lambda t: changed(t, Kind.UPDATE, 1, dur_ns=21 * MS),
    "WS-TRACE-5 a cause that comes later": lambda t: changed(
        t, Kind.SEND, 1, cause=(next(e.id for e in t if e.kind is Kind.EMIT and e.unit == 1),)
    ),
    "WS-TRACE-5 a cause of itself": lambda t: changed(
        t, Kind.EMIT, 1, cause=(next(e.id for e in t if e.kind is Kind.EMIT and e.unit == 1),)
    ),
    "WS-TRACE-5 an id used twice": lambda t: changed(t, Kind.WAIT, 1, id="thinker:0"),
    "WS-TRACE-6 a slice appended twice": lambda t: changed(
        t, Kind.APPEND, 2, unit=1, detail=detail(0, 15, 20)
    ),
    "WS-TRACE-6 a slice left out": lambda t: changed(
        t, Kind.APPEND, 2, unit=3, detail=detail(0, 20, 25)
    ),
    "WS-TRACE-6 a hole": lambda t: changed(t, Kind.APPEND, 2, detail=detail(0, 21, 26)),
    "WS-TRACE-6 an epoch that does not begin at 0": lambda t: changed(
        t, Kind.APPEND, 2, detail=detail(1, 20, 25)
    ),
    "WS-TRACE-6 an epoch that comes back": lambda t: changed(
        changed(t, Kind.APPEND, 1, detail=detail(1, 0, 15)), Kind.APPEND, 2,
        detail=detail(0, 0, 20),
    ),
    "WS-TRACE-6 a cache that shrinks": lambda t: changed(
        t, Kind.APPEND, 2, detail=detail(0, 20, 19)
    ),
    "WS-TRACE-6 no lengths": lambda t: changed(t, Kind.APPEND, 2, detail={"epoch": 0}),
    "WS-TRACE-7 two things at once": lambda t: changed(t, Kind.COMMIT, 1, t_ns=(320 + 101) * MS,
                                                       cause=()),
    "WS-TRACE-7 a short one inside a long one": lambda t: changed(
        changed(t, Kind.OBSERVE, 1, dur_ns=100 * MS), Kind.UPDATE, 1, cause=()
    ),
    "WS-TRACE-7 two sessions on one named resource": lambda t: [*named(t)],
    "WS-TRACE-9 a unit left out": lambda t: without(without(t, Kind.DECODE, 1), Kind.EMIT, 1),
    "WS-TRACE-9 decoded twice": lambda t: changed(t, Kind.DECODE, 2, unit=1),
    "WS-TRACE-9 emitted twice": lambda t: changed(t, Kind.EMIT, 2, unit=1),
    "WS-TRACE-9 emitted while it is decoded": lambda t: changed(
        t, Kind.EMIT, 1, t_ns=(320 + 139) * MS, cause=()
    ),
    "WS-TRACE-9 emitted before it is decoded": lambda t: changed(
        t, Kind.EMIT, 1, t_ns=(320 + 105) * MS, cause=()
    ),
}  # fmt: skip


def circle(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Two waits at one instant, each for the other."""
    a, b = (
        TraceEvent(
            id=f"link:{n}", session="s", process="link", kind=kind, unit=-1, t_ns=900 * MS,
            dur_ns=0, cause=(f"link:{1 - n}",), detail={},
        )
        for n, kind in enumerate((Kind.WAIT, Kind.END))
    )  # fmt: skip
    return sorted_trace([*trace, a, b])


def named(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Both sessions solve on one GPU at the same time."""
    both = [*trace, *clean_trace(session="t", start=1000)]
    return sorted_trace(
        attrs.evolve(e, detail={"resource": "gpu0"}) if e.kind is Kind.SOLVE else e for e in both
    )


BROKEN["WS-TRACE-5 two that cause each other"] = circle


@pytest.mark.parametrize("name", BROKEN)
def test_each_invariant_is_missed_when_broken(name: str) -> None:
    """The clause is in the name; nothing else is found."""
    waiting = TraceEvent(
        id="thinker:500", session="s", process="thinker", kind=Kind.WAIT, unit=1, t_ns=400 * MS,
        dur_ns=0, cause=(), detail={},
    )  # fmt: skip
    assert clauses(BROKEN[name](sorted_trace([*clean_trace(), waiting]))) == {
        name.split(maxsplit=1)[0]
    }


def test_a_trace_that_ends_early_is_not_clean() -> None:
    """WS-TRACE-8: cut anywhere, and empty."""
    trace = sorted_trace(clean_trace())
    for end in range(len(trace)):
        report = check_trace(trace[:end])
        assert not report.clean
        assert report.unfinished
    assert check_trace(trace[:-1]).unfinished == ("thinker",)
    assert check_trace([]).unfinished == ("trace",)


def test_order_within_an_instant_does_not_matter() -> None:
    """WS-TRACE-5: a cause may stand after its effect if both are of one instant."""
    moved = changed(clean_trace(), Kind.EMIT, 1, t_ns=(320 + 140) * MS)
    emit = next(e for e in moved if (e.kind, e.unit) == (Kind.EMIT, 1))
    echo = attrs.evolve(emit, id="thinker:700", process="thinker", kind=Kind.WAIT, cause=(emit.id,))
    heard = attrs.evolve(emit, id="client:700", kind=Kind.WAIT, cause=(echo.id,))
    assert check_trace(sorted_trace([*moved, echo, heard])).clean


def test_every_span_inside_a_long_one_is_found() -> None:
    """WS-TRACE-7: a short one in between does not hide that the long one goes on."""
    long = changed(clean_trace(), Kind.OBSERVE, 1, dur_ns=150 * MS)
    trace = changed(changed(long, Kind.UPDATE, 1, cause=()), Kind.DECODE, 1)
    report = check_trace(trace)
    assert [(v.clause, v.event) for v in report.violations] == [
        ("WS-TRACE-7", next(e.id for e in trace if (e.kind, e.unit) == (kind, 1)))
        for kind in (Kind.UPDATE, Kind.DECODE)
    ]


def test_decoded_and_emitted_in_no_time() -> None:
    """WS-TRACE-9: both at one instant is in order, whatever the order of the processes."""
    trace = changed(clean_trace(), Kind.DECODE, 1, t_ns=(320 + 140) * MS, dur_ns=0)
    assert check_trace(trace).clean


def test_a_new_epoch_begins_again() -> None:
    """WS-TRACE-6: a snapshot at length 0, up to any unit."""
    trace = changed(clean_trace(), Kind.APPEND, 2, detail=detail(1, 0, 25))
    assert check_trace(trace).clean


def test_an_unordered_trace_is_refused() -> None:
    """WS-TRACE-4."""
    with pytest.raises(TraceError, match="events by"):
        check_trace(reversed(sorted_trace(clean_trace())))


def test_violations_are_counted_but_not_hoarded() -> None:
    """A hostile trace costs no more memory than an honest one."""
    trace = [attrs.evolve(e, cause=("client:999",)) for e in clean_trace(60)]
    report = check_trace(sorted_trace(trace))
    assert report.violation_count == len(trace)
    assert len(report.violations) == KEPT_VIOLATIONS
