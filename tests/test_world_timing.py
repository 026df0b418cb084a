"""Sessions on the real exchange machines, nothing going wrong: the times of the timing model."""

from __future__ import annotations

import gc
import io
import tracemalloc
from collections import Counter, defaultdict

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation_scenarios import MS, scenarios

from simulator.scenario import Scenario, StageModels
from simulator.stage_models import Constant
from simulator.timing import run_events
from simulator.world import thinker as world_thinker
from simulator.world import times as world_times
from simulator.world.run import Setup, run_world
from simulator.world.trace import Recorder
from spec.exchange_events import Event
from spec.trace import Kind, TraceEvent
from spec.trace_check import check_trace
from spec.trace_reading import read_trace

PLAIN = Scenario(
    name="plain",
    stages=StageModels(
        encode=Constant(ns=20 * MS),
        update=Constant(ns=20 * MS),
        comm=Constant(ns=5 * MS),
        solve=Constant(ns=110 * MS),
        back=Constant(ns=5 * MS),
        decode=Constant(ns=30 * MS),
        commit=Constant(ns=7 * MS),
    ),
)

STAGE_KINDS = (Kind.OBSERVE, Kind.UPDATE, Kind.SOLVE, Kind.DECODE, Kind.COMMIT)


def traced(setup: Setup) -> list[TraceEvent]:
    """The trace of a run in which nothing is wrong."""
    file = io.StringIO()
    report = run_world(setup, Recorder(file))
    assert report.violations == ()
    assert all(session.outcome == "finished" for session in report.sessions)
    file.seek(0)
    return list(read_trace(file))


@settings(max_examples=40)
@given(scenarios(), st.integers(1, 2))
def test_every_stage_begins_when_the_timing_model_says(scenario: Scenario, parts: int) -> None:
    """WS-FAULTS-3: to the nanosecond, in every session, however slices are cut."""
    timeline = run_events(scenario)
    starts = defaultdict[tuple[str, Kind], list[int]](list)
    events = traced(Setup(scenario=scenario, parts=parts))
    for event in events:
        starts[event.session, event.kind].append(event.t_ns)
    assert check_trace(events).clean
    tables = (timeline.encode, timeline.update, timeline.solve, timeline.decode, timeline.commit)
    for kind, table in zip(STAGE_KINDS[: 4 + scenario.lag], tables, strict=False):
        for session in range(scenario.sessions):
            expected = table[:, session].tolist()
            assert starts[f"s{session}", kind] == expected, (kind, session)


@settings(max_examples=15)
@given(scenarios())
def test_nothing_is_sent_twice_without_faults(scenario: Scenario) -> None:
    """WS-FAULTS-3: nor asked for again, or resent by an impatient timer."""
    events = traced(Setup(scenario=scenario))
    sent = Counter(
        (event.process, event.session, event.unit, event.detail["kind"])
        for event in events
        if event.kind is Kind.SEND and "kind" in event.detail
    )
    assert set(sent.values()) == {1}
    assert sent["thinker", "s0", 0, "Header"] == sent["performer", "s0", 0, "Latents"] == 1
    # An acknowledgement may be overtaken by the latents that it announces.
    dropped = {event.detail["event"] for event in events if event.kind is Kind.DROP}
    assert dropped <= {Event.ACK_LATE.value}


def test_a_long_session_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-3: a streamed run holds the present only, a block of times and a few causes."""
    monkeypatch.setattr(world_times, "BLOCK", 32)
    monkeypatch.setattr(world_thinker, "KEPT_CAUSES", 8)
    held = list[int]()

    class Nowhere:
        def write(self, _text: str, /) -> None:
            pass

    class Measured(Recorder):
        def end(self, session: str, t_ns: int) -> str:
            # What is free for the interpreter to use again is not held.
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
            return super().end(session, t_ns)

    def peak(units: int) -> int:
        tracemalloc.start()
        run_world(Setup(scenario=attrs.evolve(PLAIN, units=units)), Measured(Nowhere()))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The first run fills what functions remember of former calls. A unit that was kept, as one
    # record of its own, would come to more than 200 bytes.
    peak(400)
    short, long = peak(100), peak(400)
    assert long < short + 300 * 200
    # As the last unit is out, a name kept of every unit would come to more than 16 bytes.
    assert held[-1] < held[-2] + 300 * 16


def test_the_closed_form_comes_out() -> None:
    """WS-FAULTS-3 and WS-LATENCY-4: T + e + u + c + d at boundaries."""
    report = run_world(Setup(scenario=attrs.evolve(PLAIN, units=50)))
    (latency, units), (last, _) = report.sessions[0].latencies.most_common(2)
    assert (latency, units) == (160 + 20 + 20 + 5 + 30, 49)
    assert last < latency
    assert not report.marks.keys() & set(Event)


def test_the_timing_model_has_other_times_for_other_stages() -> None:
    """WS-FAULTS-3: equality above is not equality of two constants."""
    slower = attrs.evolve(PLAIN, stages=attrs.evolve(PLAIN.stages, decode=Constant(ns=31 * MS)))
    assert not np.array_equal(run_events(PLAIN).decoded, run_events(slower).decoded)
