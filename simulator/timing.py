"""The pipeline's timing on the event queue: who waits for what, and nothing about messages.

One session, one thinker, one performer. Every stage keeps the order of the units, so how many
units have begun or passed a stage is the whole state. When a stage may begin (WS-SIMULATION-5):

    encode k   unit k arrived, decode k-3 begun; one stream handing over at boundaries: z_{k-2}
               decoded, committed
    update k   unit k encoded, slice k-1 sent; overlapped: z_{k-2} committed, sequential: z_{k-1}
               returned
    solve k    slice k sent, z_{k-1} on its way back
    decode k   z_k returned, z_{k-1} decoded; at a boundary: slice k+1 sent, and on one stream
               z_{k-1} committed
    commit k   z_k returned, slice k+1 sent (overlapped only)

A stream that is free begins what may begin; on a common stream update goes before decode, decode
before commit, commit before encode. Source: DERIVED from design §8, §10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from simulator.durations import Durations, draw
from simulator.events import EventQueue
from simulator.scenario import Scenario
from simulator.timeline import Timeline

ENDED, CHOOSING = 0, 1
"""Priorities: everything that happens at an instant comes before the choice of what to begin."""

IN_WORK: Final = 3
"""At most so many units are encoded and not yet being decoded (WS-SIMULATION-5, WS-TRACE-11)."""


class Pipeline:
    """One session on an event queue (WS-SIMULATION-5, WS-SIMULATION-7).

    Args:
        scenario: schedule, hand-over and streams.
        durations: its times; ``session`` is the column that is used.
    """

    def __init__(self, scenario: Scenario, durations: Durations, session: int = 0) -> None:
        self._queue = EventQueue[int]()
        self._units = durations.units
        self._overlapped = scenario.lag == 1
        self._boundary = scenario.handover == "boundary"
        one_stream = scenario.thinker == "one-stream"
        # Boundary on one stream is a fixed order: the thinker does not run ahead of its decoder.
        self._strict = one_stream and self._boundary
        self._ahead_wakes = one_stream and not self._boundary
        self._encoder, self._updater, self._decoder = (0, 0, 0) if one_stream else (0, 1, 2)
        self._busy = [False, False, False]
        self._performer_busy = False
        self._waking = False

        def column(name: str) -> list[int]:
            times: list[int] = getattr(durations, name)[:, session].tolist()
            return times

        self._arrive = column("arrive")
        self._encode, self._update, self._comm = column("encode"), column("update"), column("comm")
        self._solve, self._back = column("solve"), column("back")
        self._decode, self._commit = column("decode"), column("commit")

        self._arrived = self._encoded = self._sent = self._returned = 0
        self._decoded = self._committed = 0
        self.encode_starts: list[int] = []
        self.update_starts: list[int] = []
        self.solve_starts: list[int] = []
        self.decode_starts: list[int] = []
        self.commit_starts: list[int] = []

    def run(self) -> int:
        """Run the session to its end; returns the number of events."""
        self._queue.schedule(self._arrive[0], self._on_arrival, 0)
        return self._queue.run()

    def _on_arrival(self, unit: int) -> None:
        """Unit ``unit`` is there; the one after the last is only a boundary."""
        self._arrived = unit + 1
        if unit < self._units:
            self._queue.schedule(self._arrive[unit + 1], self._on_arrival, unit + 1)
        self._wake()

    def _wake(self) -> None:
        if not self._ahead_wakes:
            self._begin(0)
        elif not self._waking and not self._busy[0]:
            self._waking = True
            self._queue.schedule(self._queue.now, self._begin, 0, CHOOSING)

    def _begin(self, _: int) -> None:
        """Begin every stage that may begin on a stream that is free."""
        self._waking = False
        busy, queue, now = self._busy, self._queue, self._queue.now
        if not busy[self._updater]:
            k = self._sent
            if self._encoded > k and (
                self._committed >= k - 1 if self._overlapped else self._returned >= k
            ):
                busy[self._updater] = True
                self.update_starts.append(now)
                queue.schedule(now + self._update[k], self._on_update, k)
        if not busy[self._decoder]:
            k = self._decoded
            if self._returned > k and not (
                (self._boundary and self._before_boundary(k + 1))
                or (self._strict and self._overlapped and self._committed < k)
            ):
                busy[self._decoder] = True
                self.decode_starts.append(now)
                queue.schedule(now + self._decode[k], self._on_decode, k)
        if not busy[self._updater] and self._overlapped:
            k = self._committed
            if self._returned > k and not self._before_boundary(k + 1):
                busy[self._updater] = True
                self.commit_starts.append(now)
                queue.schedule(now + self._commit[k], self._on_commit, k)
        if not busy[self._encoder]:
            k = self._encoded
            if self._arrived > k < self._units and not (
                (self._strict and self._unfinished(k - 2)) or len(self.decode_starts) <= k - IN_WORK
            ):
                busy[self._encoder] = True
                self.encode_starts.append(now)
                queue.schedule(now + self._encode[k], self._on_encode, k)

    def _before_boundary(self, k: int) -> bool:
        """True until slice k is sent; after the last unit, until unit k would have arrived."""
        return self._sent <= k if k < self._units else self._arrived <= k

    def _unfinished(self, k: int) -> bool:
        return self._decoded <= k or (self._overlapped and self._committed <= k)

    def _on_encode(self, unit: int) -> None:
        self._encoded = unit + 1
        self._busy[self._encoder] = False
        self._wake()

    def _on_update(self, unit: int) -> None:
        self._queue.schedule(self._queue.now + self._comm[unit], self._on_sent, unit)

    def _on_sent(self, unit: int) -> None:
        self._sent = unit + 1
        self._busy[self._updater] = False
        if not self._performer_busy:
            self._begin_solve(unit)
        self._wake()

    def _begin_solve(self, unit: int) -> None:
        self._performer_busy = True
        now = self._queue.now
        self.solve_starts.append(now)
        self._queue.schedule(now + self._solve[unit], self._on_solved, unit)

    def _on_solved(self, unit: int) -> None:
        self._queue.schedule(self._queue.now + self._back[unit], self._on_returned, unit)

    def _on_returned(self, unit: int) -> None:
        self._returned = unit + 1
        self._performer_busy = False
        if self._sent > unit + 1:
            self._begin_solve(unit + 1)
        self._wake()

    def _on_decode(self, unit: int) -> None:
        self._decoded = unit + 1
        self._busy[self._decoder] = False
        self._wake()

    def _on_commit(self, unit: int) -> None:
        self._committed = unit + 1
        self._busy[self._updater] = False
        self._wake()


def run_events(scenario: Scenario, durations: Durations | None = None) -> Timeline:
    """The timeline of every session of a scenario, one after the other, by events
    (WS-SIMULATION-5). ``durations``: drawn from the scenario if left out."""
    times = draw(scenario) if durations is None else durations
    pipelines = [Pipeline(scenario, times, session) for session in range(times.sessions)]
    for pipeline in pipelines:
        pipeline.run()

    def together(starts: Sequence[list[int]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.array(starts, np.int64).T

    solve = together([p.solve_starts for p in pipelines])
    return Timeline(
        durations=times,
        encode=together([p.encode_starts for p in pipelines]),
        update=together([p.update_starts for p in pipelines]),
        solve=solve,
        decode=together([p.decode_starts for p in pipelines]),
        commit=together([p.commit_starts for p in pipelines])
        if scenario.lag == 1
        else solve + times.solve + times.back,
    )
