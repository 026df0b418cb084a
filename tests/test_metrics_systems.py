"""The published systems, against a second transcription of the paper's tables (WS-METRICS-1)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simulator.metrics import METRICS
from spec.systems import METRICS as NAMES
from spec.systems import systems

# Typed from the tables a second time, a line a row: references, then every number in ms, fps or as
# it is, then what each number is of (a latency if it says nothing else).
TABLES = {
    1: """
        Doubao Realtime Voice | 4 36 | 1000 700 | response model
        Seeduplex | 5 | -250 -300 | endpoint interruption
        GPT-4o / Realtime API | 18 20 26 | 232/320 500 800 | model time-to-first-byte response
        Hume EVI 3 | 18 | 900-1400 300 | response model
        Gemini Live API | 18 | 1200-3600 | response
        Sesame web app | 18 | 800-1200 | response
        Moshi | 12 | 160 200 | model model
        Qwen3-Omni | 29 | 234/547 | first-packet
        Qwen3.5-Omni | 30 | 235/426 435/651 | first-packet first-packet
        MiniCPM-o 4.5 | 27 | 580 0.20-0.27 | first-token real-time-factor
        Wan-Streamer | | 550 200 25 | response model frames-per-second
    """,
    2: """
        Body of Her | 1 | 42 24 | next-frame-time frames-per-second
        MIDAS | 8 | |
        U-Mind | 13 | |
        X-Streamer | 40 | 25 | frames-per-second
        LPM 1.0 | 47 | |
        MAViD | 28 | |
        M.I.O | 6 | |
        VASA-1 | 41 | 40 170 | frames-per-second first-frame-delay
        TalkingMachines | 25 | ? | time-between-chunks
        StreamAvatar | 34 | 330-390 1200 | first-frame-delay chunk
        Avatar Forcing (Ki et al.) | 19 | 500 6.8 | reaction speedup
        AvatarForcing (Cui et al.) | 11 | 34 510 | next-frame-time audio-to-visual-delay
        LiveTalk | 10 | 24.82 330 | frames-per-second first-frame-delay
        Hallo-Live | 21 | 20.38 940 | frames-per-second first-chunk
        OmniForcing | 32 | 700 25 | first-chunk frames-per-second
        Wan-Streamer | | 25 550 200 | frames-per-second response model
    """,
}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_and_every_number(table: int) -> None:
    """WS-METRICS-1: names, order, references, numbers, and what they are of."""
    rows = []
    for system in systems():
        if system.table != table:
            continue
        numbers = []
        for m in system.measures:
            join = "/" if m.pair else "-"
            both = str(m.low) if m.low == m.high else f"{m.low}{join}{m.high}"
            numbers.append("?" if m.low is None else both)
        of = " ".join(m.metric.removesuffix("-latency") for m in system.measures)
        rows.append((system.name, " ".join(map(str, system.sources)), " ".join(numbers), of))
    lines = [line for line in TABLES[table].splitlines() if line.strip()]
    assert rows == [tuple(part.strip() for part in line.split("|")) for line in lines]


def test_the_network_is_in_a_number_where_the_tables_say_so() -> None:
    """WS-METRICS-1: where a number begins and ends; and each metric has one unit."""
    measures = [(s.name, m) for s in systems() for m in s.measures]
    assert {(name, m.metric) for name, m in measures if "network" in m.boundary} == {
        ("Doubao Realtime Voice", "response-latency"), ("Hume EVI 3", "response-latency"),
        ("GPT-4o / Realtime API", "time-to-first-byte"), ("Gemini Live API", "response-latency"),
        ("Sesame web app", "response-latency"), ("Wan-Streamer", "response-latency"),
    }  # fmt: skip
    units = {"frames-per-second": "fps", "real-time-factor": "ratio", "speedup": "ratio"}
    assert all(m.unit == units.get(m.metric, "ms") for _, m in measures)


def test_bounds_are_as_the_tables_say() -> None:
    """WS-METRICS-1: what is said to be about, within or under a number is not exact."""
    said = {(s.name, str(m.low)): m.bound for s in systems() for m in s.measures}
    loose = {key: bound for key, bound in said.items() if bound != "exact"}
    assert loose == {
        ("Doubao Realtime Voice", "1000"): "about", ("Doubao Realtime Voice", "700"): "about",
        ("GPT-4o / Realtime API", "500"): "about", ("GPT-4o / Realtime API", "800"): "about",
        ("Hume EVI 3", "300"): "below", ("Wan-Streamer", "550"): "about",
        ("Wan-Streamer", "200"): "about", ("Body of Her", "42"): "at most",
        ("StreamAvatar", "1200"): "about", ("Avatar Forcing (Ki et al.)", "500"): "about",
        ("OmniForcing", "700"): "about", ("OmniForcing", "25"): "about",
    }  # fmt: skip


def test_numbers_are_shown_as_they_were_given() -> None:
    """WS-METRICS-1: trailing zeros, ranges and pairs stay apart."""
    shown = {m.text for s in systems() for m in s.measures}
    assert {"0.20–0.27", "234/547 ms", "< 300 ms", "~550 ms", "<= 42 ms", "24.82 fps",
            "no number"} <= shown  # fmt: skip


def test_every_metric_is_a_function_over_a_trace() -> None:
    """WS-METRICS-2: all but a speedup; and each is in a table."""
    assert set(METRICS) == set(NAMES) - {"speedup"}
    assert {m.metric for s in systems() for m in s.measures} == set(NAMES)


def test_what_is_not_comparable_says_why() -> None:
    """WS-METRICS-1: differences, ratios, targets, theory, other inputs: none stands beside ours."""
    reasons = {(s.name, m.metric): m.reason for s in systems() for m in s.measures if m.reason}
    assert reasons.keys() == {
        ("Seeduplex", "endpoint-latency"), ("Seeduplex", "interruption-latency"),
        ("GPT-4o / Realtime API", "model-latency"), ("GPT-4o / Realtime API", "response-latency"),
        ("Moshi", "model-latency"), ("VASA-1", "first-frame-delay"),
        ("TalkingMachines", "time-between-chunks"), ("StreamAvatar", "first-frame-delay"),
        ("StreamAvatar", "chunk-latency"), ("Avatar Forcing (Ki et al.)", "speedup"),
        ("AvatarForcing (Cui et al.)", "audio-to-visual-delay"), ("LiveTalk", "first-frame-delay"),
        ("Hallo-Live", "first-chunk"), ("OmniForcing", "first-chunk"),
    }  # fmt: skip
    assert all(m.boundary for s in systems() for m in s.measures)
    assert Decimal("0.2") in {m.low for s in systems() for m in s.measures}
