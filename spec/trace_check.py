"""What every trace must satisfy, simulated or real: one pass, O(n) (design §13).

What concerns one session alone is in `spec.trace_sessions`.
Source: design §8, §9, §13 (CHOICE); decode once and in order is PAPER §2.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Final, TypeVar

import attrs

from spec.trace import PROCESSES, Kind, Source, TraceError, TraceEvent
from spec.trace_ids import Ids
from spec.trace_queues import QUEUES
from spec.trace_rows import Row, causes_of, row_of
from spec.trace_sessions import CAUSES, Say, Session

BUSY: Final = frozenset(
    kind.value
    for kind in (Kind.OBSERVE, Kind.UPDATE, Kind.SOLVE, Kind.COMMIT, Kind.DECODE, Kind.EXPORT)
)
"""Kinds that occupy the resource they run on (WS-TRACE-7)."""

JUDGES: Final[dict[str, Callable[[Session, Row], None]]] = {
    Kind.APPEND.value: Session.append,
    Kind.OBSERVE.value: Session.observe,
    Kind.DROP.value: Session.give_up,
    Kind.DECODE.value: Session.decode,
}
EMIT: Final = Kind.EMIT.value
"""Plain texts, as in a row: looking one up among members of an enumeration takes twice as long."""

KEPT_TRACKS: Final = 65_536
"""Each source is looked at once; with more of them, once in a while again."""

ORDER: Final = "events by (t_ns, id)"
NOTHING: Final[Row] = (-1, -1, "", -1, 0, None, {}, ("", "", ""))

Track = tuple[Ids, Session, dict[str, Row] | None, Callable[[Row], None] | None, bool]
"""What events of one source have in common: the numbers of their process, their session, the last
spans of its resources if they occupy one, what judges them, and whether they are emissions."""

K = TypeVar("K")

KEPT_VIOLATIONS: Final = 100
WHOLE: Final = ""
"""Session of events that concern the whole machine; any event may have them as causes."""


@attrs.frozen(kw_only=True)
class Violation:
    """One broken invariant: its clause, the event that shows it, and how."""

    clause: str
    event: str
    text: str


@attrs.frozen(kw_only=True)
class TraceReport:
    """The outcome. ``violations`` holds the first `KEPT_VIOLATIONS` of ``violation_count``;
    ``unfinished`` names the processes whose trace ends early (WS-TRACE-8). ``queues``: the largest
    length and the limit of each queue that the trace states, over all sessions; ``unstated`` names
    those of `QUEUES` that it does not (WS-TRACE-11)."""

    events: int
    violation_count: int
    violations: tuple[Violation, ...]
    unfinished: tuple[str, ...]
    queues: Mapping[str, tuple[int, int]]
    unstated: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """No violation, and nothing missing at the end."""
        return self.violation_count == 0 and not self.unfinished


def check_trace(events: Iterable[TraceEvent]) -> TraceReport:
    """Judge a trace whose events come in order.

    Raises:
        TraceError: events out of order.
    """
    return check_rows(map(row_of, events))


def check_rows(rows: Iterable[Row]) -> TraceReport:
    """Judge a trace whose rows come in order; a row is forgotten once it is judged (WS-TRACE-15).

    Raises:
        TraceError: rows out of order.
    """
    findings, sessions, tracks = Findings(), dict[str, Session](), dict[Source, Track]()
    shared = dict[tuple[str, str], Row]()
    say = findings.say
    ids = {process: Ids() for process in PROCESSES}
    instant = Instant(say, ids)
    count, now, before = 0, -1, NOTHING
    for count, row in enumerate(rows, 1):  # noqa: B007
        t_ns, number, name, _, dur_ns, cause, detail, source = row
        if t_ns > now:
            if instant.open:
                instant.settle()
            now = t_ns
        elif t_ns < now or (source[0], number) <= (before[7][0], before[1]):
            raise TraceError("trace", f"{name} after {before[2]}", ORDER)
        before = row
        track = tracks.get(source)
        if track is None:
            if len(tracks) >= KEPT_TRACKS:
                tracks.clear()
            track = tracks[source] = track_of(source, ids, sessions, say)
        of_process, state, busy, judge, emits = track
        of_process.last = source
        if number == of_process.next and not of_process.others:
            of_process.next = number + 1
        elif not of_process.take(number):
            say(5, row, "its id was used before")
        ends = state.ends
        if cause is not None:
            end = ends.get(cause)
            if end is None or end > t_ns:
                instant.look(row, state, sessions.get(WHOLE, state))
        if instant.open:
            instant.rows.append(row)
        if len(ends) < CAUSES:
            ends[name] = t_ns + dur_ns
        else:
            state.remember(name, t_ns + dur_ns)
        if busy is not None:
            resource = detail.get("resource")
            if type(resource) is str:
                occupy(shared, (source[0], resource), row, say)
            else:
                last = busy.get(source[0])
                if last is None or last[0] + last[4] <= t_ns:
                    busy[source[0]] = row
                else:
                    occupy(busy, source[0], row, say)
        if judge is not None:
            judge(row)
        elif emits:
            if state.can_emit(row):
                state.emit(row)
            else:
                instant.open = True
                instant.emissions.append((row, state))
        if "queue_limit" in detail:
            state.queue(row)
    instant.settle()
    unfinished = [process for process in PROCESSES if ids[process].last[1] not in ("", Kind.END)]
    if not unfinished:
        for state in sessions.values():
            state.over()
        for process in PROCESSES:
            findings.missing(process, ids[process])
    queues = queues_of(sessions.values())
    return TraceReport(
        events=count,
        violation_count=findings.count,
        violations=tuple(findings.kept),
        unfinished=tuple(sorted(unfinished)) or (() if count else ("trace",)),
        queues=queues,
        unstated=tuple(name for name in QUEUES.values() if name not in queues),
    )


def track_of(
    source: Source, ids: Mapping[str, Ids], sessions: dict[str, Session], say: Say
) -> Track:
    """The track of events of one source; a session begins with its first."""
    process, kind, name = source
    state = sessions.get(name)
    if state is None:
        state = sessions[name] = Session(say=say)
    judge = JUDGES.get(kind)
    return (
        ids[process], state, state.busy if kind in BUSY else None,
        None if judge is None else MethodType(judge, state), kind == EMIT,
    )  # fmt: skip


def queues_of(sessions: Iterable[Session]) -> dict[str, tuple[int, int]]:
    """The largest length and the largest limit of every queue that is stated (WS-TRACE-11)."""
    found = dict[str, tuple[int, int]]()
    for session in sessions:
        for of, (length, limit) in session.queues.items():
            name = QUEUES.get(of[:2], " ".join(of[:2]))
            before = found.get(name, (0, 0))
            found[name] = max(before[0], length), max(before[1], limit)
    return found


@attrs.define
class Findings:
    """Violations: all are counted, the first are kept."""

    count: int = 0
    kept: list[Violation] = attrs.field(factory=list)

    def say(self, clause: int, row: Row, text: str) -> None:
        """Take one that an event shows."""
        self._take(clause, row[2], text)

    def missing(self, process: str, ids: Ids) -> None:
        """Numbers that no event of a process has (WS-TRACE-5)."""
        first = ids.missing
        if first is not None:
            self._take(5, f"{process}:{first}", "no event has this id, later ones exist")

    def _take(self, clause: int, event: str, text: str) -> None:
        self.count += 1
        if len(self.kept) < KEPT_VIOLATIONS:
            self.kept.append(Violation(clause=f"WS-TRACE-{clause}", event=event, text=text))


@attrs.define
class Instant:
    """What can only be judged when all events of one instant are known.

    ``waiting``: events, a cause of each that was not there yet, and where it may still appear.
    ``emissions``: those that stand before the decoding that ends at the same instant.
    ``rows``: all events since it is ``open``, that is, since the first of either.
    """

    say: Say
    ids: dict[str, Ids]
    waiting: list[tuple[Row, str, Session, Session]] = attrs.field(factory=list)
    emissions: list[tuple[Row, Session]] = attrs.field(factory=list)
    rows: list[Row] = attrs.field(factory=list)
    open: bool = False

    def look(self, row: Row, state: Session, whole: Session) -> None:
        """Judge causes that are not all in plain sight; those of one that is not there yet wait."""
        for cause in causes_of(row):
            end = state.end_of(cause)
            if end is None:
                self.open = True
                self.waiting.append((row, cause, state, whole))
            elif end > row[0]:
                self.say(5, row, f"its cause {cause} ends later, at {end} ns")

    def settle(self) -> None:
        """The instant is over."""
        for row, cause, state, whole in self.waiting:
            end = state.end_of(cause)
            if end is None:
                end = whole.end_of(cause)
            if end is None:
                self._unknown(row, cause)
            elif end > row[0]:
                self.say(5, row, f"its cause {cause} ends later, at {end} ns")
        if self.waiting:
            circles(self.rows, self.say)
        for row, state in self.emissions:
            state.emit(row)
        self.waiting.clear()
        self.emissions.clear()
        self.rows.clear()
        self.open = False

    def _unknown(self, row: Row, cause: str) -> None:
        process, _, number = cause.partition(":")
        if process in self.ids and number.isdecimal() and self.ids[process].used(int(number)):
            self.say(14, row, f"its cause {cause} is of another session or too long ago")
        else:
            self.say(5, row, f"its cause {cause} does not exist before it")


def occupy(busy: dict[K, Row], resource: K, row: Row, say: Say) -> None:
    """Busy spans of one resource do not overlap (WS-TRACE-7)."""
    last = busy.get(resource)
    if last is None:
        busy[resource] = row
        return
    until = last[0] + last[4]
    if until > row[0]:
        say(7, row, f"starts while {last[2]} runs, until {until} ns")
    if row[0] + row[4] >= until:
        busy[resource] = row


def circles(rows: list[Row], say: Say) -> None:
    """Events of one instant may cause each other, but not in a circle (WS-TRACE-5)."""
    effects, waiting = dict[str, list[str]](), dict[str, int]()
    here = {row[2] for row in rows}
    for row in rows:
        inside = [cause for cause in causes_of(row) if cause in here]
        waiting[row[2]] = len(inside)
        for cause in inside:
            effects.setdefault(cause, []).append(row[2])
    ready = deque(name for name, causes in waiting.items() if not causes)
    while ready:
        for effect in effects.get(ready.popleft(), ()):
            waiting[effect] -= 1
            if not waiting[effect]:
                ready.append(effect)
    for row in rows:
        if waiting[row[2]]:
            say(5, row, "it is a cause of itself")
