"""Which session is on which pair: letting in, ending, and cutting where memory runs out.

A pair is two numbers: how many sessions it has, and the sum of the rounds in which they started;
its history in round r is sessions · r - starts. Source: CHOICE (WS-FLEET-5, WS-FLEET-6).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.fleet.limits import Limits
from simulator.fleet.scenario import Fleet
from simulator.fleet.times import Ints
from simulator.random_streams import RandomStream, share
from spec import clock

Mask = npt.NDArray[np.bool_]

NEVER: Final = np.iinfo(np.int64).max
"""End of a row that holds no session."""


class Occupancy:
    """The sessions of every pair (WS-FLEET-6)."""

    def __init__(self, fleet: Fleet, limits: Limits, pairs: int) -> None:
        self._fleet, self._limits, self._pairs = fleet, limits, pairs
        self._choices = RandomStream(seed=fleet.seed, component="fleet/placement")
        self._headroom = clock.units_covering_ns(fleet.admission.headroom_ns)
        # One session more than the most has no room, whatever the history.
        self._together = np.append(limits.together, -1)
        self.sessions = np.zeros(pairs, np.int64)
        """Sessions of each pair: int64 [pairs]."""
        self._starts = np.zeros(pairs, np.int64)
        self._end = np.full(1024, NEVER, np.int64)
        self._start = np.full(1024, NEVER, np.int64)
        self._number, self._pair = np.zeros(1024, np.int64), np.zeros(1024, np.int64)
        self._unused = np.arange(1024)[::-1]

    def history(self, round_: int) -> Ints:
        """Units that each pair has served of its sessions of now: int64 [pairs]."""
        return self.sessions * round_ - self._starts

    def first_units(self, round_: int) -> Ints:
        """Sessions of each pair that start in ``round_``: int64 [pairs]."""
        return np.bincount(self._pair[self._start == round_], minlength=self._pairs)

    def end(self, round_: int) -> int:
        """Let go the sessions that are over by ``round_``; how many."""
        rows = np.flatnonzero(self._end == round_)
        self._remove(rows)
        return len(rows)

    def let_in(self, numbers: Ints, units: Ints, round_: int, served: Ints | None = None) -> Mask:
        """Give sessions a pair, in their order; True where there was room (WS-FLEET-6).

        Args:
            numbers: of the sessions.
            units: how many each stays from now on.
            round_: in which they start.
            served: units that they have had before; none if left out.
        """
        start, end = np.full(len(numbers), round_, np.int64), round_ + units
        if served is not None:
            start -= served
        if self._fleet.admission.placement == "random":
            return self._by_lot(numbers, start, end, round_)
        done = 0
        while done < len(numbers) and len(pairs := self._least_loaded(round_)):
            some = slice(done, done + len(pairs))
            pairs = pairs[: len(numbers) - done]
            self._add(pairs, numbers[some], start[some], end[some])
            done += len(pairs)
        return np.arange(len(numbers)) < done

    def _by_lot(self, numbers: Ints, start: Ints, end: Ints, round_: int) -> Mask:
        """Each session asks the one pair that its number chose."""
        admitted = np.zeros(len(numbers), bool)
        if not len(numbers):
            return admitted
        first = int(numbers.min())
        drawn = self._choices.words(first, int(numbers.max()) - first + 1)[numbers - first]
        chosen, asking = share(drawn, self._pairs), np.arange(len(numbers))
        while len(asking):
            # Different pairs do not matter to one another: the first at each asks now.
            _, heads = np.unique(chosen[asking], return_index=True)
            head = asking[heads]
            fits = head[self._room(round_, chosen[head])]
            self._add(chosen[fits], numbers[fits], start[fits], end[fits])
            admitted[fits] = True
            asking = np.delete(asking, heads)
        return admitted

    def cut(self, round_: int) -> int:
        """End the oldest sessions of pairs whose caches no longer fit after ``round_``; how many
        (WS-FLEET-5)."""
        total = 0
        while len(over := np.flatnonzero(self._too_large(round_))):
            is_over = np.zeros(self._pairs, bool)
            is_over[over] = True
            rows = np.flatnonzero((self._end != NEVER) & is_over[self._pair])
            order = np.lexsort((self._number[rows], self._start[rows], self._pair[rows]))
            _, first = np.unique(self._pair[rows[order]], return_index=True)
            self._remove(rows[order[first]])
            total += len(first)
        return total

    def _too_large(self, round_: int) -> Mask:
        after = self.history(round_) + self.sessions
        return after > self._limits.by_memory[self.sessions]

    def _least_loaded(self, round_: int) -> Ints:
        """The pairs with room that have the fewest sessions, by number."""
        with_room = np.where(self._room(round_), self.sessions, NEVER)
        fewest = with_room.min()
        return np.flatnonzero((with_room == fewest) & (fewest < NEVER))

    def _room(self, round_: int, pairs: Ints | slice = slice(None)) -> Mask:
        """True where one session more fits (WS-FLEET-5)."""
        sessions = self.sessions[pairs]
        if self._fleet.admission.memory == "longest":
            return sessions < self._limits.places
        history = sessions * round_ - self._starts[pairs]
        return history + (sessions + 1) * self._headroom <= self._together[sessions + 1]

    def _add(self, pairs: Ints, numbers: Ints, start: Ints, end: Ints) -> None:
        """Put one session each on different pairs."""
        while len(self._unused) < len(pairs):
            self._grow()
        rows, self._unused = self._unused[: len(pairs)], self._unused[len(pairs) :]
        self._end[rows], self._start[rows] = end, start
        self._number[rows], self._pair[rows] = numbers, pairs
        self.sessions[pairs] += 1
        self._starts[pairs] += start

    def _remove(self, rows: Ints) -> None:
        pairs = self._pair[rows]
        np.subtract.at(self.sessions, pairs, 1)
        np.subtract.at(self._starts, pairs, self._start[rows])
        self._end[rows] = self._start[rows] = NEVER
        self._unused = np.concatenate((rows, self._unused))

    def _grow(self) -> None:
        """Twice as many rows."""
        size = len(self._end)
        self._end, self._start = (
            np.concatenate((old, np.full(size, NEVER))) for old in (self._end, self._start)
        )
        self._number, self._pair = (
            np.concatenate((old, np.zeros(size, np.int64))) for old in (self._number, self._pair)
        )
        self._unused = np.concatenate((self._unused, np.arange(size, 2 * size)))
