"""Three engines, one pipeline: events, recurrences, and a model in SimPy that shares no code."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import attrs
import numpy as np
import pytest
import simpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.durations import Durations, draw
from simulator.link import Network
from simulator.maxplus import run_maxplus
from simulator.scenario import Scenario, StageModels, ThinkerMode
from simulator.stage_models import Constant, Uniform
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
