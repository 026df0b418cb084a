"""WS-STDIO-3: JSON in which no two readers can see different things."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.stdio import strict_json
from conformance.stdio.process import Broken
from conformance.stdio.strict_json import DEPTH, NotJson
from conformance.stdio.talk import parsed

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | FINITE | TEXT,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXT, below, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    """WS-STDIO-3: as one line of ASCII, and also as a line of UTF-8."""
    line = strict_json.line(value)
    assert line.isascii()
    assert line.index(b"\n") == len(line) - 1
    assert strict_json.parse(line) == value
    assert strict_json.parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """WS-STDIO-3: and what is read is what the standard library reads."""
    try:
        value = strict_json.parse(data)
    except NotJson as error:
        reason = str(error)
    else:
        reason = ""
        assert value == json.loads(data)
    assert "\n" not in reason


@given(st.binary(max_size=60) | VALUES.map(strict_json.line))
def test_any_line_is_a_reply_or_broken(line: bytes) -> None:
    """WS-STDIO-3, WS-STDIO-4: a reply to ``reset`` has one of three forms; all else is told in one
    line."""
    try:
        reply = parsed("reset", 1, line)
    except Broken as broken:
        reason = str(broken)
    else:
        reason = ""
        assert reply.keys() - {"id"} < {"ok", "unsupported", "error"}
    assert reason.isprintable()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[1, NaN]", "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b"[1e400]", "the number 1e400 is beyond a double"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "the name 'c' stands twice in one object"),
        (b'"\\udc00"', r"an unpaired surrogate in '\udc00'"),
        (b'"\\uDFFF"', r"an unpaired surrogate in '\udfff'"),
        (b"[-1" + b"0" * 309 + b"]", f"the number -1{'0' * 38} is beyond a double"),
        (b'{"\\ud800": 1}', r"an unpaired surrogate in '\ud800'"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
        (b"1 2", "not JSON: Extra data at character 2"),
        (b"'a'", "not JSON: Expecting value at character 0"),
        (b"", "not JSON: Expecting value at character 0"),
        (b"9" * 5000, "an integer beyond all bounds"),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), "nested deeper than 32"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32"),
        (b"[" * 1_000_000, "nested deeper than 32"),
    ],
)
def test_refused(text: bytes, says: str) -> None:
    """WS-STDIO-3."""
    with pytest.raises(NotJson) as refused:
        strict_json.parse(text)
    assert str(refused.value) == says


def test_deepest_nesting_is_read() -> None:
    """WS-STDIO-3: 32 levels are allowed."""
    text = b"[" * DEPTH + b"]" * DEPTH
    assert strict_json.parse(text) == json.loads(text)


def test_the_longest_integers_are_read() -> None:
    """WS-STDIO-3: as far as a double goes, and not a digit further."""
    largest = int(sys.float_info.max)
    for number in (largest, -largest):
        assert strict_json.parse(b"%d" % number) == number


def test_a_pair_of_surrogates_is_one_character() -> None:
    """WS-STDIO-3."""
    assert strict_json.parse(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_ours_are_finite(number: float) -> None:
    """WS-STDIO-3: the suite does not write what it does not read."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.line({"x": [number]})
