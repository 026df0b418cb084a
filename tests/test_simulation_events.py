"""The event queue: one total order, and virtual time that never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.durations import draw
from simulator.events import EventQueue
from simulator.scenario_reading import read_scenario
from simulator.timing import Pipeline

events = st.lists(st.tuples(st.integers(0, 20), st.integers(-2, 2)), max_size=30)


@given(events)
def test_events_run_by_time_then_priority_then_number(planned: list[tuple[int, int]]) -> None:
    """WS-SIMULATION-7: the order of scheduling decides among equals."""
    queue, ran = EventQueue[int](), list[tuple[int, int]]()
    for number, (at, priority) in enumerate(planned):
        queue.schedule(at, lambda n: ran.append((queue.now, n)), number, priority)
    assert queue.run() == len(planned)
    expected = sorted((at, priority, n) for n, (at, priority) in enumerate(planned))
    assert ran == [(at, n) for at, _, n in expected]


@given(events, st.integers(0, 20))
def test_a_run_may_stop_and_go_on(planned: list[tuple[int, int]], until: int) -> None:
    """WS-SIMULATION-7: up to and including an instant; the rest is still due."""
    queue, ran = EventQueue[int](), list[int]()
    for at, priority in planned:
        queue.schedule(at, ran.append, at, priority)
    early = sum(at <= until for at, _ in planned)
    assert queue.run(until) == early
    assert all(at <= until for at in ran)
    assert queue.run() == len(planned) - early
    assert ran == sorted(ran)


def test_an_event_may_bring_others_at_the_same_instant() -> None:
    """WS-SIMULATION-7: they come after what was due before them, by priority."""
    queue, ran = EventQueue[str](), list[str]()

    def first(name: str) -> None:
        ran.append(name)
        queue.schedule(queue.now, ran.append, "late", priority=1)
        queue.schedule(queue.now, ran.append, "soon")

    queue.schedule(5, first, "first")
    queue.schedule(5, ran.append, "second")
    queue.run()
    assert ran == ["first", "second", "soon", "late"]


def test_nothing_is_scheduled_into_the_past() -> None:
    """WS-SIMULATION-7: that would be a bug of ours."""
    queue = EventQueue[int]()
    queue.schedule(5, lambda _: queue.schedule(4, print, 0), 0)
    with pytest.raises(AssertionError, match="past"):
        queue.run()


def test_every_stage_is_an_event() -> None:
    """WS-SIMULATION-7: arrivals, and eight ends a unit: nothing is computed ahead of its time."""
    scenario = read_scenario("condition-not-enough")
    pipeline = Pipeline(scenario, draw(scenario))
    arrivals = scenario.units + 1
    # encode, update, send, solve, return, decode, commit
    assert pipeline.run() == arrivals + 7 * scenario.units
