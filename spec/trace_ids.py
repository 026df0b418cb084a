"""The numbers that a process gives its events: each once, and at the end none missing.

Source: WS-TRACE-5 (CHOICE).
"""

from __future__ import annotations

import bisect
from typing import Final

import attrs

from spec.trace import Source, TraceError

RUNS: Final = 1_048_576
"""Runs of numbers that may be apart at one time: one a session is natural, more is hostile."""


@attrs.define
class Ids:
    """The numbers of one process that are used, as runs without a gap (WS-TRACE-5).

    ``next`` ends the first run, from 0; ``others`` are the first numbers of the runs after it, in
    order, and ``ends`` says where each of those ends. Runs that meet become one, so a process that
    counts takes no memory, and one that counts session by session a run a session.
    ``last`` is the source of its newest event.
    """

    next: int = 0
    others: list[int] = attrs.field(factory=list)
    ends: dict[int, int] = attrs.field(factory=dict)
    starts: dict[int, int] = attrs.field(factory=dict)
    last: Source = ("", "", "")

    def take(self, number: int) -> bool:
        """Use a number; false if it was used before.

        Raises:
            TraceError: too many runs.
        """
        first = self.starts.pop(number, None)
        if first is None and number != self.next:
            if self.used(number):
                return False
            if len(self.others) == RUNS:
                raise TraceError("ids", f"{RUNS + 1} numbers missing at once", f"at most {RUNS}")
            bisect.insort(self.others, number)
            first = number
        end = number + 1
        if end in self.ends:
            after = end
            end = self.ends.pop(after)
            del self.starts[end]
            del self.others[bisect.bisect_left(self.others, after)]
        if first is None:
            self.next = end
        else:
            self.ends[first], self.starts[end] = end, first
        return True

    def used(self, number: int) -> bool:
        """Some event has it."""
        place = bisect.bisect_right(self.others, number)
        return number < self.next or (place > 0 and number < self.ends[self.others[place - 1]])

    @property
    def missing(self) -> int | None:
        """The first number that no event has, though a later one exists; None if there is none."""
        return self.next if self.others else None
