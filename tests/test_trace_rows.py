"""Reading fast is reading strictly (WS-TRACE-3)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.trace import MAX_LINE, MAX_NS, PROCESSES, Kind, TraceError, TraceEvent, write_trace
from spec.trace_reading import read_trace
from spec.trace_rows import Details, Row, Sources, read_rows, row_of

HEADER = '{"schema":"wanstreamer-trace","version":1}\n'
EVENT: dict[str, Any] = {
    "cause": ["link:1", "thinker:22"], "detail": {"a": 1, "b": "x", "c": None, "d": True},
    "dur_ns": 2, "id": "link:3", "kind": "wait", "process": "link", "session": "s", "t_ns": 1,
    "unit": 0,
}  # fmt: skip
LINE = json.dumps(EVENT, separators=(",", ":")) + "\n"

# The texts of real traces, and what a decoder may trip over.
texts = st.sampled_from(["s", "", 'a"b', "{}", "}", "\\", "é", "\n", "a b", '","', "x" * 600])
details = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3)
events = st.builds(
    lambda process, number, **rest: TraceEvent(id=f"{process}:{number}", process=process, **rest),
    process=st.sampled_from(PROCESSES),
    number=st.integers(0, 30) | st.just(10**17),
    session=texts,
    kind=st.sampled_from(Kind),
    unit=st.integers(-1, 9) | st.integers(),
    t_ns=st.integers(0, MAX_NS),
    dur_ns=st.integers(0, MAX_NS) | st.just(0),
    cause=st.lists(st.sampled_from(["link:0", "client:12"]) | texts, max_size=3).map(tuple),
    detail=details,
)


def fast(text: str) -> list[Row]:
    return list(read_rows(io.StringIO(text)))


def strict(text: str) -> list[Row]:
    return [row_of(event) for event in read_trace(io.StringIO(text))]


@given(st.lists(events, max_size=6))
def test_every_event_is_read_alike(written: list[TraceEvent]) -> None:
    """WS-TRACE-3: in the writer's form or not."""
    stream = io.StringIO()
    write_trace(stream, written)
    assert fast(stream.getvalue()) == strict(stream.getvalue()) == [row_of(e) for e in written]


changes = st.tuples(
    st.integers(0, len(LINE) - 1), st.sampled_from('",:{}[]0 1-.eE+a\\\n\t\x01é\udc80')
)


@given(st.lists(changes, max_size=2), st.booleans())
def test_every_damaged_line_is_judged_alike(damage: list[tuple[int, str]], insert: bool) -> None:
    """WS-TRACE-3: what the strict reader refuses, the fast one does, with the same words."""
    line = LINE
    for place, text in damage:
        line = line[:place] + text + line[place + (not insert) :]
    whole = HEADER + LINE.replace("link:3", "link:2") + line
    assert outcome(fast, whole) == outcome(strict, whole)


def outcome(read: Callable[[str], list[Row]], text: str) -> list[Row] | str:
    try:
        return read(text)
    except TraceError as error:
        return str(error)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"link:1"', '"link:\x01"'), ('"link:1"', '""'), ('"link:1","thinker:22"', ""),
        ('"link:1","', '"link:1""'), ('"link:1",', '"link:1"x",'), ('"link:1"', "1"),
        ('"link:1","thinker:22"', '"]"'), ('"link:1","thinker:22"', '""'),
        ('"id":"link:3"', '"id":"link:03"'), ('"id":"link:3"', '"id":"link:-0"'),
        ('"id":"link:3"', '"id":"thinker:3"'), ('"id":"link:3"', '"id":"pink:3"'),
        ('"process":"link"', '"process":"pink"'), ("wait", "waits"), ('"s"', '"s:\x7f"'),
        ('"s"', '"s\x01"'), ('"s"', '"s","x":"s"'), ('"unit":0', '"unit":1,2'),
        ('"unit":0', '"unit":-0'), ('"unit":0', '"unit":-7'), ('"unit":0', '"unit":00'),
        ('"unit":0', '"unit":' + "9" * 30), ('"unit":0', '"unit":' + "9" * 5_000),
        ('"t_ns":1', f'"t_ns":{MAX_NS}'), ('"t_ns":1', '"t_ns":' + "9" * 18),
        ('"t_ns":1', '"t_ns":-1'), ('"t_ns":1', '"t_ns": 1'), ('"dur_ns":2', '"dur_ns":02'),
        ('"b":"x"', '"b":"}"'), ('"b":"x"', '"b":{}'), ('"b":"x"', '"b":1.5'),
        ('"b":"x"', '"b":"x","b":"x"'), ('"b":"x"', '"b":\n"x"'), ('"b":"x"', '"b":\t"x"'),
        ('"b":"x"', '"b":"x\x01"'), ('"b":"x"', '"b":"\\u0041"'), ('"b":"x"', '"b":"é"'),
        ('"b":"x"', '"b" :"x"'), ('"b":"x"', '"b" :"x","b":"x"'),
        ('"b":"x"', '"b"\t:"x","b":"x"'), ('"b":"x"', '"b":"\udc80"'),
        ('"b":"x"', '"b":"\\ud800"'),
        ('"b":"x"', '"b":1e999'), ('"b":"x"', '"b":' + "[" * 5_000),
        ('"d":true}', '"d":true}}'), ('"d":true}', '"d":true} '), ('{"cause"', 'x{"cause"'),
    ],
)  # fmt: skip
def test_every_other_form_is_judged_alike(old: str, new: str) -> None:
    """WS-TRACE-3: also where only what a text of the block says is out of form."""
    assert old in LINE
    whole = HEADER + LINE.replace("link:3", "link:2") + LINE.replace(old, new)
    assert outcome(fast, whole) == outcome(strict, whole)


def test_a_clean_line_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparisons above would compare the strict reader with itself."""

    def never(line: str, number: int) -> TraceEvent:
        raise AssertionError(line, number)

    monkeypatch.setattr("spec.trace_rows.event_of_line", never)
    assert [row[2] for row in fast(HEADER + LINE)] == ["link:3"]


def hostile(text: str) -> str:
    with pytest.raises(TraceError) as error:
        fast(text)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (LINE.replace('"unit":0', '"unit":0,"unit":1'), "line 3: keys.*each key once"),
        (LINE.replace('"a":1', '"a":1,"a":1'), "line 3: keys.*each key once"),
        (LINE.replace('"a":1', '"a":NaN'), "line 3: number.*'NaN'.*integers"),
        (LINE.replace('"t_ns":1', '"t_ns":Infinity'), "line 3: number.*'Infinity'"),
        (LINE.replace('"t_ns":1', '"t_ns":1e3'), "line 3: t_ns.*1000.0"),
        (LINE.replace('"process":"link"', '"process":"client"'), "line 3: id.*client:n"),
        (LINE.replace('"s"', '"\udc80"'), "line 3.*UTF-8"),
        (LINE.replace('"s"', '"\\ud800"'), "line 3.*UTF-8"),
        (LINE.replace('"t_ns":1', f'"t_ns":{MAX_NS + 1}'), "line 3: t_ns"),
        (LINE.replace('"t_ns":1', '"t_ns":01'), "line 3.*one JSON object"),
        (LINE[:-1], "line 3.*without a line feed"),
        (LINE.replace('"wait"', '"' + "w" * MAX_LINE + '"'), "line 3.*at most 65536"),
    ],
)  # fmt: skip
def test_hostile_lines_are_one_clear_error(line: str, says: str) -> None:
    """WS-TRACE-3: duplicate keys, NaN, bytes that are no UTF-8, numbers out of range, cut files."""
    with pytest.raises(TraceError, match=says):
        fast(HEADER + LINE + line)
    assert hostile(HEADER + LINE + line)


@pytest.mark.parametrize(
    "text", ["", "\n", HEADER.replace("1", "2"), LINE, HEADER[:-1], "\0" * 100]
)
def test_another_schema_is_refused(text: str) -> None:
    """WS-TRACE-3: wrong version, no header, nothing at all."""
    assert hostile(text).startswith("line 1")


@pytest.mark.parametrize(("length", "read"), [(MAX_LINE, True), (MAX_LINE + 1, False)])
def test_the_longest_line(length: int, read: bool) -> None:
    """WS-TRACE-3: its line feed counts; wherever the blocks end."""
    long = LINE.replace('"s"', '"' + "s" * (length - len(LINE) + 1) + '"')
    assert len(long) == length
    found = outcome(fast, HEADER + long)
    assert found == outcome(strict, HEADER + long)
    assert isinstance(found, list) is read


class Endless:
    """A file of one line without an end, as a hostile gigabyte would be."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int, /) -> str:
        text = HEADER if self.given == 0 else "x" * size
        self.given += len(text)
        return text


def test_a_line_without_end_is_never_read_whole() -> None:
    """WS-TRACE-15: refused after the first block that is too long."""
    stream = Endless()
    with pytest.raises(TraceError, match=r"line 2.*without a line feed"):
        list(read_rows(stream))
    assert stream.given <= len(HEADER) + MAX_LINE


class Dripping:
    """A file that is read in blocks of any size."""

    def __init__(self, text: str, size: int) -> None:
        self.stream, self.size = io.StringIO(text), size

    def read(self, _size: int, /) -> str:
        return self.stream.read(self.size)


def test_a_block_is_read_when_it_is_due() -> None:
    """WS-TRACE-3: its rows are given before the next is read."""
    stream = Dripping(HEADER + LINE * 20, 400)
    next(read_rows(stream))
    assert stream.stream.tell() == 400


def test_what_is_remembered_of_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-TRACE-15: however many different ones come."""
    monkeypatch.setattr("spec.trace_rows.KEPT_TEXTS", 10)
    details, sources = Details(), Sources()
    for n in range(50):
        assert details[f'{{"n":{n}}}'] == {"n": n}
        assert sources[f'wait","process":"link","session":"{n}'] == ("link", "wait", str(n))
        assert max(len(details), len(sources)) <= 11


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_blocks_may_end_anywhere(size: int) -> None:
    """WS-TRACE-3: no line is lost or read twice where a block ends."""
    text = HEADER + "".join(LINE.replace("link:3", f"link:{n}") for n in range(20))
    assert list(read_rows(Dripping(text, size))) == strict(text)
