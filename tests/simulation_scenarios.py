"""Random scenarios for the tests of the simulator."""

from __future__ import annotations

from hypothesis import strategies as st

from simulator.link import Network
from simulator.scenario import Scenario, StageModels, ThinkerMode
from simulator.stage_models import Constant, StageModel, Uniform
from spec.latency import Handover
from spec.sizes import Schedule

MS = 1_000_000

times = st.integers(0, 200 * MS) | st.integers(0, 4).map(lambda n: n * 40 * MS)
# Equal times and whole units make many things happen at one instant.
models: st.SearchStrategy[StageModel] = st.builds(
    lambda a, b: Uniform(low_ns=min(a, b), high_ns=max(a, b)), times, times
) | times.map(lambda ns: Constant(ns=ns))
schedules: st.SearchStrategy[Schedule] = st.sampled_from(["overlapped", "sequential"])
handovers: st.SearchStrategy[Handover] = st.sampled_from(["boundary", "eager"])
thinkers: st.SearchStrategy[ThinkerMode] = st.sampled_from(["one-stream", "separate-streams"])


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Any schedule, hand-over and streams; stages that are constant or drawn."""
    schedule = draw(schedules)
    names = ["encode", "update", "comm", "solve", "back", "decode"]
    stages = {name: draw(models) for name in names + ["commit"] * (schedule == "overlapped")}
    return Scenario(
        name="random",
        schedule=schedule,
        handover=draw(handovers),
        thinker=draw(thinkers),
        stages=StageModels(**stages),
        network=Network(up=draw(models), down=draw(models)),
        units=draw(st.integers(1, 40)),
        sessions=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1000)),
    )


def chooses(scenario: Scenario) -> bool:
    """Eager return on one stream: the order of stages depends on their times."""
    return (scenario.thinker, scenario.handover) == ("one-stream", "eager")
