"""Overload policies: what each keeps, what it costs, and that it helps (WS-FAULTS-10)."""

from __future__ import annotations

import io

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation_scenarios import MS
from test_world_timing import PLAIN

from simulator.faults import Fault, FaultKind
from simulator.policies import ALL, FULL, POLICIES, policy_named
from simulator.scenario import Scenario, Slo
from simulator.stage_models import Constant
from simulator.world.run import Setup, WorldReport, run_world
from simulator.world.session import SessionReport
from simulator.world.trace import Recorder
from spec import clock
from spec.errors import ConfigError
from spec.presets import preset_named
from spec.trace import Kind, TraceEvent
from spec.trace_check import check_trace
from spec.trace_reading import read_trace

UNITS = 60
OVERLOADED = attrs.evolve(
    PLAIN,
    units=UNITS,
    stages=attrs.evolve(PLAIN.stages, solve=Constant(ns=200 * MS)),
    slo=Slo(deadline_ns=1000 * MS),
)
"""205 ms of solver and sending a unit: units pile up at 45 ms each."""

SHEDDING = [name for name in POLICIES if name != "none"]


def run_with(policy: str, scenario: Scenario = OVERLOADED) -> tuple[WorldReport, list[TraceEvent]]:
    """A clean run and its trace."""
    file = io.StringIO()
    report = run_world(Setup(scenario=attrs.evolve(scenario, policy=policy)), Recorder(file))
    assert report.violations == ()
    file.seek(0)
    events = list(read_trace(file))
    assert check_trace(events).clean
    return report, events


def longest(session: SessionReport) -> int:
    return max(session.latencies)


@given(st.sampled_from(sorted(POLICIES)), st.integers(0, 100), st.integers(1, 50))
def test_a_policy_waits_for_its_backlog(name: str, backlog: int, steps: int) -> None:
    """WS-FAULTS-10: nothing changes up to the limit; never more is left out than waits."""
    policy = policy_named(name)
    effort = policy.effort(backlog, steps)
    assert 0 <= policy.skips(backlog) <= backlog
    assert 0 <= effort.solve_ppm <= ALL
    assert 0 <= effort.steps_lost <= steps
    if backlog <= 2 or name == "none":
        assert policy.skips(backlog) == 0
        assert effort is FULL


@given(st.integers(0, 100), st.integers(1, 50))
def test_the_numbers_of_each_policy(backlog: int, steps: int) -> None:
    """WS-FAULTS-10"""
    too_many = max(0, backlog - 2)
    assert POLICIES["drop-to-live"].skips(backlog) == (backlog if too_many else 0)
    assert POLICIES["skip"].skips(backlog) == min(1, too_many)
    fewer = POLICIES["fewer-steps"].effort(backlog, steps)
    assert fewer.steps_lost == min(too_many, steps - 1)
    assert fewer.solve_ppm == ALL * (steps - fewer.steps_lost) // steps
    repeated = POLICIES["repeat-latents"].effort(backlog, steps)
    assert (repeated.repeated, repeated.solve_ppm == 0) == (too_many > 0, too_many > 0)
    audio = POLICIES["audio-only"].effort(backlog, steps)
    assert audio.video == (too_many == 0)
    assert audio.solve_ppm == audio.decode_ppm == (ALL // 5 if too_many else ALL)


def test_no_such_policy() -> None:
    """WS-FAULTS-10: one line with the names."""
    with pytest.raises(ConfigError, match="policy: got 'panic'; allowed: none, skip"):
        policy_named("panic")


@pytest.mark.parametrize("name", SHEDDING)
def test_it_helps_and_says_what_it_cost(name: str) -> None:
    """WS-FAULTS-10: under overload the latency of `none` grows with the session, that of a policy
    does not; and only its own cost is reported."""
    helped, events = run_with(name)
    left, _ = run_with("none")
    mine, none = helped.sessions[0], left.sessions[0]
    assert attrs.astuple(none.cost) == (0, 0, 0)
    assert longest(mine) < longest(none) / 2
    assert mine.misses == 0 < none.misses
    cost = mine.cost
    assert mine.units == UNITS - cost.units_skipped
    assert (cost.units_skipped > 0) == (name in ("skip", "drop-to-live"))
    assert (cost.steps_lost > 0) == (name in ("fewer-steps", "repeat-latents"))
    assert (cost.frames_repeated > 0) == (name != "fewer-steps")
    # A unit that is left out, and one without new latents or video, costs its frames.
    repeated = sum(e.kind is Kind.SOLVE and e.dur_ns == 0 for e in events)
    silent = sum(e.kind is Kind.EMIT and e.detail["video"] is False for e in events)
    less = cost.units_skipped + repeated + silent
    assert cost.frames_repeated == less * clock.FRAMES_PER_UNIT
    if name == "repeat-latents":
        assert cost.steps_lost == repeated * preset_named(OVERLOADED.preset).solver_steps


@pytest.mark.parametrize("name", ["audio-only", "fewer-steps", "repeat-latents"])
def test_it_acts_where_more_than_two_units_wait(name: str) -> None:
    """WS-FAULTS-10: behind the one that is about to be encoded, as the trace shows it."""
    _, events = run_with(name)
    received = {e.id: e.t_ns for e in events if e.kind is Kind.RECEIVE and e.process == "thinker"}
    arrivals = [
        e.t_ns for e in events if e.id in received and e.cause and e.cause[0].startswith("client")
    ]
    acted = {e.unit: e.dur_ns < 200 * MS for e in events if e.kind is Kind.SOLVE}
    assert set(acted.values()) == {True, False}
    for e in events:
        if e.kind is Kind.OBSERVE:
            waiting = sum(received[e.cause[0]] < at <= e.t_ns for at in arrivals)
            assert acted[e.unit] == (waiting > 2), (e.unit, waiting)


@pytest.mark.parametrize("name", SHEDDING)
def test_without_overload_nothing_is_touched(name: str) -> None:
    """WS-FAULTS-10: the same times and no cost."""
    calm = attrs.evolve(PLAIN, units=20)
    touched, _ = run_with(name, calm)
    untouched, _ = run_with("none", calm)
    assert touched.sessions == untouched.sessions


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_user_units_keep_their_order(name: str) -> None:
    """WS-FAULTS-10: what is observed was received later than what was observed before; none
    twice."""
    _, events = run_with(name)
    received = {e.id: e.t_ns for e in events if e.kind is Kind.RECEIVE}
    arrived = [received[e.cause[0]] for e in events if e.kind is Kind.OBSERVE]
    assert arrived == sorted(set(arrived))


def test_drop_to_live_bounds_the_backlog() -> None:
    """WS-FAULTS-10: never more than the limit waits behind a unit that is taken; `none` exceeds
    it."""

    def most_waiting(name: str) -> int:
        _, events = run_with(name)
        arrivals = [
            e.t_ns
            for e in events
            if e.kind is Kind.RECEIVE and e.cause and e.cause[0].startswith("client")
        ]
        received = {e.id: e.t_ns for e in events if e.kind is Kind.RECEIVE}
        waits = [
            sum(received[e.cause[0]] < at <= e.t_ns for at in arrivals)
            for e in events
            if e.kind is Kind.OBSERVE
        ]
        return max(waits)

    assert most_waiting("drop-to-live") <= 2
    assert most_waiting("none") > 6


def test_audio_only_never_delays_audio() -> None:
    """WS-FAULTS-10: every unit is heard, none later than without the policy, and the picture stays
    behind the sound and never goes back."""
    _, with_policy = run_with("audio-only")
    _, without = run_with("none")

    def emitted(events: list[TraceEvent]) -> list[int]:
        return [e.t_ns for e in events if e.kind is Kind.EMIT]

    assert len(emitted(with_policy)) == len(emitted(without)) == UNITS
    assert all(a <= b for a, b in zip(emitted(with_policy), emitted(without), strict=True))
    ends = [
        (int(e.detail["audio_end_ns"] or 0), int(e.detail["video_end_ns"] or 0))
        for e in with_policy
        if e.kind is Kind.EMIT
    ]
    assert all(video <= audio for audio, video in ends)
    assert any(video < audio for audio, video in ends)
    assert ends == sorted(ends)
    assert [video for _, video in ends] == sorted(video for _, video in ends)


@given(
    st.sampled_from(sorted(POLICIES)),
    st.integers(60, 260),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), max_size=3),
)
def test_policies_and_bursts_together(
    name: str, solve_ms: int, bursts: list[tuple[int, int]]
) -> None:
    """WS-FAULTS-10: whatever comes at once, slices and responses stay contiguous, every unit is
    answered or skipped."""
    stages = attrs.evolve(PLAIN.stages, solve=Constant(ns=solve_ms * MS))
    scenario = attrs.evolve(PLAIN, units=20, policy=name, stages=stages)
    faults = tuple(
        Fault(
            kind=FaultKind.BURST,
            session=0,
            where="client",
            at=start * clock.UNIT_NS,
            amount=length * clock.UNIT_NS,
        )
        for start, length in bursts
    )
    report = run_world(Setup(scenario=scenario, faults=faults))
    assert report.violations == ()
    session = report.sessions[0]
    assert session.units + session.cost.units_skipped == 20
    assert session.latencies.total() == session.units
