"""``wanstreamer simulate``: the contract of its options and of its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from simulator.run import Run, run
from wanstreamer import simulate
from wanstreamer.cli import commands, status_of
from wanstreamer.simulate import simulate_command
from wanstreamer.trace import check_file

commands.add_command(simulate_command)

KEYS = [
    "units", "cycle_ms", "cycle_predicted_ms", "binding", "critical_path_ms", "model_side_ms",
    "total_ms", "deadline_misses", "violations", "trace_sha256",
]  # fmt: skip

EXAMPLE = "encode=60,update=60,comm=5,solve=100,decode=60"


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert status_of(["simulate", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    result: dict[str, object] = json.loads(captured.out)
    return result


def test_the_example_of_the_specification(capsys: pytest.CaptureFixture[str]) -> None:
    """WS-SIMULATION-10, WS-LATENCY-3: exactly these keys, 185 ms, and what binds."""
    result = simulated(capsys, "--stages", EXAMPLE, "--units", "100")
    assert list(result) == KEYS
    assert (result["units"], result["cycle_ms"], result["binding"]) == (100, 185, "thinker")
    assert (result["cycle_predicted_ms"], result["critical_path_ms"]) == (185, 280)
    assert (result["violations"], result["deadline_misses"]) == (0, 100)
    assert len(str(result["trace_sha256"])) == 64


def test_the_papers_point_is_what_comes_without_a_scenario(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """WS-SIMULATION-10, WS-LATENCY-5: about 200 ms model-side, about 550 ms in total."""
    result = simulated(capsys, "--units", "50")
    assert result["critical_path_ms"] == 200
    assert result["model_side_ms"] == {"p50": 202, "p99": 202}
    assert result["total_ms"] == {"p50": 552, "p99": 552}
    assert result == simulated(capsys, "paper", "--units", "50", "--faults", "none")


def test_options_replace_what_a_scenario_says(capsys: pytest.CaptureFixture[str]) -> None:
    """WS-SIMULATION-10: stages one by one, schedule, hand-over, seed, units, sessions, policy."""
    result = simulated(
        capsys, "paper", "--units", "30", "--handover", "boundary", "--schedule", "sequential",
        "--stages", "solve=100", "--sessions", "2", "--seed", "4", "--policy", "skip",
    )  # fmt: skip
    assert (result["units"], result["critical_path_ms"]) == (30, 170)
    assert result["model_side_ms"] == {"p50": 231, "p99": 231}
    in_sequence = simulated(capsys, "--units", "30", "--thinker", "one-stream")
    assert in_sequence["model_side_ms"] == {"p50": 231, "p99": 231}


def test_a_file_and_its_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """WS-SIMULATION-9: the trace is written whole, is clean, and has the reported digest."""
    file, trace = tmp_path / "mine.toml", tmp_path / "trace.jsonl"
    file.write_text(
        'handover = "eager"\n[stages]\nencode_ms = 20\nupdate_ms = 20\ncomm_ms = 5\n'
        "solve = { median_ms = 90, sigma = 0.2 }\ndecode_ms = 30\n[faults]\ndrop = 0.1\n",
        encoding="utf-8",
    )
    result = simulated(capsys, str(file), "--units", "40", "--trace", str(trace))
    assert check_file(trace).clean
    again = simulated(capsys, str(file), "--units", "40")
    assert again == result
    calm = simulated(capsys, str(file), "--units", "40", "--faults", "none")
    assert calm["trace_sha256"] != result["trace_sha256"]


def test_a_violation_is_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-SIMULATION-10: with the numbers all the same."""

    def broken(*arguments: object) -> Run:
        return attrs.evolve(run(*arguments), violations=2)  # type: ignore[arg-type]

    monkeypatch.setattr(simulate, "run", broken)
    with pytest.raises(SystemExit) as left:
        status_of(["simulate", "--units", "5", "--json"])
    assert left.value.code == 1
    assert json.loads(capsys.readouterr().out)["violations"] == 2


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """WS-SIMULATION-8, WS-SIMULATION-11: the waterfall, what a ms is worth, and what binds."""
    assert status_of(["simulate", "condition-not-enough", "--units", "40"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for text in ("boundary", "queueing", "network down", "capture wait, beside the total",
                 "1 ms off", "Falls short of 25 frames a second: 21.6.",
                 "bound by the thinker (e + u + c + d + m)",
                 "The condition p + c <= T holds: 105 ms.",
                 "to response 20 goes back to the arrival of unit 1, over 21 encode"):  # fmt: skip
        assert text in out
    assert status_of(["simulate", "--units", "40", "--faults", "drop=0.2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "reached:" in out
    assert "drop" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "scenario (FileNotFoundError): got 'nowhere.toml'"),
        (["--stages", "encode=1"], "--stages update: got 'no time'"),
        (["--stages", "solve=-1"], "0 or more"),
        (["--stages", "encode=0.02,update=0.02,comm=0,solve=0.1,decode=0"], "in ms, not in s"),
        (["--schedule", "both"], "schedule: got 'both'"),
        (["--handover", "late"], "handover: got 'late'"),
        (["--thinker", "two"], "thinker: got 'two'"),
        (["--units", "0"], "units: got 0"),
        (["--seed", "-1"], "seed: got -1"),
        (["--faults", "smudge=1"], "--faults: got 'smudge=1'"),
        (["--policy", "pray"], "policy: got 'pray'"),
        (["--sessions", "65", "--faults", "all", "--units", "9"], "session"),
        (["--trace", "/nowhere/x.jsonl", "--units", "1"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-SIMULATION-3: on stderr, with a status that is not 0, and nothing on stdout."""
    assert status_of(["simulate", *arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
