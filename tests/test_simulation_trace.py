"""A run and its trace: clean, the same in any process, and the same as the timing model's."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import attrs
import pytest
from hypothesis import given, settings
from simulation_scenarios import scenarios

from simulator.faults import FaultError, FaultKind, parse_faults
from simulator.link import Network
from simulator.run import Run, rates_of, run
from simulator.scenario import Scenario, StageModels
from simulator.scenario_reading import read_scenario, scenario_of
from simulator.stage_models import Uniform
from simulator.timing import run_events
from spec.trace import Kind
from spec.trace_check import check_trace
from spec.trace_reading import read_trace


def traced(scenario: Scenario, faults: str = "none") -> tuple[Run, str]:
    stream = io.StringIO()
    result = run(scenario, stream, parse_faults(faults))
    return result, stream.getvalue()


@settings(max_examples=25, deadline=None)
@given(scenarios())
def test_a_calm_run_is_clean_and_takes_the_times_of_the_timing_model(scenario: Scenario) -> None:
    """WS-SIMULATION-9, WS-SIMULATION-5: the protocol, traced and judged, and the model beside it,
    to the nanosecond."""
    result, text = traced(scenario)
    assert result.violations == 0
    assert result.timeline is not None
    assert result.timeline.same_as(run_events(scenario))
    events = list(read_trace(io.StringIO(text)))
    report = check_trace(iter(events))
    assert report.clean
    # WS-TRACE-11: every queue with its limit.
    assert report.unstated == ()
    limits = {name: limit for name, (_, limit) in report.queues.items()}
    assert limits == {"units in work": 3, "slices unanswered": 1 + scenario.lag,
                      "responses unacknowledged": 1 + scenario.lag,
                      "responses unread": 8}  # fmt: skip
    assert result.trace_sha256 == hashlib.sha256(text.encode()).hexdigest()
    decodes = [(e.session, e.unit, e.t_ns) for e in events if e.kind is Kind.DECODE]
    starts = result.timeline.decode
    assert sorted(decodes) == sorted(
        (f"s{s}", k, int(starts[k, s])) for s in range(starts.shape[1]) for k in range(len(starts))
    )


def test_times_of_late_units_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-SIMULATION-9, WS-SIMULATION-5: where the times of a session are drawn block by block, too,
    stages and arrivals."""
    monkeypatch.setattr("simulator.world.times.BLOCK", 8)
    drawn = Uniform(low_ns=0, high_ns=30_000_000)
    stages = StageModels(
        encode=drawn, update=drawn, comm=drawn, solve=drawn, back=drawn, decode=drawn, commit=drawn
    )
    network = Network(up=Uniform(low_ns=0, high_ns=400_000_000))
    scenario = Scenario(name="late", stages=stages, network=network, units=40, sessions=2)
    result, _ = traced(scenario)
    assert result.timeline is not None
    assert result.timeline.same_as(run_events(scenario))


@pytest.mark.parametrize("name", ["paper", "condition-not-enough", "qwen3-8b-h100"])
def test_shipped_scenarios_run_clean(name: str) -> None:
    """WS-SIMULATION-9: every one that is a single pair."""
    result, _ = traced(attrs.evolve(read_scenario(name), units=20))
    assert (result.violations, result.model_side.shape) == (0, (20, 1))


SCRIPT = """
import io
from simulator.run import run
from simulator.faults import parse_faults
from simulator.scenario_reading import read_scenario
import attrs
scenario = attrs.evolve(read_scenario("paper"), units=40, seed=11)
print(run(scenario, io.StringIO(), parse_faults("all")).trace_sha256)
"""


def test_same_seed_same_trace_in_fresh_processes() -> None:
    """WS-SIMULATION-9: in two processes with other hash seeds, and in this one."""
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    scenario = attrs.evolve(read_scenario("paper"), units=40, seed=11)
    assert found == {traced(scenario, "all")[0].trace_sha256}
    other, _ = traced(attrs.evolve(scenario, seed=12), "all")
    assert other.trace_sha256 not in found


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_with_faults_no_invariant_breaks_and_latency_grows(schedule: str) -> None:
    """WS-SIMULATION-9: faults cost time, and nothing else."""
    scenario = attrs.evolve(read_scenario("paper"), units=60, schedule=schedule, sessions=2)  # type: ignore[arg-type]
    calm, _ = traced(scenario)
    result, text = traced(scenario, "drop=0.1,duplicate=0.1,reorder=0.1,pause=0.02")
    assert (result.violations, result.timeline) == (0, None)
    assert check_trace(read_trace(io.StringIO(text))).clean
    assert result.marks["drop"] > 0
    assert result.model_side.size == calm.model_side.size
    assert result.model_side.mean() > calm.model_side.mean()
    assert (result.total - result.model_side == 350_000_000).all()


def test_a_policy_sheds_load() -> None:
    """WS-SIMULATION-9: units that are left out have no latency, the others a shorter one."""
    scenario = attrs.evolve(read_scenario("condition-not-enough"), units=100)
    piling_up, _ = traced(scenario)
    live, _ = traced(attrs.evolve(scenario, policy="drop-to-live"))
    assert live.violations == 0
    assert live.model_side.size < piling_up.model_side.size
    assert live.model_side.max() < piling_up.model_side.max() / 2


def test_faults_of_a_scenario_file() -> None:
    """WS-SIMULATION-9, WS-FAULTS-2: read as the option is, and refused as it is."""
    stages = "[stages]\nencode_ms=20\nupdate_ms=20\ncomm_ms=5\nsolve_ms=110\ndecode_ms=30\n"
    read = scenario_of(stages + "[faults]\ndrop = 0.5\nlate = 1\n", "x")
    assert rates_of(read.faults) == {FaultKind.DROP: 0.5, FaultKind.LATE: 1.0}
    with pytest.raises(FaultError, match="smudge=1"):
        rates_of(scenario_of(stages + "[faults]\nsmudge = 1\n", "x").faults)
