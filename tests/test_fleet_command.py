"""`wanstreamer simulate` on a fleet: what it answers, and what it refuses."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from simulator.fleet.reading import read_fleet
from simulator.fleet.run import simulate
from wanstreamer import cli

Said = pytest.CaptureFixture[str]

FILE = """\
[fleet]
name = "small"
preset = "qwen3-8b"
device = "h200-sxm"
efficiency = 0.5
pairs = 12
jitter = 0.2
duration_s = 16

[arrivals]
sessions = 30

[session]
mean_s = 4
longest_s = 150
"""


@pytest.fixture(autouse=True)
def commands() -> None:
    cli.register()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def answer(said: Said, *arguments: str) -> dict[str, Any]:
    """What ``simulate --json`` printed."""
    assert cli.status_of(["simulate", "--json", *arguments]) == 0
    out, err = said.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 1
    found: dict[str, Any] = json.loads(out)
    return found


def test_json_is_the_contract(file: str, capsys: Said) -> None:
    """WS-FLEET-13: its keys, finite numbers, and no bill where there is no site."""
    found = answer(capsys, file)
    assert list(found) == [
        "fleet", "preset", "device", "dtype", "schedule", "seed", "pairs", "places_per_pair",
        "sessions_offered", "sessions_mean", "rounds", "duration_s", "session_units", "sessions",
        "promises", "latency_ms", "blocking_expected", "mean_wait_ms", "memory_bytes", "busy",
        "bill", "trace_sha256",
    ]  # fmt: skip
    assert set(found["sessions"]) == {
        "arrived", "admitted", "rejected", "ended", "cut", "at_start", "at_end",
        "waiting_at_start", "waiting_at_end", "waited",
    }  # fmt: skip
    assert [p["name"] for p in found["promises"]] == ["on_time", "blocking", "p99"]
    for promise in found["promises"]:
        assert set(promise) == {"name", "value", "bound", "allowed", "meets", "verdict"}
        assert promise["verdict"] in ("kept", "missed", "open")
    assert (found["pairs"], found["rounds"], found["bill"]) == (12, 100, None)
    assert set(found["latency_ms"]) == {"p50", "p99", "max"}
    assert set(found["memory_bytes"]) == {"device", "weights", "mean", "peak"}
    assert math.isfinite(found["mean_wait_ms"])
    assert len(found["trace_sha256"]) == 64


def test_numbers_are_those_of_the_run(file: str, capsys: Said) -> None:
    """WS-FLEET-13: what is printed by name is what the run came to."""
    found, result = answer(capsys, file), simulate(read_fleet(Path(file)))
    percentile = result.latencies.percentile_ns
    shares = {"p50": Fraction(1, 2), "p99": Fraction(99, 100), "max": Fraction(1)}
    assert found["latency_ms"] == {name: percentile(q) / 1e6 for name, q in shares.items()}
    assert 160 < found["latency_ms"]["p50"] < found["latency_ms"]["p99"]
    assert found["sessions"] == {name: getattr(result, name) for name in found["sessions"]}
    assert found["sessions_mean"] == result.session_units / 100
    assert found["mean_wait_ms"] == result.wait_ns / result.admitted / 1e6
    assert found["memory_bytes"]["weights"] == result.limits.weight_bytes
    assert found["memory_bytes"]["mean"] == result.mean_memory_bytes
    assert found["memory_bytes"]["peak"] == result.peak_memory_bytes
    assert found["trace_sha256"] == result.sha256


def test_the_command_line_stands_above_the_file(file: str, capsys: Said) -> None:
    """WS-FLEET-13: sessions, units and seed; the same seed gives the same digest."""
    found = answer(capsys, file, "--sessions", "10", "--units", "40", "--seed", "5")
    assert (found["sessions_offered"], found["rounds"], found["seed"]) == (10, 40, 5)
    again = answer(capsys, file, "--sessions", "10", "--units", "40", "--seed", "5")
    other = answer(capsys, file, "--sessions", "10", "--units", "40", "--seed", "6")
    assert again == found
    assert other["trace_sha256"] != found["trace_sha256"]


def test_shipped_by_name_with_its_bill(capsys: Said) -> None:
    """WS-FLEET-13, WS-FLEET-11: pairs follow from the load by Erlang B."""
    found = answer(capsys, "internet-scale", "--sessions", "2000", "--units", "5")
    assert found["bill"]["currency"] == "USD"
    assert found["bill"]["devices"] == 2 * found["pairs"]
    assert found["blocking_expected"] <= 0.0001
    assert 2000 < found["pairs"] * found["places_per_pair"] < 2300


@pytest.mark.parametrize("what", ["pairs", "sessions-per-pair"])
def test_a_search_says_what_it_tried(what: str, file: str, capsys: Said) -> None:
    """WS-FLEET-13, WS-FLEET-10."""
    found = answer(capsys, file, "--units", "60", "--capacity", what)
    assert list(found) == ["capacity", "value", "monotone", "tried", "at_value"]
    assert found["capacity"] == what
    assert [number for number, _ in found["tried"]].count(found["value"]) == 1
    assert cli.status_of(["simulate", file, "--units", "60", "--capacity", what]) == 0
    assert f"{what.replace('-', ' ')}: {found['value']}" in capsys.readouterr().out


def test_curves_are_drawn(file: str, tmp_path: Path, capsys: Said) -> None:
    """WS-FLEET-13: two pictures in a folder, with what they show in their text."""
    found = answer(capsys, file, "--units", "20", "--sessions", "4", "--curves", str(tmp_path))
    drawn = {Path(path).name: Path(path).read_text(encoding="utf-8") for path in found["curves"]}
    assert set(drawn) == {"fleet-blocking.svg", "fleet-on-time.svg"}
    assert all(text.startswith("<?xml") and "</svg>" in text for text in drawn.values())
    assert cli.status_of(["simulate", file, "--curves", str(tmp_path / "none")]) == 2
    assert "--curves: got" in capsys.readouterr().err


def test_a_person_reads_tables(file: str, capsys: Said) -> None:
    """WS-FLEET-13: sessions, promises and digest."""
    assert cli.status_of(["simulate", file]) == 0
    out = capsys.readouterr().out
    for part in ("small: qwen3-8b on h200-sxm", "12 pairs", "on_time", "verdict", "trace sha256"):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--schedule", "overlapped"], "--schedule of a fleet: got 'overlapped'"),
        (["--stages", "encode=1"], "--stages of a fleet"),
        (["--trace", "x.jsonl"], "--trace of a fleet"),
        (["--gantt", "x.svg"], "--gantt of a fleet"),
        (["--tables"], "--tables of a fleet"),
        (["--faults", "all"], "--faults of a fleet"),
        (["--capacity", "gpus"], "--capacity: got 'gpus'; allowed: pairs, sessions-per-pair"),
        (["--sessions", "0"], "sessions: got 0"),
        (["--units", "0"], "duration"),
        (["--seed", "-3"], "seed: got -3"),
    ],
)
def test_what_a_fleet_does_not_do_is_refused(
    arguments: list[str], says: str, file: str, capsys: Said
) -> None:
    """WS-FLEET-13: one line on stderr, exit status 2."""
    assert cli.status_of(["simulate", file, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_search_needs_a_fleet(capsys: Said) -> None:
    """WS-FLEET-13: a single pipeline has no pairs to look for."""
    assert cli.status_of(["simulate", "paper", "--capacity", "pairs"]) == 2
    assert "a scenario with a [fleet] table" in capsys.readouterr().err
