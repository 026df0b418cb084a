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
from simulator.world.small import terms
from spec.exchange_headers import slice_header
from spec.exchange_message import Latents
from spec.exchange_performer import performer
from spec.exchange_terms import whole
from spec.exchange_thinker import Sent, thinker
from spec.trace import SCHEMA, VERSION, Kind, TraceError, TraceEvent, event_line, write_trace
from spec.trace_check import KEPT_VIOLATIONS, TraceReport, check_rows, check_trace
from spec.trace_ids import Ids
from spec.trace_queues import at_sending
from spec.trace_reading import sorted_trace
from spec.trace_rows import read_rows, row_of
from spec.trace_sessions import GAPS, Session


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
    """The clause is in the name; nothing else is found. What an append states is WS-TRACE-2."""
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


def test_nothing_of_a_process_comes_after_its_end() -> None:
    """WS-TRACE-8: the end is the last event, and the link has one too."""
    trace = sorted_trace([*clean_trace(), LINK[0]])
    assert judged(trace).unfinished == ("link",)
    for process in ("thinker", "performer", "client"):
        after = attrs.evolve(LINK[0], id=f"{process}:99", process=process, t_ns=5000 * MS)
        assert judged(numbered([*clean_trace(), after])).unfinished == (process,)


def test_order_within_an_instant_does_not_matter() -> None:
    """WS-TRACE-5: a cause may stand after its effect if both are of one instant."""
    moved = changed(clean_trace(), Kind.EMIT, 1, t_ns=(320 + 140) * MS)
    emit = next(e for e in moved if (e.kind, e.unit) == (Kind.EMIT, 1))
    echo = attrs.evolve(emit, id="thinker:700", process="thinker", kind=Kind.WAIT, cause=(emit.id,))
    heard = attrs.evolve(emit, id="client:700", kind=Kind.WAIT, cause=(echo.id,))
    seen = attrs.evolve(heard, id="client:701")
    assert judged(numbered([*moved, echo, heard, seen])).clean


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
    """WS-TRACE-6: a snapshot at length 0, up to any unit, and epochs may be left out."""
    for unit, epoch in itertools.product((-1, 1, 2, 7), (1, 2, 9)):
        trace = changed(clean_trace(), Kind.APPEND, 2, unit=unit, detail=detail(epoch, 0, 25))
        assert judged(trace).clean


def test_a_resource_is_one_of_its_process() -> None:
    """WS-TRACE-7: two processes may each call one by the same name."""
    solve = next(e for e in clean_trace() if e.kind is Kind.SOLVE)
    beside = attrs.evolve(solve, id="link:0", process="link", kind=Kind.EXPORT, unit=-1, cause=(),
                          detail={"resource": "gpu0"})  # fmt: skip
    trace = stating(clean_trace(), Kind.SOLVE, solve.unit, resource="gpu0")
    assert judged(numbered([*trace, beside, LINK[1]])).clean


def test_an_unordered_trace_is_refused() -> None:
    """WS-TRACE-4."""
    with pytest.raises(TraceError, match="events by"):
        check_trace(reversed(sorted_trace(clean_trace())))
    trace = sorted_trace(clean_trace())
    for n, (before, after) in enumerate(itertools.pairwise(trace)):
        with pytest.raises(TraceError, match="events by"):
            check_trace([*trace[:n], after, before, *trace[n + 2 :]])


def test_a_unit_given_up_is_accounted_for() -> None:
    """WS-TRACE-10, WS-TRACE-12: its time may be won back, or the viewer waits through it."""
    trace = without(without(clean_trace(), Kind.DECODE, 1), Kind.EMIT, 1)
    assert judged(numbered(given_up(trace, 1, 330), LINK)).clean
    live = stating(trace, Kind.EMIT, 2, deadline_ns=(320 + 140) * MS, gap_ns=160 * MS)
    assert judged(numbered(given_up(live, 1, 330), LINK)).clean


def test_a_unit_given_up_beforehand_was_never_in_work() -> None:
    """WS-TRACE-11: only what was observed is taken off the units in work."""
    trace = changed(clean_trace(), Kind.UPDATE, 1, cause=())
    for kind in (Kind.OBSERVE, Kind.DECODE, Kind.EMIT):
        trace = without(trace, kind, 1)
    trace = stating(trace, Kind.OBSERVE, 2, queue=1, queue_limit=3)
    live = stating(trace, Kind.EMIT, 2, deadline_ns=(480 + 140) * MS)
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


def test_an_early_unit_has_no_gap() -> None:
    """WS-TRACE-12: it is not late, and none after it is due earlier for it."""
    trace = clean_trace()
    for k in range(3):
        trace = stating(trace, Kind.EMIT, k, deadline_ns=(160 * (k + 1) + 150) * MS)
    assert judged(trace).clean


def test_a_picture_may_be_behind_its_sound() -> None:
    """WS-TRACE-13: each goes forward by itself; one may be stated alone."""
    trace = clean_trace()
    for k in range(3):
        trace = stating(trace, Kind.EMIT, k, video_end_ns=(160 * k + 1) * MS)
    assert judged(trace).clean
    assert judged(stating(trace, Kind.EMIT, 1, audio_end_ns=None)).clean


def test_units_are_given_up_in_any_order() -> None:
    """WS-TRACE-10: what is given up is a set of units, however it is kept; too many runs of them
    are refused."""
    for order in itertools.permutations(range(1, 5)):
        session = Session(say=lambda *_: pytest.fail("a violation"))
        drops = [attrs.evolve(LINK[0], unit=k, detail={"policy": "skip"}) for k in order]
        for n, drop in enumerate(drops, 1):
            session.give_up(row_of(drop))
            known = set(order[:n])
            for last, unit in itertools.combinations(range(7), 2):
                assert session._accounted(last, unit) is (known >= set(range(last + 1, unit)))
            assert [session._was_given_up(k) for k in range(7)] == [k in known for k in range(7)]
        assert session.given_up == [(1, 5)]
    hostile = Session(say=lambda *_: None)
    hostile.given_up = [(2 * k, 2 * k + 1) for k in range(GAPS)]
    with pytest.raises(TraceError, match="given up at once"):
        hostile.give_up(row_of(attrs.evolve(drops[0], unit=2 * GAPS)))


def test_a_queue_is_what_the_sender_has_not_got_an_answer_to() -> None:
    """WS-TRACE-11: what is sent is in it; other messages join none."""
    agreed = terms("overlapped")
    header = slice_header(agreed, 0, 4, False, whole(agreed, "0" * 64)[0])
    ring = tuple(Sent(unit=k, snapshot=False, parts=(), digest="") for k in (3, 4))
    sender = attrs.evolve(thinker(agreed), ring=ring)
    assert at_sending(header, sender) == {"queue": 2, "queue_limit": agreed.window}
    assert at_sending(attrs.evolve(header, unit=2), sender) == {}
    latents = Latents(session="s", epoch=0, unit=3, slice_digest="0" * 64, dtype="float32",
                      byte_count=0, digest="0" * 64)  # fmt: skip
    solver = attrs.evolve(performer(agreed, 0), kept=(latents,))
    assert at_sending(latents, solver) == {"queue": 1, "queue_limit": agreed.window}
    assert at_sending(latents, sender) == {}


def test_queues_are_reported() -> None:
    """WS-TRACE-11: the longest of each, over all sessions; what is not stated is named."""
    other = stating(clean_trace(session="t"), Kind.UPDATE, 2, queue=3)
    trace = stating(clean_trace(), Kind.SEND, 1, queue=2, queue_limit=8)
    trace = stating(trace, Kind.SEND, 2, queue=0, queue_limit=8)
    report = judged(numbered(trace, other))
    assert report.clean
    assert report.queues == {"thinker update": (3, 4), "slices unanswered": (2, 8)}
    assert report.unstated == ("units in work", "responses unacknowledged", "responses unread")


def test_a_window_that_is_stated_holds() -> None:
    """WS-TRACE-11: five units ahead are allowed by a window of four, and not by one of three; of
    two, which it is where nothing is stated, the fourth and the fifth are too many."""
    assert judged(ahead(LINK)).violation_count == 2
    for window, clean in ((4, True), (3, False)):
        trace = ahead(LINK)
        assert judged(stating(trace, Kind.APPEND, -1, window=window)).clean is clean


def test_the_whole_machine_may_be_a_cause() -> None:
    """WS-TRACE-14: a fault strikes every session."""
    fault = attrs.evolve(LINK[0], session="", kind=Kind.FAULT, unit=-1, t_ns=100 * MS)
    trace = changed(clean_trace(), Kind.OBSERVE, 0, cause=("link:0",))
    assert judged(numbered([*trace, fault, LINK[1]])).clean


def test_the_newest_events_may_be_causes() -> None:
    """WS-TRACE-14: 4,096 of them at any time, of the session as of the whole machine."""
    waits = [
        attrs.evolve(LINK[0], id=f"link:{n}", t_ns=n,
                     cause=(f"link:{n - 4096}",) if n >= 4096 else ())
        for n in range(3 * 4096)
    ]  # fmt: skip
    assert check_trace(waits).violations == ()
    whole = [attrs.evolve(event, session="") for event in waits]
    struck = [
        attrs.evolve(LINK[0], id=f"client:{k}", process="client", t_ns=4096 + 1000 * k,
                     cause=(f"link:{1000 * k}",))
        for k in range(9)
    ]  # fmt: skip
    assert check_trace(sorted_trace([*whole, *struck])).violations == ()


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

    def judge(units: int, every: int) -> None:
        tracemalloc.start()
        report = check_rows(read_rows(Lines(weighed(long_trace(units, every), 10 * units - 1))))
        tracemalloc.stop()
        assert (report.events, report.violation_count) == (10 * units, 0)

    judge(100, 1)
    # All units are emitted, or every second one, or none, since the first one never is. In both
    # sessions the memory of causes is as full at the end.
    for every in (1, 2, 1000):
        for units in (100, 100 + 256):
            judge(units, every)
        # A number kept of every unit, in a list, would come to 36 bytes each.
        assert held[-1] < held[-2] + 256 * 16


def long_trace(units: int, every: int) -> Iterator[TraceEvent]:
    """Many units of one session, none of them kept: one of ``every`` is decoded and emitted, the
    others are given up. If there is no second one of them, the first waits for its emission."""
    for k in range(units):
        kinds = [Kind.OBSERVE, Kind.DECODE, *[Kind.WAIT] * 7, Kind.EMIT]
        if k % every:
            kinds[1] = Kind.DROP
        if k % every or every > units:
            kinds[-1] = Kind.WAIT
        for n, kind in enumerate(kinds):
            number = 10 * k + n
            yield TraceEvent(
                id=f"thinker:{number}", session="s", process="thinker", kind=kind, unit=k,
                t_ns=number, dur_ns=0, cause=(f"thinker:{number - 1}",) if number else (),
                detail={"policy": "skip"} if kind is Kind.DROP else {},
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
