"""Writing, reading and merging traces (WS-TRACE-1 to WS-TRACE-4)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.trace import (
    MAX_LINE,
    MAX_NS,
    PROCESSES,
    Kind,
    TraceError,
    TraceEvent,
    Tracer,
    event_key,
    event_line,
    write_trace,
)
from spec.trace_reading import merge_traces, read_trace, sorted_trace

HEADER = '{"schema":"wanstreamer-trace","version":1}\n'

processes = st.sampled_from(PROCESSES)
events = st.builds(
    lambda process, number, **rest: TraceEvent(id=f"{process}:{number}", process=process, **rest),
    process=processes,
    number=st.integers(0, 10**17),
    session=st.text(max_size=8),
    kind=st.sampled_from(Kind),
    unit=st.integers(-1, 9),
    t_ns=st.integers(0, MAX_NS),
    dur_ns=st.integers(0, MAX_NS),
    cause=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    detail=st.dictionaries(
        st.text(max_size=5),
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
        max_size=3,
    ),
)


@given(st.lists(events, max_size=8))
def test_events_come_back(written: list[TraceEvent]) -> None:
    """WS-TRACE-1, WS-TRACE-3: types too, so that 1 and true stay apart."""
    stream = io.StringIO()
    write_trace(stream, written)
    stream.seek(0)
    read = list(read_trace(stream))
    assert read == written
    assert [repr(e.detail) for e in read] == [repr(dict(sorted(e.detail.items()))) for e in written]


def test_a_tracer_numbers_its_events() -> None:
    """WS-TRACE-1: a fixed example, spelled out."""
    stream = io.StringIO()
    tracer = Tracer(stream, "s", "thinker")
    first = tracer.record(Kind.UPDATE, 0, 5, 7, detail={"epoch": 0})
    second = tracer.record(Kind.SEND, 0, 12, cause=[first], session="t")
    tracer.end(20)
    assert (first, second) == ("thinker:0", "thinker:1")
    assert stream.getvalue().splitlines(keepends=True) == [
        HEADER,
        (
            '{"cause":[],"detail":{"epoch":0},"dur_ns":7,"id":"thinker:0","kind":"update",'
            '"process":"thinker","session":"s","t_ns":5,"unit":0}\n'
        ),
        (
            '{"cause":["thinker:0"],"detail":{},"dur_ns":0,"id":"thinker:1","kind":"send",'
            '"process":"thinker","session":"t","t_ns":12,"unit":0}\n'
        ),
        (
            '{"cause":[],"detail":{},"dur_ns":0,"id":"thinker:2","kind":"end",'
            '"process":"thinker","session":"s","t_ns":20,"unit":-1}\n'
        ),
    ]


def test_a_restarted_process_goes_on_counting() -> None:
    """WS-TRACE-1: ids are used once in a trace."""
    assert Tracer(io.StringIO(), "s", "performer", first=7).record(Kind.EMIT, 0, 1) == "performer:7"


def test_each_event_is_written_at_once() -> None:
    """WS-TRACE-3: a tracer holds nothing back."""
    stream = io.StringIO()
    tracer = Tracer(stream, "s", "client")
    for count in range(2, 6):
        tracer.record(Kind.EMIT, count, count)
        assert stream.getvalue().count("\n") == count


def test_a_whole_trace_is_written_as_it_is_made() -> None:
    """WS-TRACE-3: each event before the next is made."""
    stream = io.StringIO()

    def made() -> Iterator[TraceEvent]:
        for count in range(1, 5):
            assert stream.getvalue().count("\n") == count
            yield TraceEvent(**{**EVENT, "kind": Kind.WAIT, "cause": ()})

    write_trace(stream, made())


def test_the_kinds_by_name() -> None:
    """WS-TRACE-2: as they stand in a line."""
    named = "observe update send receive append solve commit decode emit wait export drop fault end"
    assert [kind.value for kind in Kind] == named.split()


def test_reading_is_lazy() -> None:
    """WS-TRACE-3: one line at a time, however long the trace."""

    class Endless:
        def __init__(self) -> None:
            self.lines = 0

        def readline(self, limit: int, /) -> str:
            assert limit == MAX_LINE
            self.lines += 1
            return HEADER if self.lines == 1 else LINE

    stream = Endless()
    trace = read_trace(stream)
    for count in range(2, 50):
        next(trace)
        assert stream.lines == count


EVENT: dict[str, Any] = {
    "id": "link:3", "session": "s", "process": "link", "kind": "wait", "unit": 0,
    "t_ns": 1, "dur_ns": 2, "cause": [], "detail": {},
}  # fmt: skip
LINE = json.dumps(EVENT) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "link"}, {"id": "link:"}, {"id": "link:-1"}, {"id": "link:03"}, {"id": "client:3"},
        {"id": "link:٣"}, {"id": "link:" + "9" * 30}, {"id": 3}, {"process": "server"},
        {"kind": "sleep"}, {"kind": "WAIT"}, {"unit": "0"}, {"unit": True}, {"t_ns": -1},
        {"t_ns": 1.5}, {"t_ns": MAX_NS + 1}, {"dur_ns": -1}, {"dur_ns": MAX_NS + 1},
        {"dur_ns": None}, {"cause": "link:2"}, {"cause": [2]}, {"detail": []},
        {"detail": {"x": 1.5}}, {"detail": {"x": {}}}, {"detail": {"x": []}}, {"session": None},
        {"extra": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_that_is_no_event(change: dict[str, Any]) -> None:
    """WS-TRACE-1 to WS-TRACE-3: refused, and the line is named."""
    stream = io.StringIO(HEADER + LINE + json.dumps({**EVENT, **change}) + "\n")
    trace = read_trace(stream)
    next(trace)
    with pytest.raises(TraceError, match="line 3"):
        next(trace)


@pytest.mark.parametrize("missing", EVENT)
def test_a_key_missing(missing: str) -> None:
    """WS-TRACE-1."""
    rest = {name: value for name, value in EVENT.items() if name != missing}
    with pytest.raises(TraceError, match="line 2: keys"):
        list(read_trace(io.StringIO(HEADER + json.dumps(rest) + "\n")))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1), ("{}\n", 1), (HEADER[:-1], 1), (HEADER.replace("1", "2"), 1), (LINE, 1),
        (HEADER + LINE[:-1], 2), (HEADER + LINE + LINE[:40], 3), (HEADER + "\n" + LINE, 2),
        (HEADER + "[" * 60_000 + "\n", 2), (HEADER + "null\n", 2), (HEADER + "9" * 5000 + "\n", 2),
        (HEADER + " " * MAX_LINE + LINE, 2),
    ],
)  # fmt: skip
def test_a_text_that_is_no_trace(text: str, line: int) -> None:
    """WS-TRACE-3: wrong, cut off or hostile; one clear error that names the line."""
    with pytest.raises(TraceError, match=f"^line {line}\\b"):
        list(read_trace(io.StringIO(text)))


@given(st.lists(st.lists(events, max_size=6), max_size=3))
def test_merging_is_sorting(traces: list[list[TraceEvent]]) -> None:
    """WS-TRACE-4: a total order, whatever came from where."""
    unique = {event_key(e): e for trace in traces for e in trace}
    parts = [[e for e in trace if unique[event_key(e)] is e] for trace in traces]
    merged = list(merge_traces(*map(sorted_trace, parts)))
    assert merged == [unique[key] for key in sorted(unique)]


def test_ids_are_ordered_as_numbers() -> None:
    """WS-TRACE-4: thinker:9 before thinker:10 at one instant, within a trace and across two."""
    nine, ten = (
        TraceEvent(
            **{**EVENT, "id": f"thinker:{n}", "process": "thinker", "kind": Kind.WAIT, "cause": ()}
        )
        for n in (9, 10)
    )
    assert sorted_trace([ten, nine]) == [nine, ten]
    assert list(merge_traces([ten], [nine])) == list(merge_traces([nine, ten])) == [nine, ten]
    with pytest.raises(TraceError, match="thinker:9 after thinker:10"):
        list(merge_traces([ten, nine]))


def test_processes_stand_before_numbers() -> None:
    """WS-TRACE-4: client:9 before thinker:2 at one instant."""
    client, thinker = (
        TraceEvent(**{**EVENT, "id": f"{p}:{n}", "process": p, "kind": Kind.WAIT, "cause": ()})
        for p, n in (("client", 9), ("thinker", 2))
    )
    assert sorted_trace([thinker, client]) == [client, thinker]
    assert list(merge_traces([thinker], [client])) == [client, thinker]


def test_a_trace_out_of_order_is_refused() -> None:
    """WS-TRACE-4: not silently put right."""
    late, early = (
        TraceEvent(**{**EVENT, "id": f"link:{n}", "kind": Kind.WAIT, "cause": (), "t_ns": t})
        for n, t in ((0, 9), (1, 8))
    )
    with pytest.raises(TraceError, match="link:1 after link:0"):
        list(merge_traces([late, early]))
    assert list(merge_traces(sorted_trace([late, early]))) == [early, late]
    assert event_line(early).endswith("\n")
