"""The invariants, each on a trace that breaks nothing else (WS-TRACE-5 to WS-TRACE-15)."""

from __future__ import annotations

import gc
import io
import itertools
import json
import tracemalloc
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_defects import (
    BROKEN,
    LINK,
    MS,
    ahead,
    changed,
    clean_trace,
    detail,
    given_up,
    numbered,
    session_given_up,
    stating,
    without,
)

from simulator.benchmark_trace import check_text, split_trace
from spec.trace import SCHEMA, VERSION, Kind, TraceError, TraceEvent, event_line, write_trace
from spec.trace_check import KEPT_VIOLATIONS, TraceReport, check_rows, check_trace
from spec.trace_ids import Ids
from spec.trace_reading import sorted_trace
from spec.trace_rows import read_rows


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


def test_a_clean_trace_is_clean() -> None:
    """Otherwise the findings below would mean nothing."""
    report = judged(sorted_trace(clean_trace()))
    assert report.clean, report
    assert report.events == len(clean_trace())


def test_two_sessions_are_kept_apart() -> None:
    """WS-TRACE-6 to WS-TRACE-14: each has its own caches, units, processes and deadlines."""
    assert judged(numbered(clean_trace(), clean_trace(session="t"))).clean


@pytest.mark.parametrize("name", BROKEN)
def test_each_invariant_is_missed_when_broken(name: str) -> None:
    """The clause is in the name; nothing else is found."""
    trace = sorted_trace([*clean_trace(), *LINK])
    assert judged(trace).clean
    assert clauses(BROKEN[name](trace)) == {name.split(maxsplit=1)[0]}


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


def test_queues_are_reported() -> None:
    """WS-TRACE-11: the longest of each, over all sessions; what is not stated is named."""
    other = stating(clean_trace(session="t"), Kind.UPDATE, 2, queue=3)
    report = judged(numbered(stating(clean_trace(), Kind.SEND, 1, queue=2, queue_limit=8), other))
    assert report.clean
    assert report.queues == {"thinker update": (3, 4), "slices unanswered": (2, 8)}
    assert report.unstated == ("units in work", "responses unacknowledged", "responses unread")


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


class Lines:
    """A file that makes its lines as they are read."""

    def __init__(self, events: Iterator[TraceEvent]) -> None:
        header = json.dumps({"schema": SCHEMA, "version": VERSION}) + "\n"
        self._lines = itertools.chain([header], map(event_line, events))
        self._rest = ""

    def read(self, size: int, /) -> str:
        while len(self._rest) < size and (line := next(self._lines, "")):
            self._rest += line
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


def test_memory_does_not_grow_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-TRACE-15: at the end of a file that is read and judged, as much is held as at the end of
    a short one."""
    # Bounded memories, bounded further, so that a short session fills them.
    monkeypatch.setattr("spec.trace_check.CAUSES", 256)
    monkeypatch.setattr("spec.trace_rows.BLOCK", 2048)
    held = list[int]()

    def weighed(events: Iterator[TraceEvent], at: int) -> Iterator[TraceEvent]:
        for number, event in enumerate(events):
            if number == at:
                # What is free for the interpreter to use again is not held.
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
            yield event

    for units in (100, 100, 600):
        tracemalloc.start()
        report = check_rows(read_rows(Lines(weighed(long_trace(units), 20 * units - 1))))
        tracemalloc.stop()
        assert (report.events, report.violation_count) == (20 * units, 0)
    # A number kept of every unit, in a list, would come to 36 bytes each.
    assert held[2] < held[1] + 500 * 16


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
