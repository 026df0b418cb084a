"""What a response really waited for: its critical path, and what time off a stage is worth.

A stage begins the moment the last thing it waited for ends. Following that backwards, from a
decoding to the arrival of a user unit, gives the critical path. How often a stage stands on it is
how much the latency falls, for each unit of time that the stage gets shorter, until another path
becomes the longest. Source: DERIVED from WS-SIMULATION-5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs
import numpy as np

from simulator.durations import Durations
from simulator.maxplus import run_maxplus
from simulator.scenario import STAGES, Scenario
from simulator.timeline import Timeline, cycle_ns
from simulator.timing import IN_WORK

Node = tuple[str, int]
"""A stage of a unit: "arrive", "encode", "update", "solve", "decode" or "commit", and the unit."""

PASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "arrive": (),
    "encode": ("encode",),
    "update": ("update", "comm"),
    "solve": ("solve", "back"),
    "decode": ("decode",),
    "commit": ("commit",),
}
"""The durations that a node takes: sending belongs to what is sent."""

LOOP: Final = ("encode", "update", "solve", "decode", "commit")


@attrs.frozen(kw_only=True)
class Step:
    """One node of a critical path, with the span that it takes, in ns (WS-SIMULATION-11)."""

    stage: str
    unit: int
    start_ns: int
    end_ns: int


class PathFinder:
    """The critical paths of one session of a run (WS-SIMULATION-11).

    Args:
        scenario: what was run.
        timeline: how it went.
        session: which of its sessions.
    """

    def __init__(self, scenario: Scenario, timeline: Timeline, session: int = 0) -> None:
        self._scenario = scenario
        self._overlapped = scenario.lag == 1
        self._boundary = scenario.handover == "boundary"
        times = timeline.durations
        self._units = times.units
        stages = ["encode", "update", "solve", "decode"] + ["commit"] * self._overlapped
        self.starts: dict[str, list[int]] = {
            stage: getattr(timeline, stage)[:, session].tolist() for stage in stages
        }
        self.ends: dict[str, list[int]] = {
            stage: [
                start + sum(int(getattr(times, name)[k, session]) for name in PASSES[stage])
                for k, start in enumerate(self.starts[stage])
            ]
            for stage in stages
        }
        self.starts["arrive"] = self.ends["arrive"] = times.arrive[:, session].tolist()
        self._before = dict(self._stream_order())

    def _stream_order(self) -> Iterator[tuple[Node, Node]]:
        """Each stage with the one before it on its stream."""
        one = ("encode", "update", "decode", "commit")
        separate = (("encode",), ("update", "commit"), ("decode",))
        streams = (one,) if self._scenario.thinker == "one-stream" else separate
        for stream in (*streams, ("solve",)):
            nodes = self.in_order(stream)
            yield from zip(nodes[1:], nodes[:-1], strict=True)

    def in_order(self, stages: Iterable[str]) -> list[Node]:
        """The nodes of some stages, each after all that it may have waited for."""
        nodes = [(s, k) for s in stages if s in self.starts for k in range(self._units)]
        return sorted(nodes, key=self._place)

    def _place(self, node: Node) -> tuple[int, int, int, int]:
        # Of what begins at one instant, what takes no time came first, in the order of the loop:
        # encode k, update k, solve k, decode k - 1, commit k - 1.
        stage, k = node
        later = stage in ("decode", "commit")
        return self.starts[stage][k], self.ends[stage][k], k + later, LOOP.index(stage)

    def _boundary_node(self, k: int) -> Node:
        return ("update", k) if k < self._units else ("arrive", k)

    def waited_for(self, node: Node) -> Iterator[Node]:
        """Everything a stage waited for, in a fixed order (WS-SIMULATION-5)."""
        stage, k = node
        if node in self._before:
            yield self._before[node]
        match stage:
            case "encode":
                yield ("arrive", k)
            case "update":
                yield ("encode", k)
                if self._overlapped and k >= 2:
                    yield ("commit", k - 2)
                if not self._overlapped and k >= 1:
                    yield ("solve", k - 1)
            case "solve":
                yield ("update", k)
            case "decode":
                yield ("solve", k)
                if self._boundary:
                    yield self._boundary_node(k + 1)
            case "commit":
                yield ("solve", k)
                yield self._boundary_node(k + 1)

    def last_of(self, node: Node) -> Iterator[Node]:
        """What a stage waited for last; more than one where several ended at one instant, none for
        an arrival."""
        stage, k = node
        if stage == "arrive":
            return
        start = self.starts[stage][k]
        for before in self.waited_for(node):
            if self.ends[before[0]][before[1]] == start:
                yield before
        # An encoder held back until decode k - 3 began waited for what that had waited for.
        held = stage == "encode" and k >= IN_WORK
        if held and self.starts["decode"][k - IN_WORK] == start:
            yield from self.last_of(("decode", k - IN_WORK))

    def path(self, unit: int) -> tuple[Step, ...]:
        """The critical path to the end of decoding response ``unit``, from the arrival that it goes
        back to (WS-SIMULATION-11)."""
        steps, node = list[Step](), ("decode", unit)
        while True:
            stage, k = node
            steps.append(
                Step(
                    stage=stage,
                    unit=k,
                    start_ns=self.starts[stage][k],
                    end_ns=self.ends[stage][k],
                )
            )
            before = next(self.last_of(node), None)
            if before is None:
                return tuple(reversed(steps))
            node = before

    def counts(self, stage: str) -> list[int]:
        """How often a stage must stand on a critical path to each decoding, the fewest where
        several paths are equally long: so many ns earlier the response comes for each ns that
        the stage gets shorter (WS-SIMULATION-11)."""
        at_end: dict[Node, int] = {("arrive", k): 0 for k in range(self._units + 1)}
        for node in self.in_order(LOOP):
            before = min(at_end[other] for other in self.last_of(node))
            at_end[node] = before + (stage in PASSES[node[0]])
        return [at_end["decode", k] for k in range(self._units)]


@attrs.frozen(kw_only=True)
class Sensitivity:
    """What a stage that is shorter by ``off_ns`` in every unit gives (WS-SIMULATION-11).

    ``cycle_ns``, ``latency_ns``: how much shorter the cycle becomes, and a unit's model-side
    latency, the median over all units.
    """

    stage: str
    off_ns: int
    cycle_ns: int
    latency_ns: int


def sensitivities(
    scenario: Scenario, timeline: Timeline, off_ns: int = 1_000_000
) -> tuple[Sensitivity, ...]:
    """What ``off_ns`` off each stage gives, found by running again (WS-SIMULATION-11)."""
    results = []
    for stage in STAGES:
        if not getattr(timeline.durations, stage).any():
            continue
        again = run_maxplus(scenario, shorter(timeline.durations, stage, off_ns))
        gained = np.sort(timeline.model_side - again.model_side, axis=None)
        results.append(
            Sensitivity(
                stage=stage,
                off_ns=off_ns,
                cycle_ns=int(cycle_ns(timeline).max() - cycle_ns(again).max()),
                latency_ns=int(gained[gained.size // 2]),
            )
        )
    return tuple(results)


def shorter(times: Durations, stage: str, off_ns: int) -> Durations:
    """The same durations with one stage shorter in every unit, never below 0."""
    return attrs.evolve(times, **{stage: np.maximum(getattr(times, stage) - off_ns, 0)})
