"""``wanstreamer trace check`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spec.trace import Kind, TraceEvent, write_trace
from wanstreamer import cli
from wanstreamer.simulate import simulate_command
from wanstreamer.trace import trace_command

REAL = Path(__file__).resolve().parents[1] / "examples/traces/split-tiny.jsonl"
HEADER = '{"schema":"wanstreamer-trace","version":1}\n'


@pytest.fixture(autouse=True)
def _registered() -> None:
    for command in (trace_command, simulate_command):
        cli.commands.add_command(command)


def written(path: Path, *kinds: Kind, **changes: int) -> Path:
    """A trace of the thinker, an event a microsecond."""
    with path.open("w", encoding="utf-8") as stream:
        write_trace(
            stream,
            (
                TraceEvent(
                    id=f"thinker:{n}", session="s", process="thinker", kind=kind,
                    unit=changes.get("unit", 0), t_ns=1000 * n, dur_ns=0, cause=(), detail={},
                )
                for n, kind in enumerate(kinds)
            ),
        )  # fmt: skip
    return path


def test_a_clean_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-TRACE-8: exit status 0, and one JSON object."""
    path = written(tmp_path / "a.jsonl", Kind.OBSERVE, Kind.DECODE, Kind.EMIT, Kind.END)
    assert cli.status_of(["trace", "check", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "trace": str(path), "clean": True, "events": 4, "violation_count": 0, "violations": [],
        "unfinished": [], "queues": {}, "unstated": [
            "units in work", "slices unanswered", "responses unacknowledged", "responses unread",
        ],
    }  # fmt: skip
    assert cli.status_of(["trace", "check", str(path)]) == 0
    assert "4 events: clean" in capsys.readouterr().out


def test_violations_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-TRACE-9: exit status 1, clause and event."""
    path = written(tmp_path / "a.jsonl", Kind.OBSERVE, Kind.EMIT, Kind.DECODE, Kind.END)
    assert cli.status_of(["trace", "check", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(v["clause"], v["event"]) for v in found["violations"]] == [("WS-TRACE-9", "thinker:1")]
    assert cli.status_of(["trace", "check", str(path)]) == 1
    assert "1 violations" in capsys.readouterr().out


def test_a_trace_that_ends_early(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-TRACE-8: whole lines, but no end; never clean."""
    path = written(tmp_path / "a.jsonl", Kind.OBSERVE, Kind.DECODE, Kind.EMIT)
    assert cli.status_of(["trace", "check", str(path)]) == 1
    assert "ends early: thinker" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "line 1"),
        (b"\xff\xfe" * 50, "line 1"),
        (HEADER.encode() + b'{"id":"\xff"}\n', "line 2: got"),
        (HEADER.encode() + b"{" * 70_000, "line 2: got"),
        (HEADER.replace("1", "9").encode(), "line 1: header"),
    ],
)
def test_what_is_no_trace_is_one_line(
    data: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-TRACE-3, WS-ERRORS-1: the file and the line, exit status 2."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    assert cli.status_of(["trace", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"wanstreamer: {path}: {says}")
    assert error.count("\n") == 1


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """WS-ERRORS-1."""
    assert cli.status_of(["trace", "check", "/nowhere/a.jsonl"]) == 2
    assert capsys.readouterr().err == "wanstreamer: /nowhere/a.jsonl: No such file or directory\n"


def test_a_real_trace_is_calibrated(capsys: pytest.CaptureFixture[str]) -> None:
    """WS-METRICS-12: one command, as a table and as one JSON object."""
    assert cli.status_of(["simulate", "--from-trace", str(REAL), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["fitted_units"], found["predicted_units"]) == (15, 15)
    assert {row["statistic"] for row in found["rows"]} == {"mean", "p50", "p90", "p95", "p99"}
    assert not any(row["enough"] for row in found["rows"] if row["statistic"] == "p99")
    assert cli.status_of(["simulate", "--from-trace", str(REAL)]) == 0
    text = capsys.readouterr().out
    assert "15 units fitted, 15 predicted" in text
    assert "too few units" in text


def test_a_broken_trace_is_not_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-ERRORS-1: one line that says what to do."""
    path = written(tmp_path / "a.jsonl", Kind.OBSERVE, Kind.DECODE)
    assert cli.status_of(["simulate", "--from-trace", str(path)]) == 2
    assert "trace check" in capsys.readouterr().err


def test_a_run_is_drawn_exported_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-METRICS-2: one simulation, every view of it; a real run over it."""
    picture, file = tmp_path / "a.svg", tmp_path / "a.pftrace"
    arguments = ["simulate", "--units", "9", "--gantt", str(picture), "--overlay", str(REAL),
                 "--perfetto", str(file), "--tables", "--json"]  # fmt: skip
    assert cli.status_of(arguments) == 0
    ours = {
        (line["table"], line["system"], line["metric"]): line["ours"]
        for line in json.loads(capsys.readouterr().out)["tables"]
    }
    assert ours[1, "Wan-Streamer", "response-latency"] == "552 ms"
    assert ours[1, "Wan-Streamer", "model-latency"] == "202 ms"
    assert "split-tiny.jsonl" in picture.read_text(encoding="utf-8")
    assert file.stat().st_size > 1000


def test_any_trace_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-ERRORS-1: a real one too; units that it has not are refused."""
    picture, file = tmp_path / "a.png", tmp_path / "a.pftrace"
    assert cli.status_of(["trace", "gantt", str(REAL), "-o", str(picture), "--first", "20"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert cli.status_of(["trace", "perfetto", str(REAL), "-o", str(file)]) == 0
    capsys.readouterr()
    for wrong, says in (
        (["-o", str(picture), "--first", "99"], "0 to 32"),
        (["-o", "a.gif"], ".svg"),
        (["-o", str(picture), "--units", "0"], "1 to 600"),
    ):
        assert cli.status_of(["trace", "gantt", str(REAL), *wrong]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert cli.status_of(["simulate", "--overlay", str(REAL)]) == 2
    assert "--gantt" in capsys.readouterr().err


def test_the_curves_of_a_run_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-SIMULATION-8, WS-SIMULATION-10: the waterfall where the timing model can say it, the
    percentiles always."""
    arguments = ["simulate", "--units", "9", "--json", "--curves", str(tmp_path)]
    assert cli.status_of(arguments) == 0
    bars, curves = (tmp_path / name for name in ("waterfall.svg", "percentiles.svg"))
    assert all(
        f">{word}<" in bars.read_text(encoding="utf-8") for word in ("solve", "p99", "552 ms")
    )
    assert "model side (9)" in curves.read_text(encoding="utf-8")
    bars.unlink()
    assert cli.status_of([*arguments, "--faults", "crash=0.1"]) == 0
    assert not bars.exists()
    capsys.readouterr()
    assert cli.status_of(["simulate", "--curves", str(tmp_path / "none")]) == 2
    assert "an existing folder" in capsys.readouterr().err
