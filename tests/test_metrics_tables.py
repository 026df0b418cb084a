"""Our figure beside each published number (WS-METRICS-2)."""

from __future__ import annotations

import json

import pytest
from trace_world import MS, STAGES, session_trace

from simulator.moments import Moments, moments
from simulator.tables import NO_NUMBER, NOT_TRACED, Line, figure, lines
from spec.systems import systems
from wanstreamer.simulate_tables import show_tables

# The paper's operating point: 200 ms model-side, 350 ms of network.
PAPER = {**STAGES, "up": 175, "encode": 20, "update": 20, "comm": 0, "solve": 130, "back": 0,
         "decode": 30, "commit": 0, "down": 175}  # fmt: skip


def found() -> list[Line]:
    return list(lines(moments(session_trace(4, PAPER))))


def test_a_line_for_every_number_and_every_silent_row() -> None:
    """WS-METRICS-2: nothing is left out because it does not compare."""
    assert len(found()) == sum(max(1, len(system.measures)) for system in systems())
    assert all((line.ours is None) != (line.reason is None) for line in found())


def test_our_own_rows_are_the_papers() -> None:
    """WS-METRICS-2, PAPER §3: about 550 ms, about 200 ms, 25 fps at the paper's stage times."""
    ours = {line.metric: line.ours for line in found() if line.system == "Wan-Streamer"}
    assert ours == {
        "response-latency": "550 ms", "model-latency": "200 ms", "frames-per-second": "25 fps"
    }  # fmt: skip


def test_each_figure_is_at_its_own_boundary() -> None:
    """WS-METRICS-2: closed forms of the same stages."""
    by_row = {(line.system, line.metric): line.comparison for line in found()}
    assert by_row["MiniCPM-o 4.5", "first-token"] == "40 ms"
    assert by_row["MiniCPM-o 4.5", "real-time-factor"] == "0.81"
    assert by_row["Qwen3.5-Omni Plus", "first-packet"] == "200 ms"
    assert by_row["Body of Her", "next-frame-time"] == "40 ms"
    assert by_row["Avatar Forcing (Ki et al.)", "reaction-latency"] == "630 ms"
    assert by_row["GPT-4o / Realtime API", "time-to-first-byte"] == "550 ms"
    assert by_row["MIDAS", ""] == f"not comparable: {NO_NUMBER}"
    assert by_row["Seeduplex", "endpoint-latency"].startswith("not comparable: a difference")


def test_our_figure_is_the_median() -> None:
    """WS-METRICS-2: neither the mean nor a tail, and a value that occurred."""
    units = [
        Moments(session="s", unit=k, captured=0, heard=ms * MS)
        for k, ms in enumerate((900, 100, 200, 500, 300))
    ]
    assert figure("response-latency", "ms", units) == "300 ms"


def test_what_the_trace_does_not_say_is_not_compared() -> None:
    """WS-METRICS-2, WS-METRICS-3: without a client there is no response latency to state."""
    units = moments(e for e in session_trace(3) if e.process != "client")
    line = next(x for x in lines(units) if x.metric == "response-latency")
    assert (line.ours, line.reason) == (None, NOT_TRACED)


def test_the_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """WS-METRICS-2: as one JSON object, and for a person."""
    show_tables(session_trace(4, PAPER), "by hand", as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["run"] == "by hand"
    assert len(printed["tables"]) == len(found())
    show_tables(session_trace(4, PAPER), "by hand", as_json=False)
    text = capsys.readouterr().out
    for system in systems():
        assert system.name.split()[0] in text
    assert "not comparable" in " ".join(text.split())
