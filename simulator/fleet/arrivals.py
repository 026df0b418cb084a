"""Who comes to a fleet and how long they stay, round by round; and who is there at the start.

Arrivals are points of one unit-rate Poisson process, mapped through the rate that a round has. So
two runs with the same seed share their sessions: session i has the same length in both, and more
load only brings it earlier. Source: CHOICE (WS-FLEET-7).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np

from simulator.fleet.random import QUANTILES, drawn, exponential_gaps, length_units
from simulator.fleet.scenario import Arrivals, Fleet
from simulator.fleet.times import Ints
from simulator.random_streams import RandomStream, share
from spec import clock

CHUNK: Final = 1 << 16
"""Gaps drawn at a time."""

CHANCE_ONE: Final = 1 << 32
"""Resolution of the probability that an idle user comes in a round."""

FACTOR_ONE: Final = 1 << 20
"""Resolution of a round's rate relative to the mean rate."""


class ArrivalProcess:
    """Arrivals of one run, taken round by round (WS-FLEET-7)."""

    def __init__(self, fleet: Fleet) -> None:
        gaps, lengths = exponential_gaps(), length_units(fleet.lengths)
        self._gaps, self._lengths = gaps, lengths
        self._gap_stream = RandomStream(seed=fleet.seed, component="fleet/gaps")
        self._length_stream = RandomStream(seed=fleet.seed, component="fleet/lengths")
        self._factor = Rate(fleet.arrivals, fleet.seed)
        # Little: sessions = arrivals a round · mean length, with the tables' own means.
        mean_length = Fraction(int(lengths.sum()), QUANTILES)
        mean_gap = Fraction(int(gaps.sum()), QUANTILES)
        self._rate = round(fleet.arrivals.sessions / mean_length * mean_gap)
        self._users = fleet.arrivals.users
        if self._users:
            self._chance = round(CHANCE_ONE * fleet.arrivals.load_per_idle_user / mean_length)
        self._points = np.zeros(0, np.int64)
        self._next_gap, self._last_point, self._until = 0, 0, 0
        self.first = 0
        """Number of the next session."""

    def take(self, round_: int, present: int) -> int:
        """How many sessions come in round ``round_``, called for 0, 1, ... in turn: sessions
        ``first``, ... of before the call. ``present``: sessions there or waiting, which matter to a
        closed crowd only."""
        count = self._of_users(round_, present) if self._users else self._of_rate(round_)
        self.first += count
        return count

    def _of_users(self, round_: int, present: int) -> int:
        """Each of the idle users comes with the same probability."""
        words = self._gap_stream.words(round_ * self._users, max(self._users - present, 0))
        return int((share(words, CHANCE_ONE) < self._chance).sum())

    def _of_rate(self, round_: int) -> int:
        """Points of the unit-rate process up to what the rate has come to."""
        self._until += self._rate * self._factor.of(round_) >> 20
        while self._last_point <= self._until:
            words = self._gap_stream.words(self._next_gap, CHUNK)
            points = self._last_point + np.cumsum(drawn(self._gaps, words))
            self._points = np.concatenate((self._points, points))
            self._next_gap, self._last_point = self._next_gap + CHUNK, int(points[-1])
        count = int(np.searchsorted(self._points, self._until, side="right"))
        self._points = self._points[count:]
        return count

    def lengths(self, first: int, count: int) -> Ints:
        """Lengths of sessions ``first``, ... in units: int64 [count]."""
        return drawn(self._lengths, self._length_stream.words(first, count))


class Rate:
    """A round's rate relative to the mean one, in units of 1 / `FACTOR_ONE` (WS-FLEET-7)."""

    def __init__(self, arrivals: Arrivals, seed: int) -> None:
        self._arrivals = arrivals
        self._stream = RandomStream(seed=seed, component="fleet/bursts")
        self._phase, self._phase_end = -1, 0
        calm, burst, height = arrivals.calm_ns, arrivals.burst_ns, arrivals.burst_factor
        if arrivals.kind == "bursty":
            # Mean 1 over calm and burst, weighted by their mean lengths.
            low = Fraction(calm + burst) / (calm + burst * height)
            self._levels = (round(low * FACTOR_ONE), round(low * height * FACTOR_ONE))

    def of(self, round_: int) -> int:
        """The factor of ``round_``, called for 0, 1, ... in turn."""
        arrivals = self._arrivals
        if arrivals.kind in ("poisson", "users"):
            return FACTOR_ONE
        if arrivals.kind == "diurnal":
            turn = round_ * clock.UNIT_NS % arrivals.period_ns / arrivals.period_ns
            return round(FACTOR_ONE * (1 + float(arrivals.swing) * math.sin(2 * math.pi * turn)))
        while round_ >= self._phase_end:
            self._phase += 1
            mean = (arrivals.calm_ns, arrivals.burst_ns)[self._phase % 2]
            gap = int(drawn(exponential_gaps(), self._stream.words(self._phase, 1))[0])
            self._phase_end += max(1, mean * gap // (clock.UNIT_NS << 24))
        return self._levels[self._phase % 2]


def already_there(fleet: Fleet, count: int) -> tuple[Ints, Ints]:
    """Units served and units to come of ``count`` sessions found in a fleet that has run for long:
    the length of a session found so is drawn in proportion to it, its age evenly (WS-FLEET-7)."""
    values = length_units(fleet.lengths)
    words = RandomStream(seed=fleet.seed, component="fleet/present").words(0, 2 * count)
    ends = np.cumsum(values)
    total, ages = int(ends[-1]), words[count:]
    found = values[np.searchsorted(ends, share(words[:count], total), side="right")]
    served = share(ages, found.astype(np.uint64))
    return served, found - served
