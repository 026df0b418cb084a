"""The invariants, each on a trace that breaks nothing else (WS-TRACE-5 to WS-TRACE-15)."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.benchmark_trace import check_text, split_trace
from spec.trace import Kind, TraceError, TraceEvent, event_key, write_trace
from spec.trace_check import KEPT_VIOLATIONS, TraceReport, check_rows, check_trace
from spec.trace_ids import Ids
from spec.trace_reading import sorted_trace
from spec.trace_rows import read_rows, row_of
from spec.trace_sessions import CAUSES

MS = 1_000_000


def clean_trace(units: int = 3, session: str = "s") -> list[TraceEvent]:
    """A session as both sides would trace it, a unit every 160 ms."""
    counts = {"thinker": 0, "performer": 0, "client": 0}
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
        observed = add("thinker", Kind.OBSERVE, k, t, 20, detail={"queue": 1, "queue_limit": 4})
        updated = add("thinker", Kind.UPDATE, k, t + 20, 20, cause=(observed,))
        sent = add("thinker", Kind.SEND, k, t + 40, cause=(updated,))
        appended = append(k, t + 42, sent)
        solved = add("performer", Kind.SOLVE, k, t + 42, 60, cause=(appended,))
        add("performer", Kind.COMMIT, k, t + 102, 10, cause=(solved,))
        decoded = add("thinker", Kind.DECODE, k, t + 110, 30, cause=(solved,))
        # At the very instant the decoding ends: "client" stands before "thinker" in the order.
        out = {"audio_end_ns": 160 * MS * (k + 1), "video_end_ns": 160 * MS * (k + 1)}
        due = {"deadline_ns": (t + 140) * MS, "gap_ns": 0}
        add("client", Kind.EMIT, k, t + 140, cause=(decoded,), detail={**out, **due})
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


def one(trace: list[TraceEvent], kind: Kind, unit: int) -> TraceEvent:
    return next(e for e in trace if (e.kind, e.unit) == (kind, unit))


def stating(trace: list[TraceEvent], kind: Kind, unit: int, /, **values: Any) -> list[TraceEvent]:
    """The trace with values of one event's detail changed; None takes one away."""
    stated = {**one(trace, kind, unit).detail, **values}
    kept = {name: value for name, value in stated.items() if value is not None}
    return changed(trace, kind, unit, detail=kept)


def given_up(trace: list[TraceEvent], unit: int, t: int) -> list[TraceEvent]:
    """The trace with a unit given up, an event that `numbered` gives its number."""
    drop = TraceEvent(
        id=f"link:{t}", session="s", process="link", kind=Kind.DROP, unit=unit, t_ns=t * MS,
        dur_ns=0, cause=(), detail={"policy": "skip"},
    )  # fmt: skip
    return sorted_trace([*trace, drop])


def session_given_up(trace: list[TraceEvent], t: int) -> list[TraceEvent]:
    return changed(given_up(trace, 9, t), Kind.DROP, 9, unit=-1)


def numbered(*traces: list[TraceEvent]) -> list[TraceEvent]:
    """One trace of several, its ids numbered anew without gaps, causes with them."""
    counts: Counter[str] = Counter()
    names: dict[tuple[int, str], str] = {}
    for which, event in sorted(
        ((w, e) for w, trace in enumerate(traces) for e in trace),
        key=lambda pair: (*event_key(pair[1])[:2], pair[0], event_key(pair[1])[2]),
    ):
        names[which, event.id] = f"{event.process}:{counts[event.process]}"
        counts[event.process] += 1
    return sorted_trace(
        attrs.evolve(
            event,
            id=names[which, event.id],
            cause=tuple(names.get((which, cause), cause) for cause in event.cause),
        )
        for which, trace in enumerate(traces)
        for event in trace
    )


def judged(trace: list[TraceEvent]) -> TraceReport:
    """The report; the same for the trace written out and read fast (WS-TRACE-3)."""
    report = check_trace(trace)
    text = io.StringIO()
    write_trace(text, trace)
    text.seek(0)
    assert check_rows(read_rows(text)) == report
    return report


def clauses(trace: list[TraceEvent]) -> set[str]:
    return {violation.clause for violation in judged(trace).violations}


def detail(epoch: int, before: int, after: int) -> dict[str, int]:
    return {"epoch": epoch, "kv_len_before": before, "kv_len_after": after}


def test_a_clean_trace_is_clean() -> None:
    """Otherwise the findings below would mean nothing."""
    report = judged(sorted_trace(clean_trace()))
    assert report.clean, report
    assert report.events == len(clean_trace())


def test_two_sessions_are_kept_apart() -> None:
    """WS-TRACE-6 to WS-TRACE-14: each has its own caches, units, processes and deadlines."""
    assert judged(numbered(clean_trace(), clean_trace(session="t"))).clean


def ancient(trace: list[TraceEvent]) -> list[TraceEvent]:
    """An event that names the first of a session as its cause, 3 * CAUSES events later."""
    waits = [
        TraceEvent(
            id=f"link:{n + 2}", session="s", process="link", kind=Kind.WAIT, unit=-1,
            t_ns=700 * MS + n, dur_ns=0, cause=(), detail={},
        )
        for n in range(3 * CAUSES)
    ]  # fmt: skip
    late = attrs.evolve(waits[-1], t_ns=750 * MS, id=f"link:{len(waits) + 2}", cause=("thinker:0",))
    return sorted_trace([*trace, *waits, late])


def going_on(trace: list[TraceEvent]) -> list[TraceEvent]:
    """An event that begins together with its cause, which takes a while and stands after it."""
    solve = one(trace, Kind.SOLVE, 1)
    wait = attrs.evolve(LINK[0], id="link:9", t_ns=solve.t_ns, cause=(solve.id,))
    assert event_key(wait) < event_key(solve)
    return numbered([*trace, wait])


def circle(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Two waits at one instant, each for the other."""
    a, b = (
        TraceEvent(
            id=f"link:{n}", session="s", process="link", kind=kind, unit=-1, t_ns=900 * MS,
            dur_ns=0, cause=(f"link:{5 - n}",), detail={},
        )
        for n, kind in ((2, Kind.WAIT), (3, Kind.END))
    )  # fmt: skip
    return sorted_trace([*trace, a, b])


def named(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Both sessions solve on one GPU at the same time."""
    return [
        attrs.evolve(e, detail={"resource": "gpu0"}) if e.kind is Kind.SOLVE else e
        for e in numbered(trace, clean_trace(session="t"))
    ]


def ahead(trace: list[TraceEvent]) -> list[TraceEvent]:
    """The thinker runs through 5 units in a row; their responses come after the last."""
    first, rest = clean_trace(5), [e for e in trace if e.process == "link"]
    late = {Kind.DECODE, Kind.EMIT}
    shift = 5 * 160 * MS
    moved = [attrs.evolve(e, t_ns=e.t_ns + shift) if e.kind in late else e for e in first]
    return numbered(
        [
            attrs.evolve(e, t_ns=5000 * MS) if e.kind is Kind.END
            else attrs.evolve(
                e, detail={**e.detail, "deadline_ns": e.t_ns, "gap_ns": 0}
            ) if e.kind is Kind.EMIT else e
            for e in [*moved, *rest]
        ]
    )  # fmt: skip


def crossed(trace: list[TraceEvent]) -> list[TraceEvent]:
    """A slice of one session is received for another."""
    both = numbered(trace, clean_trace(session="t"))
    theirs = next(e for e in both if (e.session, e.kind, e.unit) == ("t", Kind.SEND, 1))
    return [
        attrs.evolve(e, cause=(theirs.id,))
        if (e.session, e.kind, e.unit) == ("s", Kind.APPEND, 1) else e
        for e in both
    ]  # fmt: skip


Change = Callable[[list[TraceEvent]], list[TraceEvent]]

BROKEN: dict[str, Change] = {
    "WS-TRACE-5 a cause that does not exist": lambda t: changed(
        t, Kind.SEND, 1, cause=("thinker:999",)
    ),
    "WS-TRACE-5 a cause that ends too late": lambda t: changed(t, Kind.UPDATE, 1, dur_ns=21 * MS),
    "WS-TRACE-5 a cause that comes later": lambda t: changed(
        t, Kind.SEND, 1, cause=(one(t, Kind.EMIT, 1).id,)
    ),
    "WS-TRACE-5 a cause of itself": lambda t: changed(
        t, Kind.EMIT, 1, cause=(one(t, Kind.EMIT, 1).id,)
    ),
    "WS-TRACE-5 a cause of one instant that goes on": going_on,
    "WS-TRACE-5 an id used twice": lambda t: sorted_trace(
        [*t, attrs.evolve(LINK[0], t_ns=450 * MS)]
    ),
    "WS-TRACE-5 a line left out": lambda t: without(t, Kind.COMMIT, 2),
    "WS-TRACE-14 a cause too long ago": ancient,
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
    "WS-TRACE-7 two sessions on one named resource": named,
    "WS-TRACE-9 decoded twice": lambda t: changed(t, Kind.DECODE, 2, unit=1),
    "WS-TRACE-9 emitted while it is decoded": lambda t: stating(
        changed(t, Kind.EMIT, 2, t_ns=(480 + 139) * MS, cause=()), Kind.EMIT, 2
    ),
    "WS-TRACE-9 emitted before it is decoded": lambda t: changed(
        t, Kind.EMIT, 2, t_ns=(480 + 105) * MS, cause=()
    ),
    "WS-TRACE-10 a unit left out": lambda t: numbered(
        without(without(t, Kind.DECODE, 1), Kind.EMIT, 1)
    ),
    "WS-TRACE-10 the last unit left out": lambda t: numbered(
        without(without(t, Kind.DECODE, 2), Kind.EMIT, 2)
    ),
    "WS-TRACE-10 a unit not observed": lambda t: numbered(
        without(changed(t, Kind.UPDATE, 1, cause=()), Kind.OBSERVE, 1)
    ),
    "WS-TRACE-10 observed twice": lambda t: changed(t, Kind.OBSERVE, 2, unit=1),
    "WS-TRACE-10 given up and emitted": lambda t: numbered(given_up(t, 1, 330)),
    "WS-TRACE-10 given up after it was emitted": lambda t: numbered(given_up(t, 1, 470)),
    "WS-TRACE-10 given up twice": lambda t: numbered(
        given_up(given_up(without(without(t, Kind.DECODE, 1), Kind.EMIT, 1), 1, 330), 1, 331)
    ),
    "WS-TRACE-10 given up without a policy": lambda t: numbered(
        changed(
            given_up(without(without(t, Kind.DECODE, 1), Kind.EMIT, 1), 1, 330), Kind.DROP, 1,
            detail={},
        )
    ),
    "WS-TRACE-10 observed after the session was given up": lambda t: numbered(
        session_given_up(t, 330)
    ),
    "WS-TRACE-11 too far ahead": ahead,
    "WS-TRACE-11 a queue beyond its limit": lambda t: stating(t, Kind.OBSERVE, 1, queue=5),
    "WS-TRACE-11 a queue of less than nothing": lambda t: stating(t, Kind.OBSERVE, 1, queue=-1),
    "WS-TRACE-11 a queue without a length": lambda t: stating(t, Kind.OBSERVE, 1, queue=None),
    "WS-TRACE-12 a gap that is not told": lambda t: changed(
        t, Kind.EMIT, 2, t_ns=(480 + 150) * MS
    ),
    "WS-TRACE-12 a gap that was none": lambda t: stating(t, Kind.EMIT, 2, gap_ns=1),
    "WS-TRACE-12 a deadline put off": lambda t: stating(
        changed(t, Kind.EMIT, 2, t_ns=(480 + 150) * MS), Kind.EMIT, 2,
        deadline_ns=(480 + 150) * MS,
    ),
    "WS-TRACE-12 a gap that delays nothing": lambda t: stating(
        changed(t, Kind.EMIT, 1, t_ns=(320 + 150) * MS), Kind.EMIT, 1, gap_ns=10 * MS
    ),
    "WS-TRACE-12 half of an account": lambda t: stating(t, Kind.EMIT, 1, gap_ns=None),
    "WS-TRACE-13 sound goes back": lambda t: stating(t, Kind.EMIT, 2, audio_end_ns=310 * MS),
    "WS-TRACE-13 a picture goes back": lambda t: stating(t, Kind.EMIT, 2, video_end_ns=310 * MS),
    "WS-TRACE-13 a picture of the future": lambda t: stating(
        t, Kind.EMIT, 2, video_end_ns=481 * MS
    ),
    "WS-TRACE-14 an effect in another session": crossed,
}  # fmt: skip


BROKEN["WS-TRACE-5 two that cause each other"] = circle


@pytest.mark.parametrize("name", BROKEN)
def test_each_invariant_is_missed_when_broken(name: str) -> None:
    """The clause is in the name; nothing else is found."""
    trace = sorted_trace([*clean_trace(), *LINK])
    assert judged(trace).clean
    assert clauses(BROKEN[name](trace)) == {name.split(maxsplit=1)[0]}


LINK = [
    TraceEvent(
        id=f"link:{n}", session="s", process="link", kind=kind, unit=1, t_ns=t * MS,
        dur_ns=0, cause=(), detail={},
    )
    for n, kind, t in ((0, Kind.WAIT, 400), (1, Kind.END, 850))
]  # fmt: skip


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
    assert judged(numbered([*moved, echo, heard])).clean


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
    assert judged(trace).clean


def test_a_new_epoch_begins_again() -> None:
    """WS-TRACE-6: a snapshot at length 0, up to any unit."""
    trace = changed(clean_trace(), Kind.APPEND, 2, detail=detail(1, 0, 25))
    assert check_trace(trace).clean


def test_an_unordered_trace_is_refused() -> None:
    """WS-TRACE-4."""
    with pytest.raises(TraceError, match="events by"):
        check_trace(reversed(sorted_trace(clean_trace())))


def test_a_unit_given_up_is_accounted_for() -> None:
    """WS-TRACE-10, WS-TRACE-12: its time may be won back, or the viewer waits through it."""
    trace = without(without(clean_trace(), Kind.DECODE, 1), Kind.EMIT, 1)
    assert judged(numbered(given_up(trace, 1, 330), LINK)).clean
    live = stating(trace, Kind.EMIT, 2, deadline_ns=(320 + 140) * MS, gap_ns=160 * MS)
    assert judged(numbered(given_up(live, 1, 330), LINK)).clean


def test_a_session_given_up_owes_nothing() -> None:
    """WS-TRACE-10: what was observed and never answered is accounted for."""
    trace = without(without(clean_trace(), Kind.DECODE, 2), Kind.EMIT, 2)
    assert not judged(numbered(trace, LINK)).clean
    assert judged(numbered(session_given_up(trace, 700), LINK)).clean


def test_a_late_unit_delays_the_ones_after_it() -> None:
    """WS-TRACE-12: the sum of the gaps is how much later the last one comes."""
    trace = changed(clean_trace(), Kind.EMIT, 1, t_ns=(320 + 150) * MS)
    trace = stating(trace, Kind.EMIT, 1, gap_ns=10 * MS)
    trace = changed(trace, Kind.EMIT, 2, t_ns=(480 + 170) * MS)
    trace = stating(trace, Kind.EMIT, 2, deadline_ns=(480 + 150) * MS, gap_ns=20 * MS)
    assert judged(trace).clean


def test_a_window_that_is_stated_holds() -> None:
    """WS-TRACE-11: five units ahead are allowed by a window of four, and not by one of three."""
    for window, clean in ((4, True), (3, False)):
        trace = ahead(LINK)
        assert judged(stating(trace, Kind.APPEND, -1, window=window)).clean is clean


def test_the_whole_machine_may_be_a_cause() -> None:
    """WS-TRACE-14: a fault strikes every session."""
    fault = attrs.evolve(LINK[0], session="", kind=Kind.FAULT, unit=-1, t_ns=100 * MS)
    trace = changed(clean_trace(), Kind.OBSERVE, 0, cause=("link:0",))
    assert judged(numbered([*trace, fault, LINK[1]])).clean


@given(st.lists(st.integers(0, 12), max_size=30))
def test_ids_are_a_set_of_numbers(numbers: list[int]) -> None:
    """WS-TRACE-5: in any order, with gaps and copies, as a plain set would say."""
    ids, known = Ids(), set[int]()
    for number in numbers:
        assert ids.take(number) is (number not in known)
        known.add(number)
        assert [ids.used(n) for n in range(14)] == [n in known for n in range(14)]
        first = next(n for n in range(14) if n not in known)
        assert ids.missing == (first if first <= max(known) else None)


def test_ids_of_interleaved_sessions_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-TRACE-15: a run a session, and one in the end; a number in two left out is refused."""
    ids = Ids()
    for number in itertools.chain.from_iterable(zip(range(900), range(900, 1800), strict=True)):
        assert ids.take(number)
        assert len(ids.others) <= 1
    assert (ids.next, ids.others, ids.ends, ids.starts) == (1800, [], {}, {})
    monkeypatch.setattr("spec.trace_ids.RUNS", 100)
    hostile = Ids()
    for number in range(100):
        assert hostile.take(2 * number + 1)
    with pytest.raises(TraceError, match="missing at once"):
        hostile.take(201)


def test_memory_does_not_grow_with_the_session() -> None:
    """WS-TRACE-15: at the end of a long trace, what its events took is gone."""
    tracemalloc.start()
    peaks = []
    for units in (400, 1200):
        tracemalloc.reset_peak()
        assert check_rows(map(row_of, long_trace(units))).violation_count == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def long_trace(units: int) -> Iterator[TraceEvent]:
    """Many emissions of one session, none of them kept; only decoded and emitted."""
    for k in range(units):
        for n, kind in enumerate((Kind.OBSERVE, Kind.DECODE, *[Kind.WAIT] * 17, Kind.EMIT)):
            number = 20 * k + n
            yield TraceEvent(
                id=f"thinker:{number}", session="s", process="thinker", kind=kind, unit=k,
                t_ns=number, dur_ns=0, cause=(f"thinker:{number - 1}",) if number else (),
                detail={},
            )  # fmt: skip


def test_violations_are_counted_but_not_hoarded() -> None:
    """A hostile trace costs no more memory than an honest one."""
    trace = [attrs.evolve(e, cause=("client:999",)) for e in clean_trace(60)]
    report = check_trace(sorted_trace(trace))
    assert report.violation_count == len(trace)
    assert len(report.violations) == KEPT_VIOLATIONS


def test_the_trace_of_the_benchmark_is_a_clean_one() -> None:
    """WS-TRACE-5 to WS-TRACE-11: otherwise its rate would be that of something else."""
    assert check_text(split_trace(20)) == 20 * 16 + 2
