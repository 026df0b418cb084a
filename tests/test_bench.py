"""``wanstreamer bench``: what it answers, and when it fails; no test here looks at a clock."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator import benchmark_simpy, benchmarks
from simulator.benchmarks import (
    BENCHMARKS,
    Benchmark,
    bench_scenario,
    run_benchmarks,
    seconds,
    wall_seconds,
)
from simulator.durations import Durations, draw
from simulator.scenario import Scenario
from simulator.timing import Pipeline, run_events
from spec.errors import ConfigError
from wanstreamer.bench import bench_command, read_baseline
from wanstreamer.cli import commands, status_of

commands.add_command(bench_command)


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Benchmarks that give what the test says, in place of the measured ones."""
    found = {"fast": 100.0, "slow": 10.0}

    def measured(name: str) -> Benchmark:
        return Benchmark(name=name, target=10, measure=lambda: found[name])

    monkeypatch.setattr(benchmarks, "BENCHMARKS", [measured(name) for name in found])
    return found


def baseline(path: Path, **rates: float) -> str:
    targets = [{"name": name, "measured": rate} for name, rate in rates.items()]
    path.write_text(json.dumps({"targets": targets}), encoding="utf-8")
    return str(path)


def test_json_is_the_contract(rates: dict[str, float], capsys: pytest.CaptureFixture[str]) -> None:
    """WS-BENCH-1: machine and targets, nothing else on stdout."""
    assert status_of(["bench", "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert set(out) == {"machine", "targets"}
    assert out["targets"][0] == {
        "name": "fast",
        "target": 10,
        "measured": rates["fast"],
        "met": True,
        "command": 'wanstreamer bench --only "fast"',
    }


def test_a_missed_target_fails(rates: dict[str, float]) -> None:
    """WS-BENCH-1: a rate below its target is exit status 1."""
    rates["slow"] = 9.9
    assert status_of(["bench", "--json"]) == 1
    assert status_of(["bench", "--only", "fast"]) == 0


def test_a_regression_fails(
    rates: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-BENCH-1: beyond the stated factor, and only for what the baseline has."""
    assert rates == {"fast": 100.0, "slow": 10.0}
    path = baseline(tmp_path / "before.json", fast=200.0, gone=1e9)
    assert status_of(["bench", "--baseline", path]) == 0
    assert status_of(["bench", "--baseline", path, "--factor", "1.9"]) == 1
    assert "fast: 100, more than 1.9 times slower than 200" in capsys.readouterr().err


def test_the_best_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-BENCH-1: three runs, the best one reported."""
    runs = iter([1.0, 3.0, 2.0])
    bench = Benchmark(name="x", target=3, measure=lambda: next(runs))
    monkeypatch.setattr(benchmarks, "BENCHMARKS", [bench])
    (result,) = run_benchmarks()
    assert (result.measured, result.met, next(runs, None)) == (3.0, True, None)


@pytest.mark.parametrize("text", ["", "[]", '{"targets": [{"name": "x", "measured": "1"}]}', "{"])
def test_a_bad_baseline_is_one_line(text: str, tmp_path: Path) -> None:
    """WS-BENCH-1: said clearly, before anything is measured."""
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="--baseline"):
        read_baseline(path)
    with pytest.raises(ConfigError, match="--only"):
        run_benchmarks("no such")


def test_a_core_is_measured_by_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-BENCH-1: processor time for one process, the clock for several."""
    clocks = SimpleNamespace(
        process_time=iter([1.0, 3.5]).__next__, perf_counter=iter([10.0, 17.0]).__next__
    )
    monkeypatch.setattr(benchmarks, "time", clocks)
    assert (seconds(list), wall_seconds(list)) == (2.5, 7.0)


@pytest.mark.parametrize("name", [b.name for b in BENCHMARKS])
def test_its_command_measures_a_benchmark_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """WS-BENCH-1: the command that is reported, given to a shell."""
    ran = list[str]()

    def measured(called: str) -> Benchmark:
        def measure() -> float:
            ran.append(called)
            return 1.0

        return Benchmark(name=called, target=1, measure=measure)

    monkeypatch.setattr(benchmarks, "BENCHMARKS", [measured(b.name) for b in BENCHMARKS])
    commands_of = {r.name: shlex.split(r.command) for r in run_benchmarks()}
    ran.clear()
    assert commands_of[name][0] == "wanstreamer"
    assert status_of([*commands_of[name][1:], "--json"]) == 0
    capsys.readouterr()
    assert set(ran) == {name}


Ran = list[tuple[str, float]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """What the rates of the simulator put under a clock, on small scenarios, and the seconds that
    the clock then says: 1, 2, ..."""
    ran, here = Ran(), list[str]()

    def small(sessions: int, units: int) -> Scenario:
        return bench_scenario(min(sessions, 3), min(units, 10))

    def engine(_: Pipeline) -> int:
        here.append("events")
        return 0

    def recurrences(_: Scenario, durations: Durations | None = None) -> None:
        here.append("recurrences" if durations is not None else "recurrences with draws")

    def seconds(work: Callable[[], object]) -> float:
        here.clear()
        work()
        ran.append((" ".join(here), len(ran) + 1.0))
        return ran[-1][1]

    monkeypatch.setattr(benchmarks, "bench_scenario", small)
    monkeypatch.setattr(Pipeline, "run", engine)
    monkeypatch.setattr(benchmarks, "run_maxplus", recurrences)
    monkeypatch.setattr(benchmark_simpy, "run", lambda _: here.append("SimPy"))
    monkeypatch.setattr(benchmarks, "seconds", seconds)
    return ran


def test_rates_are_of_what_they_are_named_after(measured: Ran) -> None:
    """WS-BENCH-2: the event engine stage by stage, one session; the recurrences over many."""
    assert benchmarks.event_rate() == 10 / 1
    assert benchmarks.recurrence_rate() == 3 * 10 / 2
    assert [what for what, _ in measured] == ["events", "recurrences"]


def test_the_ratio_says_how_much_faster_ours_is(measured: Ran) -> None:
    """WS-BENCH-2: one run of each, right after the other: SimPy's time by ours."""
    assert benchmarks.simpy_ratio() == 2
    assert measured == [("events", 1.0), ("SimPy", 2.0)]


def test_the_targets_are_those_of_the_clause() -> None:
    """WS-BENCH-2: names and targets."""
    targets = {b.name: b.target for b in BENCHMARKS}
    assert targets["event engine, units/s"] == 80_000
    assert targets["event engine, times SimPy"] == 2
    assert targets["recurrences, units/s"] == 5_000_000


def test_simpy_runs_the_same_model() -> None:
    """WS-BENCH-2: the ratio compares like with like, to the nanosecond."""
    scenario = bench_scenario(1, 300)
    times = draw(scenario)
    assert benchmark_simpy.run(times) == run_events(scenario, times).decode[:, 0].tolist()
