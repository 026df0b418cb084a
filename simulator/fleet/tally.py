"""Counting a run of a fleet from the end of its warm-up, and the result that comes of it.

Source: CHOICE (WS-FLEET-8, WS-FLEET-9).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import attrs
import numpy as np

from simulator.fleet.figures import BLOCK_LENGTHS, Clusters, Latencies, Share
from simulator.fleet.limits import Limits
from simulator.fleet.scenario import Fleet
from simulator.fleet.times import Ints
from spec import clock

COUNTS: Final = ("arrived", "admitted", "rejected", "ended", "cut")


@attrs.frozen(kw_only=True, eq=False)
class Round:
    """What one round did, and the state of all pairs once sessions were let in (WS-FLEET-2).

    ``admitted``: numbers of the arrivals let in; ``waits``: for how many rounds each of them
    waited. ``waiting``: how many still do. ``sessions``, ``history``: int64 [pairs].
    """

    number: int
    arrived: int
    admitted: Ints
    waits: Ints
    rejected: int
    ended: int
    cut: int
    waiting: int
    sessions: Ints
    history: Ints

    @property
    def counts(self) -> dict[str, int]:
        """Sessions that went each way, by the names of `COUNTS`."""
        return {
            name: len(self.admitted) if name == "admitted" else getattr(self, name)
            for name in COUNTS
        }


@attrs.frozen(kw_only=True, eq=False)
class FleetResult:
    """A run, counted from the end of its warm-up (WS-FLEET-8, WS-FLEET-9).

    ``at_start``, ``at_end``: sessions on pairs; ``waiting_at_...``: not yet let in. ``waited``: of
    those let in, how many waited, and ``wait_ns`` for how long together. ``session_units``: units
    served. ``within_p99``: share of units within the time promised for 99 %. ``*_busy``: share of
    all pairs' time in which that side worked.
    """

    pairs: int
    limits: Limits
    rounds: int
    at_start: int
    at_end: int
    waiting_at_start: int
    waiting_at_end: int
    arrived: int
    admitted: int
    rejected: int
    ended: int
    cut: int
    waited: int
    wait_ns: int
    session_units: int
    on_time: Share
    within_p99: Share
    blocking: Share
    latencies: Latencies
    peak_memory_bytes: int
    mean_memory_bytes: int
    thinker_busy: Fraction
    performer_busy: Fraction
    sha256: str


class Tally:
    """The counts of one run so far (WS-FLEET-8)."""

    def __init__(self, fleet: Fleet, limits: Limits, pairs: int) -> None:
        self._fleet, self._limits, self._pairs = fleet, limits, pairs
        self._counts = dict.fromkeys(COUNTS, 0)
        self._latencies = Latencies()
        self._waited, self._wait_rounds = 0, 0
        self._peak, self._memory_sum, self._units = 0, 0, 0
        # What all pairs have in common, as a burst, leaves them no clusters of their own.
        groups = pairs if fleet.arrivals.kind == "poisson" else 1
        self._on_time, self._within_p99, self._refused = (Clusters(n) for n in (groups, groups, 1))
        block = BLOCK_LENGTHS * clock.units_covering_ns(fleet.lengths.mean_ns)
        blocks = max(fleet.rounds // block, 1)
        # A block that would be shorter is part of the one before it.
        self._ends = {block * n for n in range(1, blocks)} | {fleet.rounds}

    def add_round(self, done: Round) -> None:
        """Count a round."""
        for name, count in done.counts.items():
            self._counts[name] += count
        self._refused.add(done.rejected, done.arrived)
        if self._ends_block(done.number):
            self._refused.end_block()
        self._waited += int((done.waits > 0).sum())
        self._wait_rounds += int(done.waits.sum())
        used = self._limits.bytes_used(done.sessions, done.history + done.sessions)
        self._peak = max(self._peak, int(used.max()))
        self._memory_sum += int(used.sum())

    def add_responses(self, number: int, latency_ns: Ints, units: Ints) -> None:
        """Count the responses to ``units`` units of round ``number`` on each pair."""
        served, slo = units > 0, self._fleet.slo
        self._latencies.add(latency_ns[served], units[served])
        self._units += int(units.sum())
        for clusters, most in (
            (self._on_time, slo.deadline_ns),
            (self._within_p99, slo.p99_ns),
        ):
            clusters.add(np.where(latency_ns <= most, units, 0), units)
            if self._ends_block(number):
                clusters.end_block()

    def _ends_block(self, number: int) -> bool:
        return number - self._fleet.warmup_rounds + 1 in self._ends

    def result(
        self,
        *,
        start: tuple[int, int],
        end: tuple[int, int],
        busy_ns: tuple[int, int],
        sha256: str,
    ) -> FleetResult:
        """The whole run.

        Args:
            start, end: sessions on pairs and waiting, as counting started and ended.
            busy_ns: of all thinkers and of all performers while it was counted.
            sha256: of what happened.
        """
        rounds = self._fleet.rounds
        time = self._pairs * rounds * clock.UNIT_NS
        return FleetResult(
            pairs=self._pairs,
            limits=self._limits,
            rounds=rounds,
            at_start=start[0],
            at_end=end[0],
            waiting_at_start=start[1],
            waiting_at_end=end[1],
            **self._counts,
            waited=self._waited,
            wait_ns=self._wait_rounds * clock.UNIT_NS,
            session_units=self._units,
            on_time=self._on_time.share(),
            within_p99=self._within_p99.share(),
            blocking=self._refused.share(),
            latencies=self._latencies,
            peak_memory_bytes=self._peak,
            mean_memory_bytes=self._memory_sum // (self._pairs * rounds),
            thinker_busy=Fraction(busy_ns[0], time),
            performer_busy=Fraction(busy_ns[1], time),
            sha256=sha256,
        )
