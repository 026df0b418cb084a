"""What every trace must satisfy, simulated or real: one pass, O(n) (design §13).

Source: design §8, §9, §13 (CHOICE); decode once and in order is PAPER §2.4.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from spec.trace import Kind, TraceEvent
from spec.trace_reading import in_order

BUSY: Final = frozenset(
    {Kind.OBSERVE, Kind.UPDATE, Kind.SOLVE, Kind.COMMIT, Kind.DECODE, Kind.EXPORT}
)
"""Kinds that occupy the resource they run on (WS-TRACE-7)."""

KEPT_VIOLATIONS: Final = 100


@attrs.frozen(kw_only=True)
class Violation:
    """One broken invariant: its clause, the event that shows it, and how."""

    clause: str
    event: str
    text: str


@attrs.frozen(kw_only=True)
class TraceReport:
    """The outcome. ``violations`` holds the first `KEPT_VIOLATIONS` of ``violation_count``;
    ``unfinished`` names the processes whose trace ends early (WS-TRACE-8)."""

    events: int
    violation_count: int
    violations: tuple[Violation, ...]
    unfinished: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """No violation, and nothing missing at the end."""
        return self.violation_count == 0 and not self.unfinished


def check_trace(events: Iterable[TraceEvent]) -> TraceReport:
    """Judge a trace whose events come in order.

    Raises:
        TraceError: events out of order.
    """
    checks = (_Causes(), _Appends(), _Busy(), _Once())
    count, found, kept = 0, 0, list[Violation]()
    last = dict[str, Kind]()
    for _, at_once in itertools.groupby(in_order(events), key=lambda event: event.t_ns):
        group = list(at_once)
        count += len(group)
        last.update((event.process, event.kind) for event in group)
        for violation in itertools.chain.from_iterable(check(group) for check in checks):
            found += 1
            if len(kept) < KEPT_VIOLATIONS:
                kept.append(violation)
    return TraceReport(
        events=count,
        violation_count=found,
        violations=tuple(kept),
        unfinished=tuple(sorted(name for name, kind in last.items() if kind is not Kind.END))
        or (() if last else ("trace",)),
    )


# Each check is called with all events of one instant and keeps what it must remember.


class _Causes:
    """Ids are unique; causes exist and have ended when their effect starts (WS-TRACE-5)."""

    def __init__(self) -> None:
        self._ends = dict[str, int]()

    def __call__(self, group: list[TraceEvent]) -> Iterator[Violation]:
        for event in group:
            if event.id in self._ends:
                yield _violation(5, event, "its id was used before")
            self._ends[event.id] = event.end_ns
        for event in group:
            for cause in event.cause:
                end = self._ends.get(cause)
                if end is None:
                    yield _violation(5, event, f"its cause {cause} does not exist before it")
                elif end > event.t_ns:
                    yield _violation(5, event, f"its cause {cause} ends later, at {end} ns")
        yield from _circles(group)


def _circles(group: list[TraceEvent]) -> Iterator[Violation]:
    """Events of one instant may cause each other, but not in a circle (WS-TRACE-5)."""
    effects = dict[str, list[TraceEvent]]()
    waiting = dict[str, int]()
    here = {event.id for event in group}
    for event in group:
        inside = [cause for cause in event.cause if cause in here]
        waiting[event.id] = len(inside)
        for cause in inside:
            effects.setdefault(cause, []).append(event)
    ready = deque(event.id for event in group if not waiting[event.id])
    while ready:
        for effect in effects.get(ready.popleft(), ()):
            waiting[effect.id] -= 1
            if not waiting[effect.id]:
                ready.append(effect.id)
    for event in group:
        if waiting[event.id]:
            yield _violation(5, event, "it is a cause of itself")


class _Appends:
    """Slices are appended exactly once, in order and contiguously in each epoch (WS-TRACE-6)."""

    def __init__(self) -> None:
        self._last = dict[str, tuple[int, int, int]]()

    def __call__(self, group: list[TraceEvent]) -> Iterator[Violation]:
        for event in group:
            if event.kind is not Kind.APPEND:
                continue
            epoch, before, after = map(event.detail.get, ("epoch", "kv_len_before", "kv_len_after"))
            if type(epoch) is not int or type(before) is not int or type(after) is not int:
                text = "append without integers epoch, kv_len_before, kv_len_after"
                yield _violation(6, event, text)
                continue
            last_epoch, last_unit, length = self._last.get(event.session, (-1, 0, 0))
            self._last[event.session] = epoch, event.unit, after
            if epoch < last_epoch:
                yield _violation(6, event, f"epoch {epoch} after epoch {last_epoch}")
            elif epoch == last_epoch and event.unit != last_unit + 1:
                yield _violation(6, event, f"slice {event.unit} after slice {last_unit}")
            expected = length if epoch == last_epoch else 0
            if before != expected:
                yield _violation(6, event, f"appended at {before}, the cache holds {expected}")
            if after < before:
                yield _violation(6, event, f"shrinks the cache from {before} to {after}")


class _Busy:
    """Busy spans of one resource do not overlap (WS-TRACE-7)."""

    def __init__(self) -> None:
        self._last = dict[tuple[str, str], TraceEvent]()

    def __call__(self, group: list[TraceEvent]) -> Iterator[Violation]:
        for event in group:
            if event.kind not in BUSY:
                continue
            resource = event.detail.get("resource")
            key = (event.process, resource) if isinstance(resource, str) else (
                event.process, f"of session {event.session}"
            )  # fmt: skip
            last = self._last.get(key)
            if last is not None and last.end_ns > event.t_ns:
                yield _violation(7, event, f"starts while {last.id} runs, until {last.end_ns} ns")
            if last is None or event.end_ns >= last.end_ns:
                self._last[key] = event


class _Once:
    """Each unit is decoded once and emitted once, in order, and decoded first (WS-TRACE-9)."""

    def __init__(self) -> None:
        self._decoded = dict[str, tuple[int, int]]()
        self._emitted = dict[str, int]()

    def __call__(self, group: list[TraceEvent]) -> Iterator[Violation]:
        # A unit may be emitted at the very instant its decoding ends.
        for event in sorted(group, key=lambda event: event.kind is Kind.EMIT):
            if event.kind is Kind.DECODE:
                last, _ = self._decoded.get(event.session, (-1, 0))
                self._decoded[event.session] = event.unit, event.end_ns
                if event.unit != last + 1:
                    yield _violation(9, event, f"decodes unit {event.unit} after unit {last}")
            elif event.kind is Kind.EMIT:
                last = self._emitted.get(event.session, -1)
                self._emitted[event.session] = event.unit
                if event.unit != last + 1:
                    yield _violation(9, event, f"emits unit {event.unit} after unit {last}")
                decoded, end = self._decoded.get(event.session, (-1, 0))
                if event.unit > decoded or (event.unit == decoded and event.t_ns < end):
                    yield _violation(9, event, f"emits unit {event.unit} before it is decoded")


def _violation(number: int, event: TraceEvent, text: str) -> Violation:
    return Violation(clause=f"WS-TRACE-{number}", event=event.id, text=text)
