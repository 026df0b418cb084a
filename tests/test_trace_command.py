"""``wanstreamer trace check`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spec.trace import Kind, TraceEvent, write_trace
from wanstreamer import cli

HEADER = '{"schema":"wanstreamer-trace","version":1}\n'


@pytest.fixture(autouse=True)
def _registered() -> None:
    cli.register()


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
        "unfinished": [],
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
