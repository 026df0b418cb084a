"""What the checker remembers of one session, and the invariants that it can judge alone.

The size of a session's memory does not grow with its length (WS-TRACE-15).
Source: design §8, §9, §10, §13 (CHOICE); decode once and in order is PAPER §2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from spec import clock
from spec.trace import Kind, Source, TraceError
from spec.trace_rows import Causes, Row

OBSERVE: Final = Kind.OBSERVE.value

CAUSES: Final = 4_096
"""So many newest events of its session, at least, may be the cause of an event (WS-TRACE-14)."""

WINDOW: Final = 2
"""Slices ahead of the latents where an append does not state it: 1 + λ at most (WS-TRACE-11)."""

GAPS: Final = 4_096
"""Runs of units given up that may be apart in one session: what lies between two is in work, so an
honest session has as many as its window, and more is hostile."""

Say = Callable[[int, Row, str], None]
"""Report a violation: number of the clause, the row, how it is broken."""


@attrs.define(kw_only=True)
class Session:
    """The invariants of one session; ``say`` takes what is broken.

    ``ends`` and ``older`` map the ids of recent events to their ends. ``observed`` and ``decoded``
    are the newest units. ``queues``: by the source of the events that state it, the largest
    length of a queue, and its limit. ``given_up`` holds the units after the newest emitted one that
    no emission will follow, as runs: the first unit, and the one after the last.
    """

    say: Say
    ends: dict[Causes, int] = attrs.field(factory=dict)
    older: dict[Causes, int] = attrs.field(factory=dict)
    epoch: int = -1
    appended: int = 0
    length: int = 0
    window: int = WINDOW
    observed: int = -1
    observation: Row | None = None
    decoded: int = -1
    decoded_ns: int = 0
    emitted: int = -1
    in_flight: int = 0
    given_up: list[tuple[int, int]] = attrs.field(factory=list)
    ended: bool = False
    busy: dict[str, Row] = attrs.field(factory=dict)
    deadline_ns: int | None = None
    due_unit: int = 0
    presented: dict[str, int] = attrs.field(factory=dict)
    queues: dict[Source, tuple[int, int]] = attrs.field(factory=dict)

    def remember(self, name: str, end_ns: int) -> None:
        """Make room among the recent events, then keep one (WS-TRACE-5)."""
        self.older, self.ends = self.ends, {name: end_ns}

    def end_of(self, name: str) -> int | None:
        """When a recent event ended; None if it is not known here (WS-TRACE-5)."""
        return self.ends.get(name, self.older.get(name))

    def can_emit(self, row: Row) -> bool:
        """The unit is decoded already; otherwise that may end at this very instant."""
        return row[3] < self.decoded or (row[3] == self.decoded and self.decoded_ns <= row[0])

    def append(self, row: Row) -> None:
        """Slices are appended once, in order and contiguously in each epoch (WS-TRACE-6)."""
        unit, detail = row[3], row[6]
        epoch, before = detail.get("epoch"), detail.get("kv_len_before")
        after = detail.get("kv_len_after")
        if type(epoch) is not int or type(before) is not int or type(after) is not int:
            self.say(6, row, "append without integers epoch, kv_len_before, kv_len_after")
            return
        last_epoch, last_unit = self.epoch, self.appended
        expected = self.length if epoch == last_epoch else 0
        self.epoch, self.appended, self.length = epoch, unit, after
        window = detail.get("window")
        if type(window) is int:
            self.window = window
        if epoch < last_epoch:
            self.say(6, row, f"epoch {epoch} after epoch {last_epoch}")
        elif epoch == last_epoch and unit != last_unit + 1:
            self.say(6, row, f"slice {unit} after slice {last_unit}")
        if before != expected:
            self.say(6, row, f"appended at {before}, the cache holds {expected}")
        if after < before:
            self.say(6, row, f"shrinks the cache from {before} to {after}")

    def observe(self, row: Row) -> None:
        """Units are observed in order, each once (WS-TRACE-10), none far ahead (WS-TRACE-11)."""
        unit = row[3]
        last, self.observed, self.observation = self.observed, unit, row
        self.in_flight += 1
        if self.ended:
            self.say(10, row, f"observes unit {unit} after the session was given up")
        elif unit <= last:
            self.say(10, row, f"observes unit {unit} after unit {last}")
        elif unit != last + 1 and not self._accounted(last, unit):
            self.say(10, row, f"observes unit {unit} after unit {last}, none given up between")
        if self.in_flight > self.window + 1:
            allowed = f"at most {self.window + 1}"
            self.say(11, row, f"{self.in_flight} units observed and not decoded, {allowed}")

    def give_up(self, row: Row) -> None:
        """A drop that states a policy accounts for its unit; without a unit, for all that the
        session still owes, which ends it (WS-TRACE-10)."""
        unit = row[3]
        if type(row[6].get("policy")) is not str:
            return
        if unit < 0:
            self.ended = True
            return
        if unit <= self.emitted or self._was_given_up(unit):
            self.say(10, row, f"gives up unit {unit}, which was emitted or given up before")
        else:
            self._keep(unit)
        if self.decoded < unit <= self.observed:
            self.in_flight -= 1

    def decode(self, row: Row) -> None:
        """Each unit is decoded once, in order (WS-TRACE-9)."""
        unit = row[3]
        last, self.decoded, self.decoded_ns = self.decoded, unit, row[0] + row[4]
        self.in_flight -= 1
        if unit <= last:
            self.say(9, row, f"decodes unit {unit} after unit {last}")

    def emit(self, row: Row) -> None:
        """Each unit is emitted once, in order, after its decoding (WS-TRACE-9), and none is left
        out unless it was given up (WS-TRACE-10)."""
        unit = row[3]
        last, self.emitted = self.emitted, unit
        if unit <= last:
            self.say(9, row, f"emits unit {unit} after unit {last}")
        elif unit != last + 1 and not self._accounted(last, unit):
            self.say(10, row, f"emits unit {unit} after unit {last}, none given up between")
        elif self._was_given_up(unit):
            self.say(10, row, f"emits unit {unit}, which was given up")
        if unit > self.decoded or (unit == self.decoded and row[0] < self.decoded_ns):
            self.say(9, row, f"emits unit {unit} before it is decoded")
        if self.given_up:
            later = unit + 1
            self.given_up = [(max(a, later), b) for a, b in self.given_up if b > later]
        detail = row[6]
        if "deadline_ns" in detail or "gap_ns" in detail:
            self._deadline(row)
        if "audio_end_ns" in detail or "video_end_ns" in detail:
            self._presented(row)

    def _deadline(self, row: Row) -> None:
        """What is emitted late is a gap of that length, and all that follows is due later by it
        (WS-TRACE-12)."""
        deadline, gap = row[6].get("deadline_ns"), row[6].get("gap_ns")
        if type(deadline) is not int and type(gap) is not int:
            return
        if type(deadline) is not int or type(gap) is not int:
            self.say(12, row, "emission with one of the integers deadline_ns and gap_ns only")
            return
        late = max(0, row[0] - deadline)
        if gap != late:
            self.say(12, row, f"emitted {late} ns late with a gap of {gap} ns")
        if self.deadline_ns is not None:
            units = row[3] - self.due_unit
            due = self.deadline_ns + units * clock.UNIT_NS
            # Giving up units may win back their time, at most all of it.
            if not due - (units - 1) * clock.UNIT_NS <= deadline <= due:
                self.say(12, row, f"due at {deadline} ns, the ones before make it {due} ns")
        self.deadline_ns, self.due_unit = deadline + late, row[3]

    def _presented(self, row: Row) -> None:
        """Sound and picture go forward, and never past the end of their unit (WS-TRACE-13)."""
        for name in ("audio_end_ns", "video_end_ns"):
            end = row[6].get(name)
            if type(end) is not int:
                continue
            last = self.presented.get(name, 0)
            self.presented[name] = end
            if end < last:
                self.say(13, row, f"{name} goes back from {last} to {end} ns")
            if end > (row[3] + 1) * clock.UNIT_NS:
                self.say(13, row, f"{name} is {end} ns, past the end of unit {row[3]}")

    def queue(self, row: Row) -> None:
        """A queue that states its limit stays within it, and the limit as it is; units in work
        are as many as the trace itself shows (WS-TRACE-11)."""
        detail, source = row[6], row[7]
        length, limit = detail.get("queue"), detail["queue_limit"]
        if type(limit) is not int:
            return
        if type(length) is not int or not 0 <= length <= limit:
            self.say(11, row, f"a queue of {length}, at most {limit}")
            return
        if source[1] == OBSERVE and length != self.in_flight:
            self.say(11, row, f"{length} units in work, the trace shows {self.in_flight}")
        known = self.queues.get(source)
        if known is None or length > known[0]:
            self.queues[source] = length, limit
        if known is not None and limit != known[1]:
            self.say(11, row, f"a queue of at most {limit}, of at most {known[1]} before")

    def over(self) -> None:
        """At the end of a whole trace every observed unit is accounted for (WS-TRACE-10)."""
        if self.ended or self.observation is None:
            return
        if not self._accounted(self.emitted, self.observed + 1):
            first = next(k for k in range(self.emitted + 1, self.observed + 1)
                         if not self._was_given_up(k))  # fmt: skip
            self.say(10, self.observation, f"unit {first} is neither emitted nor given up")

    def _accounted(self, last: int, unit: int) -> bool:
        """All units between ``last`` and ``unit`` were given up."""
        return unit - last <= 1 or any(a <= last + 1 and unit <= b for a, b in self.given_up)

    def _was_given_up(self, unit: int) -> bool:
        return any(a <= unit < b for a, b in self.given_up)

    def _keep(self, unit: int) -> None:
        """Remember that a unit was given up; runs that meet become one (WS-TRACE-15).

        Raises:
            TraceError: too many runs.
        """
        first, end = unit, unit + 1
        apart = []
        for a, b in self.given_up:
            if b == first:
                first = a
            elif a == end:
                end = b
            else:
                apart.append((a, b))
        if len(apart) == GAPS:
            raise TraceError("units", f"{GAPS + 1} runs given up at once", f"at most {GAPS}")
        self.given_up = [*apart, (first, end)]
