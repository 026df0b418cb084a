"""Stage times of batches, and how many sessions a pair holds, against the specification's cost."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import attrs
import fleet_world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fleet.limits import Limits, limits_of, work_ns
from simulator.fleet.occupancy import Occupancy
from simulator.fleet.scenario import Admission, Fleet
from simulator.fleet.times import STAGES, BatchTimes, batch_times
from spec import clock, cost, cost_stages, latency, roofline
from spec.cost_stages import Work, Workload
from spec.errors import ConfigError
from spec.roofline import Plan

MOST_SESSIONS, MOST_HISTORY = 40, 20_000

PLANS = [
    fleet_world.plan(),
    fleet_world.plan("qwen3-1.7b", "h100-sxm", "sequential", Fraction(1)),
    fleet_world.plan("smollm2-135m", "l40s"),
    fleet_world.plan("tiny", "cpu-2core", "sequential"),
]
TIMES = [batch_times(plan, MOST_SESSIONS, MOST_HISTORY) for plan in PLANS]


def names(times: BatchTimes, sessions: int, history: int) -> dict[str, int]:
    s, k = np.array(sessions, np.int64), np.array(history, np.int64)
    return {name: int(getattr(times, name).ns(s, k)) for name in STAGES}


def of_batch(passes: list[Work]) -> Work:
    """The same pass of every session at once: weights once, everything else for each."""
    weights = passes[0].weights
    moved = sum(work.elements - work.weights for work in passes)
    return Work(sum(work.flops for work in passes), weights + moved)


@pytest.mark.parametrize(("plan", "times"), list(zip(PLANS, TIMES, strict=True)))
@pytest.mark.parametrize("unit", [1, 2, 375, 5970])
def test_one_session_has_the_times_of_the_plan(plan: Plan, times: BatchTimes, unit: int) -> None:
    """WS-FLEET-3: those of WS-COST-8, up to the rounding of 1 ns."""
    expected = roofline.stage_times(plan, unit)
    for name, ns in names(times, 1, unit).items():
        assert getattr(expected, name) <= ns <= getattr(expected, name) + 1, name
    one = np.array(1, np.int64)
    assert expected.comm <= int(times.comm_ns(one, one)) <= expected.comm + 1


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(range(len(PLANS))), st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_a_batch_is_the_sum_of_its_sessions(index: int, histories: list[int]) -> None:
    """WS-FLEET-3: whatever the histories are, only their sum counts: pass by pass, exactly."""
    plan, work = PLANS[index], Workload.full(PLANS[index].config)
    each = [cost_stages.stages(work, unit) for unit in histories]
    got = names(TIMES[index], len(histories), sum(histories))
    for name in STAGES:
        passes = zip(*(stages[name] for stages in each), strict=True)
        times = (roofline.pass_seconds(plan, of_batch(list(column))) for column in passes)
        expected = ceil(sum(times, Fraction(0)) * 10**9)
        assert expected <= got[name] <= expected + 1, name


def test_nobody_takes_no_time() -> None:
    """WS-FLEET-3: weights are read for somebody only."""
    for times in TIMES:
        assert set(names(times, 0, 0).values()) == {0}


def test_many_share_what_one_would_read_alone() -> None:
    """WS-FLEET-3: eight young sessions take less than twice the time of one: the weights count."""
    alone, together = names(TIMES[0], 1, 10), names(TIMES[0], 8, 80)
    assert alone["update"] < together["update"] < 2 * alone["update"]


@pytest.mark.parametrize("plan", PLANS[:3])
def test_what_fits_fits_and_one_unit_more_does_not(plan: Plan) -> None:
    """WS-FLEET-5: by memory and by time, for every number of sessions."""
    share = Fraction(9, 10)
    admission = Admission(memory="present", memory_share=share, time_share=share)
    limits = limits_of(fleet_world.fleet(on=plan, admission=admission))
    for sessions in {1, limits.most // 2, limits.most} - {0}:
        held, timed = int(limits.by_memory[sessions]), int(limits.by_time[sessions])
        room = plan.device.memory_bytes * share
        weights = cost.weight_bytes(plan.config.preset, plan.element)
        prefill = cost.kv_bytes(plan.config, 0, plan.element)
        unit = cost.kv_bytes(plan.config, 1, plan.element) - prefill
        assert weights + sessions * prefill + held * unit <= room
        assert weights + sessions * prefill + (held + 1) * unit > room
        assert busiest(plan, limits, sessions, timed) <= clock.UNIT_NS * share
        if timed < held:
            assert busiest(plan, limits, sessions, timed + 1) > clock.UNIT_NS * share


def busiest(plan: Plan, limits: Limits, sessions: int, history: int) -> int:
    """The largest term of the cycle but T itself, by the closed form."""
    s = np.array(sessions, np.int64)
    comm = int(limits.times.comm_ns(s, s))
    stages = latency.StageTimes(comm=comm, **names(limits.times, sessions, history))
    terms = latency.cycle_terms_ns(stages, plan.config.schedule)
    most = max(ns for name, ns in terms.items() if name != "unit")
    found = work_ns(limits.times, plan, s[None], np.array([history]))
    assert int(found[0]) == most
    return most


@given(st.integers(20, 400))
@settings(max_examples=20, deadline=None)
def test_places_are_for_the_longest(longest: int) -> None:
    """WS-FLEET-5: all places grown to the longest fit; one place more would not."""
    fleet = fleet_world.fleet(longest_s=longest)
    limits = limits_of(fleet)
    more = limits_of(attrs.evolve(fleet, admission=Admission(memory="present")))
    units, places = fleet.lengths.longest_units, limits.places

    def fits(sessions: int) -> bool:
        held = sessions * units <= more.by_memory[sessions]
        return bool(held and sessions * (units - 1) <= more.by_time[sessions])

    assert fits(places)
    assert not fits(places + 1)
    assert limits.most == places


def test_places_can_be_held_down() -> None:
    """WS-FLEET-5."""
    fleet = fleet_world.fleet(admission=Admission(most_sessions=2))
    assert limits_of(fleet).places == 2


def too_long() -> Fleet:
    return fleet_world.fleet(longest_s=3000)


def test_a_length_that_no_pair_holds_is_refused() -> None:
    """WS-FLEET-5: in one line, which says how long a session could be."""
    with pytest.raises(ConfigError, match=r"longest session on h200-sxm: got '3000 s'") as error:
        limits_of(too_long())
    longest = float(error.value.allowed.split()[2])
    whole = int(longest)
    assert limits_of(fleet_world.fleet(longest_s=whole)).places == 1
    with pytest.raises(ConfigError):
        limits_of(fleet_world.fleet(longest_s=whole + 1))


@pytest.mark.parametrize("headroom_s", [10, 60, 120])
def test_what_is_let_in_by_what_is_present_keeps_its_headroom(headroom_s: int) -> None:
    """WS-FLEET-5: as many new sessions as may all grow by their headroom together, no more."""
    headroom = headroom_s * fleet_world.SECOND
    admission = Admission(memory="present", headroom_ns=headroom)
    fleet = fleet_world.fleet(pairs=1, admission=admission)
    limits, units = limits_of(fleet), clock.units_covering_ns(headroom)
    numbers = np.arange(limits.most + 1)
    let_in = Occupancy(fleet, limits, 1).let_in(numbers, np.full(len(numbers), 9), 0)
    count = int(let_in.sum())
    assert count >= 1
    assert count * units <= limits.together[count]
    assert (count + 1) * units > limits.together[count + 1]
