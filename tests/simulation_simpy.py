"""The pipeline in SimPy, written from the clause (WS-SIMULATION-5) and sharing no code with it.

Each stage of each unit is a process that waits for its conditions, then for its stream.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import simpy
from simpy.events import EventPriority

from simulator.durations import Durations
from simulator.scenario import Scenario

LAST = EventPriority(2)
"""After the urgent (0) and the normal (1) events of an instant."""

PRIORITY = {"update": 0, "decode": 1, "commit": 2, "encode": 3, "solve": 0}

Starts = dict[str, list[int]]


class Stream:
    """Serves one stage at a time: of those that ask at an instant, the most urgent."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.waiting: list[tuple[int, int, simpy.Event]] = []
        self.busy = False

    def ask(self, stage: str, k: int) -> simpy.Event:
        """An event that comes when the stage may begin."""
        granted = self.env.event()
        self.waiting.append((PRIORITY[stage], k, granted))
        self.choose_last()
        return granted

    def leave(self) -> None:
        self.busy = False
        self.choose_last()

    def choose_last(self) -> None:
        """Choose once everything else of this instant has happened."""
        choice = simpy.Event(self.env)
        choice._ok, choice._value = True, None
        choice.callbacks = [self.choose]
        self.env.schedule(choice, priority=LAST)

    def choose(self, _: simpy.Event) -> None:
        if self.waiting and not self.busy:
            self.busy = True
            first = min(self.waiting, key=lambda entry: entry[:2])
            self.waiting.remove(first)
            first[2].succeed()


class SimpyPipeline:
    """One session; `run` gives the start of every stage of every unit."""

    def __init__(self, scenario: Scenario, durations: Durations, session: int) -> None:
        self.env = simpy.Environment()
        self.scenario, self.durations, self.session = scenario, durations, session
        self.units = durations.units
        self.one_stream = scenario.thinker == "one-stream"
        self.overlapped = scenario.schedule == "overlapped"
        self.at_boundary = scenario.handover == "boundary"
        stages = ["encode", "update", "solve", "decode"] + ["commit"] * self.overlapped
        self.starts: Starts = {stage: [-1] * self.units for stage in stages}
        self.begun = {(stage, k): self.env.event() for stage in stages for k in range(self.units)}
        self.ended = {(stage, k): self.env.event() for stage in stages for k in range(self.units)}
        self.arrived = [self.env.event() for _ in range(self.units + 1)]
        streams = {"encode": 0, "update": 1, "commit": 1, "decode": 2, "solve": 3}
        served = [Stream(self.env) for _ in range(4)]
        self.stream = {
            stage: served[0 if self.one_stream and stream < 3 else stream]
            for stage, stream in streams.items()
        }

    def length(self, stage: str, k: int) -> int:
        """How long the stage occupies its stream: with what it sends."""
        names = {"update": ("update", "comm"), "solve": ("solve", "back")}.get(stage, (stage,))
        return sum(int(getattr(self.durations, name)[k, self.session]) for name in names)

    def conditions(self, stage: str, k: int) -> Iterator[simpy.Event]:
        """What the stage of unit k waits for, beside its stream."""
        if k > 0:
            yield self.ended[stage, k - 1]
        boundary = self.ended["update", k + 1] if k + 1 < self.units else self.arrived[k + 1]
        strict = self.one_stream and self.at_boundary
        match stage:
            case "encode":
                yield self.arrived[k]
                if k >= 3:
                    yield self.begun["decode", k - 3]
                if strict and k >= 2:
                    yield self.ended["decode", k - 2]
                    if self.overlapped:
                        yield self.ended["commit", k - 2]
            case "update":
                yield self.ended["encode", k]
                if self.overlapped and k >= 2:
                    yield self.ended["commit", k - 2]
                if not self.overlapped and k >= 1:
                    yield self.ended["solve", k - 1]
            case "solve":
                yield self.ended["update", k]
            case "decode":
                yield self.ended["solve", k]
                if self.at_boundary:
                    yield boundary
                if strict and self.overlapped and k >= 1:
                    yield self.ended["commit", k - 1]
            case "commit":
                yield self.ended["solve", k]
                yield boundary

    def run_stage(self, stage: str, k: int) -> Generator[simpy.Event, Any, None]:
        yield self.env.all_of(list(self.conditions(stage, k)))
        yield self.stream[stage].ask(stage, k)
        self.starts[stage][k] = int(self.env.now)
        self.begun[stage, k].succeed()
        yield self.env.timeout(self.length(stage, k))
        self.ended[stage, k].succeed()
        self.stream[stage].leave()

    def run_arrivals(self) -> Generator[simpy.Event, Any, None]:
        for k, event in enumerate(self.arrived):
            at = int(self.durations.arrive[k, self.session])
            yield self.env.timeout(at - int(self.env.now))
            event.succeed()

    def run(self) -> Starts:
        self.env.process(self.run_arrivals())
        for stage in self.starts:
            for k in range(self.units):
                self.env.process(self.run_stage(stage, k))
        self.env.run()
        return self.starts
