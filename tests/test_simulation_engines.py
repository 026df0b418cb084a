"""Three engines, one pipeline: events, recurrences, and a model in SimPy that shares no code."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation_simpy import SimpyPipeline

from simulator.durations import draw
from simulator.link import Network
from simulator.maxplus import run_maxplus
from simulator.scenario import Scenario, StageModels, ThinkerMode
from simulator.stage_models import Constant, Uniform
from simulator.timeline import Timeline
from simulator.timing import run_events
from spec.latency import Handover
from spec.sizes import Schedule

MS = 1_000_000

times = st.integers(0, 200 * MS) | st.integers(0, 4).map(lambda n: n * 40 * MS)
models = st.builds(lambda a, b: Uniform(low_ns=min(a, b), high_ns=max(a, b)), times, times)
# Equal times and whole units make many things happen at one instant.
models = models | times.map(lambda ns: Constant(ns=ns))
schedules: st.SearchStrategy[Schedule] = st.sampled_from(["overlapped", "sequential"])
handovers: st.SearchStrategy[Handover] = st.sampled_from(["boundary", "eager"])
thinkers: st.SearchStrategy[ThinkerMode] = st.sampled_from(["one-stream", "separate-streams"])


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    schedule = draw(schedules)
    stages = {
        name: draw(models) for name in ("encode", "update", "comm", "solve", "back", "decode")
    }
    if schedule == "overlapped":
        stages["commit"] = draw(models)
    return Scenario(
        name="random",
        schedule=schedule,
        handover=draw(handovers),
        thinker=draw(thinkers),
        stages=StageModels(**stages),
        network=Network(up=draw(models), down=Constant(ns=0)),
        units=draw(st.integers(1, 40)),
        sessions=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=300, deadline=None)
@given(scenarios())
def test_events_and_recurrences_agree_to_the_nanosecond(scenario: Scenario) -> None:
    """WS-SIMULATION-5, WS-SIMULATION-7: every start of every stage, whatever the times."""
    times = draw(scenario)
    assert run_events(scenario, times).same_as(run_maxplus(scenario, times))


def starts_at(timeline: Timeline, session: int, *, commits: bool) -> dict[str, list[int]]:
    names = ["encode", "update", "solve", "decode"] + ["commit"] * commits
    return {name: getattr(timeline, name)[:, session].tolist() for name in names}


@settings(max_examples=150, deadline=None)
@given(scenarios())
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
