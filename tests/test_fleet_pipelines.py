"""The recurrence of a pair against the closed forms of latency and throughput."""

from __future__ import annotations

import itertools
from fractions import Fraction

import attrs
import fleet_world
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.benchmarks import bench_scenario
from simulator.durations import Durations
from simulator.fleet.pairs import Pipelines
from simulator.fleet.run import FleetRun, simulate
from simulator.fleet.scenario import Admission
from simulator.fleet.times import FS_PER_NS, BatchTimes, Line, Stage
from simulator.scenario import StageModels
from simulator.stage_models import Constant
from simulator.timing import run_events
from spec import clock, latency, roofline
from spec.latency import StageTimes
from spec.sizes import Schedule

MS = 1_000_000
NO_COMMIT = StageModels(
    **dict.fromkeys(("encode", "update", "comm", "solve", "back", "decode"), Constant(ns=MS))
)
ONE, NONE = np.ones(1, np.int64), np.zeros(1, np.int64)


def fixed(stages: StageTimes) -> BatchTimes:
    """A batch that takes ``stages``, whatever is in it."""

    def stage(ns: int) -> Stage:
        return Stage(Line(ns * FS_PER_NS, 0, 0), ())

    return BatchTimes(
        encode=stage(stages.encode),
        update=stage(stages.update),
        solve=stage(stages.solve),
        decode=stage(stages.decode),
        commit=stage(stages.commit),
        slice_fs=stages.comm * FS_PER_NS,
        latents_fs=stages.comm * FS_PER_NS,
    )


def latencies(stages: StageTimes, schedule: Schedule, rounds: int) -> list[int]:
    """Latency of each round's response, one session all the time."""
    pipelines = Pipelines(fixed(stages), schedule, Fraction(0), 0, 1)
    return [int(pipelines.serve(r, ONE, ONE)[0]) for r in range(rounds)][1:]


def times_up_to(most: int) -> st.SearchStrategy[StageTimes]:
    ns = st.integers(0, most)
    return st.builds(StageTimes, encode=ns, update=ns, comm=ns, solve=ns, decode=ns, commit=ns)


@given(times_up_to(25 * MS), st.sampled_from(["overlapped", "sequential"]))
def test_a_pair_that_keeps_up_has_the_boundary_latency(
    stages: StageTimes, schedule: Schedule
) -> None:
    """WS-FLEET-4: T + e + u + c + d of WS-LATENCY-4 in every round; these times never pile up."""
    assert latency.cycle_ns(stages, schedule) == clock.UNIT_NS
    expected = latency.as_scheduled_ns(stages, "boundary")
    assert set(latencies(stages, schedule, 12)) == {expected}


@given(times_up_to(150 * MS), st.sampled_from(["overlapped", "sequential"]))
def test_a_pair_in_the_long_run_has_the_cycle(stages: StageTimes, schedule: Schedule) -> None:
    """WS-FLEET-4: settled, latency grows by the cycle of WS-LATENCY-3 less T a round."""
    found = latencies(stages, schedule, 40)
    growth = {b - a for a, b in itertools.pairwise(found[20:])}
    assert growth == {latency.cycle_ns(stages, schedule) - clock.UNIT_NS}


def test_the_paper_condition_is_not_enough() -> None:
    """WS-FLEET-4, WS-LATENCY-3: (60, 60, 5, 100, 60) runs at 185 ms a unit."""
    ms = {"encode": 60, "update": 60, "comm": 5, "solve": 100, "decode": 60}
    stages = StageTimes(**{name: value * MS for name, value in ms.items()})
    found = latencies(stages, "overlapped", 10)
    assert found[-1] - found[-2] == 25 * MS


def test_a_backlog_is_worked_off() -> None:
    """WS-FLEET-4: once the batch is gone, latency returns to that of a fresh pair."""
    ms = {"encode": 60, "update": 60, "comm": 5, "solve": 100, "decode": 60}
    stages = StageTimes(**{name: value * MS for name, value in ms.items()})
    pipelines = Pipelines(fixed(stages), "overlapped", Fraction(0), 0, 1)
    for r in range(20):
        pipelines.serve(r, ONE, ONE)
    for r in range(20, 60):
        pipelines.serve(r, NONE, NONE)
    pipelines.serve(60, ONE, ONE)
    assert int(pipelines.serve(61, ONE, ONE)[0]) == latency.as_scheduled_ns(stages, "boundary")


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_pair_and_one_session_is_the_single_pipeline(schedule: Schedule, seed: int) -> None:
    """WS-FLEET-4: each response has the latency of WS-LATENCY-4 at its history, to 4 ns."""
    plan = fleet_world.plan(schedule=schedule)
    fleet = fleet_world.fleet(
        sessions=1, pairs=1, kind="constant", mean_s=60, longest_s=60, duration_s=4,
        on=plan, seed=seed, admission=Admission(most_sessions=1),
    )  # fmt: skip
    run, compared = FleetRun(fleet), 0
    for number in range(fleet.rounds):
        done = run.step(number)
        measured, history = int(run.serve(done)[0]), int(done.history[0])
        if number == 0 or int(done.sessions[0]) == 0 or history < 2:
            continue
        # Response k is decoded behind the encode, update and exchange of unit k + 1.
        now, before = (roofline.stage_times(plan, k) for k in (history, history - 1))
        expected = clock.UNIT_NS + now.encode + now.update + now.comm + before.decode
        assert expected <= measured <= expected + 4
        compared += 1
    assert compared > 10


def test_a_first_unit_takes_what_a_second_takes() -> None:
    """WS-FLEET-3: unit 0 counts as unit 1, so a pair of newcomers has a unit of history for each;
    it is served as it would be a round later."""
    fleet = fleet_world.fleet(
        sessions=20, pairs=1, kind="constant", mean_s=1, longest_s=1, duration_s=8,
        admission=Admission(most_sessions=1),
    )  # fmt: skip
    run, compared = FleetRun(fleet), 0
    for number in range(fleet.rounds):
        done = run.step(number)
        run.serve(done)
        if done.sessions[0] and not done.history[0]:
            solve = run.pipelines.solved - run.pipelines.exchanged
            assert solve == fleet_solve(run, 1) > fleet_solve(run, 0)
            compared += 1
    assert compared > 3


def fleet_solve(run: FleetRun, history: int) -> int:
    """What one session of so many units of history takes to solve."""
    return int(run.limits.times.solve.ns(ONE, history * ONE)[0])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["overlapped", "sequential"]),
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 400)), min_size=2, max_size=25),
    st.lists(st.integers(0, MS), min_size=7, max_size=7),
)
@example("overlapped", [(1, 400), (1, 0), (1, 0), (1, 1)], [MS, MS, MS, 0, MS, 0, 0])
def test_times_that_vary_agree_with_the_event_engine(
    schedule: Schedule, batches: list[tuple[int, int]], parts: list[int]
) -> None:
    """WS-FLEET-4: every latency is that of the pipeline's own engine, hand-over at the boundary,
    one stream, as batches grow and shrink; also where a thinker is late and a long round is
    followed by one that takes next to no time."""
    e, u, p, d, m, slice_ns, latents_ns = parts
    # Sequential, the commit is part of the update.
    m = 0 if schedule == "sequential" else m
    encode, update, solve, decode, commit = (
        Stage(Line(0, 0, ns * FS_PER_NS), ()) for ns in (e, u, p, d, m)
    )
    times = BatchTimes(
        encode=encode, update=update, solve=solve, decode=decode, commit=commit,
        slice_fs=slice_ns * FS_PER_NS, latents_fs=latents_ns * FS_PER_NS,
    )  # fmt: skip
    pipelines, rounds = Pipelines(times, schedule, Fraction(0), 0, 1), len(batches)
    served = [
        int(pipelines.serve(number, np.array([sessions]), np.array([history]))[0])
        for number, (sessions, history) in enumerate([*batches, (0, 0)])
    ]
    count, made = (column[:, None] for column in np.array(batches).T)
    before, after = np.roll(count, 1), np.roll(count, -1)
    before[0] = after[-1] = 0
    durations = Durations(
        arrive=np.arange(rounds + 1)[:, None] * clock.UNIT_NS,
        encode=made * e, update=made * u, solve=made * p, decode=made * d,
        commit=(made + count) * m,
        # Slices and the latents of the batch before change hands at once.
        comm=np.maximum(slice_ns * count, latents_ns * before),
        back=np.maximum(slice_ns * after, latents_ns * count),
        down=0 * made,
    )  # fmt: skip
    scenario = attrs.evolve(bench_scenario(1, rounds), schedule=schedule, stages=NO_COMMIT)
    engine = run_events(scenario, durations).model_side[:, 0]
    assert served[1:] == engine.tolist()


def test_jitter_spreads_and_has_mean_one() -> None:
    """WS-FLEET-3: one factor of mean 1 for the devices, none for the link."""
    stages = StageTimes(encode=0, update=20 * MS, comm=7 * MS, solve=0, decode=0)
    pipelines = Pipelines(fixed(stages), "overlapped", Fraction(1, 5), 3, 2000)
    many = np.ones(2000, np.int64)
    pipelines.serve(0, many, many)
    updates = pipelines.serve(1, many, many) - clock.UNIT_NS - 7 * MS
    assert abs(updates.mean() / (20 * MS) - 1) < 0.02
    assert abs(updates.std() / updates.mean() - 0.2) < 0.02


def test_busy_time_is_what_the_stages_take() -> None:
    """WS-FLEET-12: a full pair works e + u + c + d + m and p + c of each round."""
    admission = Admission(most_sessions=1)
    fleet = fleet_world.fleet(
        sessions=1000, pairs=1, kind="constant", mean_s=20, longest_s=20, duration_s=8,
        admission=admission,
    )  # fmt: skip
    result = simulate(fleet)
    plan = fleet.plan
    young, old = (roofline.stage_times(plan, unit) for unit in (1, fleet.lengths.longest_units))
    for busy, parts in (
        (result.thinker_busy, ("encode", "update", "comm", "decode", "commit")),
        (result.performer_busy, ("solve", "comm")),
    ):
        low, high = (sum(getattr(t, part) for part in parts) for t in (young, old))
        assert low <= busy * clock.UNIT_NS <= high + 4
