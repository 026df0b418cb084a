"""A queue of events in virtual time: integer ns, and one total order of what happens at once.

An event is due at (time, priority, number): the lowest goes first, and the number, counted up as
events are scheduled, decides among equals. So a run depends on nothing but its inputs.
Source: CHOICE (design §13).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

A = TypeVar("A")


class EventQueue(Generic[A]):
    """Virtual time and what is due in it (WS-SIMULATION-7).

    ``now``: time of the event that runs, in ns. An action is called with its argument and may
    schedule others, at ``now`` or later.
    """

    def __init__(self) -> None:
        self.now = 0
        self._due: list[tuple[int, int, int, Callable[[A], None], A]] = []
        self._count = 0

    def schedule(
        self, at_ns: int, action: Callable[[A], None], argument: A, priority: int = 0
    ) -> None:
        """Call ``action(argument)`` at ``at_ns``; among events of one instant the lowest priority
        first, then in the order of scheduling (WS-SIMULATION-7)."""
        assert at_ns >= self.now, "an event in the past"
        heapq.heappush(self._due, (at_ns, priority, self._count, action, argument))
        self._count += 1

    def run(self, until_ns: int | None = None) -> int:
        """Run what is due, up to and including ``until_ns``, or until nothing is due; returns how
        many events ran."""
        due, pop, before = self._due, heapq.heappop, self._count - len(self._due)
        while due and (until_ns is None or due[0][0] <= until_ns):
            self.now, _, _, action, argument = pop(due)
            action(argument)
        return self._count - len(due) - before
