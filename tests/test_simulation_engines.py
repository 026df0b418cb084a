"""Three engines, one pipeline: events, recurrences, and a model in SimPy that shares no code."""

from __future__ import annotations

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulation_scenarios import MS, scenarios
from simulation_simpy import SimpyPipeline

from simulator.durations import draw
from simulator.maxplus import run_maxplus
from simulator.scenario import Scenario, StageModels
from simulator.stage_models import Constant
from simulator.timeline import Timeline
from simulator.timing import run_events


@settings(max_examples=300, deadline=None)
@given(scenarios())
def test_events_and_recurrences_agree_to_the_nanosecond(scenario: Scenario) -> None:
    """WS-SIMULATION-5, WS-SIMULATION-7: every start of every stage, whatever the times."""
    times = draw(scenario)
    assert run_events(scenario, times).same_as(run_maxplus(scenario, times))


def starts_at(timeline: Timeline, session: int, *, commits: bool) -> dict[str, list[int]]:
    names = ["encode", "update", "solve", "decode"] + ["commit"] * commits
    return {name: getattr(timeline, name)[:, session].tolist() for name in names}


# What a stage without a length sets off happens before the stream chooses, at the same instant.
AT_ONCE = Scenario(
    name="at once",
    schedule="sequential",
    handover="eager",
    stages=StageModels(
        encode=Constant(ns=120 * MS),
        update=Constant(ns=0),
        comm=Constant(ns=0),
        solve=Constant(ns=40 * MS),
        back=Constant(ns=0),
        decode=Constant(ns=0),
    ),
    units=8,
)


@settings(max_examples=150, deadline=None)
@given(scenarios())
@example(AT_ONCE)
def test_events_agree_with_simpy(scenario: Scenario) -> None:
    """WS-SIMULATION-5: a model in another library, written from the clause."""
    times = draw(scenario)
    timeline = run_events(scenario, times)
    for session in range(scenario.sessions):
        expected = SimpyPipeline(scenario, times, session).run()
        assert starts_at(timeline, session, commits=scenario.lag == 1) == expected


@given(scenarios(), st.integers(0, 2))
def test_a_session_does_not_depend_on_the_others(scenario: Scenario, session: int) -> None:
    """WS-SIMULATION-1, WS-SIMULATION-5: alone or among others, the same nanoseconds."""
    session %= scenario.sessions
    together = run_events(scenario)
    alone = run_events(scenario, draw(scenario, session, 1))
    commits = scenario.lag == 1
    assert starts_at(together, session, commits=commits) == starts_at(alone, 0, commits=commits)


@given(scenarios(), st.integers(1, 40))
def test_the_past_does_not_depend_on_how_long_the_run_is(scenario: Scenario, units: int) -> None:
    """WS-SIMULATION-5: what a shorter run did, a longer one begins with; only the last boundary
    of the shorter one differs."""
    units = min(units, scenario.units)
    short = run_events(attrs.evolve(scenario, units=units))
    long = run_events(scenario)
    assert (short.encode == long.encode[:units]).all()
    assert (short.solve[:-1] == long.solve[: units - 1]).all()
