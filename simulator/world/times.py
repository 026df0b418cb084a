"""The times of one session, a few units at a time, and how pauses and bursts stretch them.

The same numbers as `simulator.durations` draws for a whole run; here only a block of units is held,
so that a session of any length takes the same memory. Source: CHOICE (design §13).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from simulator.faults import Fault, FaultKind
from simulator.random_streams import keys
from simulator.scenario import STAGES, Scenario
from spec import clock

BLOCK: Final = 256
"""Units drawn at once."""


class SessionTimes:
    """Stage times and arrivals of session ``session`` of a scenario (WS-SIMULATION-5).

    Stage times may be asked for in any order that moves on by less than a block; arrivals one by
    one in order. A burst holds back what arrives within it.
    """

    def __init__(self, scenario: Scenario, session: int, faults: Iterable[Fault] = ()) -> None:
        self._models = {name: getattr(scenario.stages, name) for name in STAGES}
        self._keys = {name: keys(scenario.seed, name, 1, session) for name in STAGES}
        self._blocks: dict[tuple[str, int], list[int]] = {}
        self._up = scenario.network.up
        self._up_key = keys(scenario.seed, "network/up", 1, session)
        self._bursts = [fault for fault in faults if fault.kind is FaultKind.BURST]
        self._last_arrival = 0

    def stage(self, name: str, unit: int) -> int:
        """What the stage takes in this unit, in ns."""
        number, place = divmod(unit, BLOCK)
        block = self._blocks.get((name, number))
        if block is None:
            model, key = self._models[name], self._keys[name]
            block = model.times_ns(key, number * BLOCK, BLOCK)[0].tolist()
            self._blocks.pop((name, number - 2), None)
            self._blocks[name, number] = block
        return block[place]

    def arrival(self, unit: int) -> int:
        """When user unit ``unit`` reaches the thinker; to be called for 0, 1, 2, ... in turn."""
        number, place = divmod(unit, BLOCK)
        block = self._blocks.get(("up", number))
        if block is None:
            block = self._up.times_ns(self._up_key, number * BLOCK, BLOCK)[0].tolist()
            self._blocks.pop(("up", number - 1), None)
            self._blocks["up", number] = block
        at_ns = clock.unit_available_ns(unit) + block[place]
        for burst in self._bursts:
            if burst.at <= at_ns < burst.at + burst.amount:
                at_ns = burst.at + burst.amount
        self._last_arrival = max(self._last_arrival, at_ns)
        return self._last_arrival


class Pauses:
    """When one process stands still (WS-FAULTS-4): windows of time, joined where they overlap."""

    def __init__(self, windows: Iterable[tuple[int, int]]) -> None:
        self._windows: list[tuple[int, int]] = []
        for start, end in sorted(windows):
            if self._windows and start <= self._windows[-1][1]:
                before = self._windows.pop()
                self._windows.append((before[0], max(end, before[1])))
            else:
                self._windows.append((start, end))

    def __bool__(self) -> bool:
        return bool(self._windows)

    def awake(self, at_ns: int) -> int:
        """The first instant from ``at_ns`` on at which the process runs."""
        for start, end in self._windows:
            if start <= at_ns < end:
                return end
        return at_ns

    def done(self, start_ns: int, length_ns: int) -> int:
        """When work of ``length_ns`` that begins at ``start_ns`` is over."""
        at_ns = start_ns
        for start, end in self._windows:
            if end <= at_ns:
                continue
            if start >= at_ns + length_ns:
                break
            if start > at_ns:
                length_ns -= start - at_ns
            at_ns = end
        return at_ns + length_ns
