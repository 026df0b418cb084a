"""Where the latency goes: sums without a remainder, critical paths, sensitivities."""

from __future__ import annotations

import io
import itertools

import attrs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from simulation_scenarios import chooses, scenarios

from simulator.critical_path import PASSES, PathFinder, sensitivities, shorter
from simulator.durations import draw
from simulator.maxplus import run_maxplus
from simulator.run import run
from simulator.scenario import STAGES, Scenario, Slo, StageModels, ThinkerMode
from simulator.scenario_reading import read_scenario
from simulator.stage_models import Constant
from simulator.streamed import run_streamed
from simulator.summary import percentile_ns, summary
from simulator.timing import run_events
from simulator.waterfall import PARTS, waterfall
from simulator.world.run import Setup, run_world
from spec import clock, latency
from spec.latency import Handover
from spec.trace import Kind
from spec.trace_reading import read_trace

MS = 1_000_000


@settings(max_examples=150, deadline=None)
@given(scenarios())
def test_the_parts_add_up_to_the_total(scenario: Scenario) -> None:
    """WS-SIMULATION-8, WS-SIMULATION-4: every unit, to the nanosecond, and no part is negative;
    the network keeps order on the way back too."""
    times = draw(scenario)
    timeline = run_events(scenario, times)
    parts = waterfall(scenario, timeline)
    for name in PARTS:
        assert (getattr(parts, name) >= 0).all(), name
    captured = (np.arange(times.units)[:, None] + 1) * clock.UNIT_NS
    heard = np.maximum.accumulate(timeline.decoded + times.down, axis=0)
    assert (parts.model_side == timeline.decoded - times.arrive[:-1]).all()
    assert (parts.total == heard - captured).all()
    assert (parts.from_signal == parts.total + clock.UNIT_NS // 2).all()


def test_the_papers_operating_point() -> None:
    """WS-SIMULATION-8, WS-LATENCY-2, WS-LATENCY-5: about 200 ms model-side, about 550 ms in total,
    by the paper's sum and as scheduled."""
    scenario = read_scenario("paper")
    stages = scenario.stages.typical
    parts = waterfall(scenario, run_events(scenario))
    assert latency.critical_path_ns(stages) == 200 * MS
    assert latency.total_ns(latency.critical_path_ns(stages)) == 550 * MS
    # As scheduled, with the slice's and the latents' ms on the link, in every unit.
    assert (parts.model_side == 202 * MS).all()
    assert (parts.total == 552 * MS).all()
    assert not parts.queueing.any()
    assert not parts.boundary.any()


@pytest.mark.parametrize(
    "change", [{"handover": "boundary"}, {"thinker": "one-stream"}], ids=["boundary", "one-stream"]
)
def test_what_the_papers_sum_leaves_out(change: dict[str, str]) -> None:
    """WS-SIMULATION-8: at boundaries, or with decoders behind the next unit's encoder, the same
    stages take T + e + u + c + d, and the waterfall says what for."""
    scenario = attrs.evolve(read_scenario("paper"), **change)  # type: ignore[arg-type]
    timeline = run_events(scenario)
    parts = waterfall(scenario, timeline)
    assert (parts.model_side[2:-1] == 231 * MS).all()
    waited = parts.boundary if "handover" in change else parts.queueing
    assert (waited[2:-1] == 29 * MS).all()


def test_a_unit_on_its_deadline_is_not_late() -> None:
    """WS-SIMULATION-8: above the deadline, 320 ms unless another is stated; by all who count."""
    assert Slo().deadline_ns == 320 * MS
    paper = attrs.evolve(read_scenario("paper"), units=4)
    for deadline_ns, misses in ((202 * MS, 0), (202 * MS - 1, 4)):
        scenario = attrs.evolve(paper, slo=Slo(deadline_ns=deadline_ns))
        assert summary(run(scenario, io.StringIO(), {})).deadline_misses == misses
        assert run_streamed(scenario, io.StringIO(), {}).deadline_misses == misses
        assert run_world(Setup(scenario=scenario)).sessions[0].misses == misses


@pytest.mark.parametrize("policy", ["skip", "drop-to-live"])
def test_latencies_under_a_policy_are_those_of_the_trace(policy: str) -> None:
    """WS-SIMULATION-10: from the user unit that became this one, whatever was left out before."""
    scenario = attrs.evolve(read_scenario("condition-not-enough"), units=80, policy=policy)
    stream = io.StringIO()
    result = run(scenario, stream, {})
    stream.seek(0)
    events = list(read_trace(stream))
    by_id = {event.id: event for event in events}
    received = {e.unit: by_id[e.cause[0]] for e in events if e.kind is Kind.OBSERVE}
    emitted = {e.unit: e.t_ns for e in events if e.kind is Kind.EMIT}
    heard = [e for e in events if (e.process, e.kind) == ("client", Kind.RECEIVE)]
    assert result.model_side.tolist() == [emitted[e.unit] - received[e.unit].t_ns for e in heard]
    assert result.total.tolist() == [e.t_ns - by_id[received[e.unit].cause[0]].t_ns for e in heard]
    assert result.cost.units_skipped > 3


def test_a_commit_on_the_way_is_named() -> None:
    """WS-SIMULATION-8: a response that waits for the commit of an earlier one says so."""
    scenario = read_scenario("condition-not-enough")
    commit = scenario.stages.decode
    late = attrs.evolve(scenario, stages=attrs.evolve(scenario.stages, commit=commit))
    parts = waterfall(late, run_events(late))
    assert (parts.commit[20:-1] == 60 * MS).all()


@settings(max_examples=100, deadline=None)
@given(scenarios())
def test_a_critical_path_has_no_holes(scenario: Scenario) -> None:
    """WS-SIMULATION-11: from an arrival to the decoding, each step beginning where one ended."""
    timeline = run_events(scenario)
    finder = PathFinder(scenario, timeline)
    for unit in range(scenario.units):
        path = finder.path(unit)
        assert path[0].stage == "arrive"
        assert (path[-1].stage, path[-1].unit) == ("decode", unit)
        assert path[-1].end_ns == timeline.decoded[unit, 0]
        assert all(a.end_ns == b.start_ns for a, b in itertools.pairwise(path))


@settings(max_examples=100, deadline=None)
@given(scenarios().filter(lambda s: not chooses(s)), st.sampled_from(STAGES))
def test_counting_and_running_again_agree(scenario: Scenario, stage: str) -> None:
    """WS-SIMULATION-11: a nanosecond off a stage brings each response as many nanoseconds earlier
    as the stage must stand on its critical path."""
    times = draw(attrs.evolve(scenario, sessions=1))
    # In steps of 1 µs no other path becomes the longest within 40 ns.
    times = attrs.evolve(times, **{
        name: getattr(times, name) // 1000 * 1000 for name in (*STAGES, "arrive")
    })  # fmt: skip
    assume((getattr(times, stage) > 0).all())
    before = run_maxplus(scenario, times)
    after = run_maxplus(scenario, shorter(times, stage, 1))
    counts = PathFinder(scenario, before).counts(stage)
    assert (before.decoded - after.decoded)[:, 0].tolist() == counts


@pytest.mark.parametrize("stage", ["encode", "solve", "decode"])
@pytest.mark.parametrize("thinker", ["one-stream", "separate-streams"])
@pytest.mark.parametrize("handover", ["boundary", "eager"])
def test_stages_that_take_no_time_keep_their_order(
    handover: Handover, thinker: ThinkerMode, stage: str
) -> None:
    """WS-SIMULATION-11: many stages at one instant, each after what it waited for."""
    names = ("encode", "update", "comm", "solve", "back", "decode")
    times = {name: Constant(ns=200 * MS * (name == stage)) for name in names}
    scenario = Scenario(
        name="still", stages=StageModels(**times), handover=handover, thinker=thinker, units=12
    )
    timeline = run_events(scenario)
    finder = PathFinder(scenario, timeline)
    after = run_maxplus(scenario, shorter(timeline.durations, stage, 1))
    assert (timeline.decoded - after.decoded)[:, 0].tolist() == finder.counts(stage)
    assert [finder.path(k)[-1].unit for k in range(12)] == list(range(12))


def test_what_a_millisecond_is_worth() -> None:
    """WS-SIMULATION-11: at the paper's point every ms of the path counts once and none speeds the
    cycle; bound by the thinker, a ms off the solver gives nothing."""
    paper = read_scenario("paper")
    found = {s.stage: s for s in sensitivities(paper, run_events(paper))}
    for stage in ("encode", "update", "comm", "solve", "back", "decode"):
        assert (found[stage].latency_ns, found[stage].cycle_ns) == (MS, 0)
    assert "commit" not in found
    # More than a stage takes cannot be taken off it.
    found = {s.stage: s for s in sensitivities(paper, run_events(paper), 25 * MS)}
    assert (found["encode"].latency_ns, found["solve"].latency_ns) == (20 * MS, 25 * MS)
    bound = read_scenario("condition-not-enough")
    found = {s.stage: s for s in sensitivities(bound, run_events(bound))}
    assert found["encode"].cycle_ns == found["decode"].cycle_ns == MS
    assert found["solve"].cycle_ns == found["solve"].latency_ns == 0
    assert found["encode"].latency_ns > 100 * MS


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 100))
def test_percentiles_are_values_that_occurred(values: list[int], percent: int) -> None:
    """WS-SIMULATION-10: the smallest value that so many of a hundred do not exceed."""
    result = percentile_ns(np.array(values, np.int64), percent)
    assert result in values
    assert sum(v <= result for v in values) * 100 >= percent * len(values)
    assert sum(v < result for v in values) * 100 < percent * len(values)


def test_which_percentiles_are_reported() -> None:
    """WS-SIMULATION-10: the median and the 99th, of units that come ever later."""
    result = run(attrs.evolve(read_scenario("condition-not-enough"), units=200), io.StringIO(), {})
    numbers = summary(result)
    for found, times in (
        (numbers.model_side_ms, result.model_side), (numbers.total_ms, result.total)
    ):  # fmt: skip
        ranked = np.sort(times, axis=None) / MS
        assert (found.p50, found.p99) == (ranked[99], ranked[197])
        assert len(set(ranked[[99, 189, 197, 198]])) == 4


def test_percentiles_of_many_values() -> None:
    """WS-SIMULATION-10: of any order, and as many as a long run has."""
    shuffled = np.random.default_rng(0).permutation(5_000)
    assert [percentile_ns(shuffled, percent) for percent in (1, 50, 99, 100)] == [
        49, 2_499, 4_949, 4_999,
    ]  # fmt: skip


def test_every_stage_belongs_to_one_node() -> None:
    """WS-SIMULATION-11: nothing is counted twice."""
    assert sorted(name for names in PASSES.values() for name in names) == sorted(STAGES)
