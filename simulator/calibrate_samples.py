"""What each stage took in a real split run, read from its trace so that nothing falls in between.

A stage lasts from the end of what its process did before to its own end, so that the time between
two spans, in which a process also works, is part of the later one. A message's way is known where
its receiver had nothing else to do; elsewhere it is only known to have been no longer.
Source: CHOICE (design §13); the order of events is that of WS-STREAMING-8 and WS-STREAMING-9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from spec.errors import ConfigError
from spec.trace import Kind, TraceEvent

STAGES: Final = (
    "encode", "update", "slice", "solve", "performer commit", "latents", "decode", "commit",
)  # fmt: skip
"""In the order of a unit. ``slice`` and ``latents`` are ways of messages."""

WAYS: Final = ("slice", "latents")


@attrs.define(kw_only=True)
class UnitSample:
    """One unit: ns by stage; ``began`` its encoding, ``decoded`` its response.

    ``exact`` names the ways whose receiver was waiting. ``solved``: its solving is in the trace.
    """

    unit: int
    ns: dict[str, int] = attrs.field(factory=dict)
    exact: set[str] = attrs.field(factory=set)
    began: int = 0
    decoded: int = 0
    solved: bool = False
    complete: bool = False


def samples(events: Iterable[TraceEvent]) -> tuple[UnitSample, ...]:
    """The whole units of the first session of a trace, in order (WS-METRICS-12).

    Raises:
        ConfigError: there is none in which thinker and performer did their parts.
    """
    reading = _Reading()
    for event in events:
        reading.take(event)
    found = tuple(sample for _, sample in sorted(reading.units.items()) if sample.complete)
    if not found:
        raise ConfigError("trace", "no whole unit", "the trace of a run with --engine split")
    return found


@attrs.define
class _Reading:
    """``free``: since when each process has nothing to do. ``letters``: what is on its way, by the
    id of its sending: name of the way, unit, when."""

    session: str | None = None
    units: dict[int, UnitSample] = attrs.field(factory=dict)
    free: dict[str, int] = attrs.field(factory=dict)
    letters: dict[str, tuple[str, int, int]] = attrs.field(factory=dict)

    def take(self, event: TraceEvent) -> None:
        """Read one event; events come in the order of a trace."""
        if self.session is None and event.unit >= 0:
            self.session = event.session
        if event.session != self.session:
            return
        free = self.free.get(event.process, event.t_ns)
        if event.unit >= 0:
            unit = self.units.setdefault(event.unit, UnitSample(unit=event.unit))
            self._stage(unit, event, event.end_ns - free, free)
        self.free[event.process] = max(free, event.end_ns)

    def _stage(self, unit: UnitSample, event: TraceEvent, took: int, free: int) -> None:
        said = event.detail.get("kind")
        match event.process, event.kind:
            case "thinker", Kind.OBSERVE:
                unit.ns["encode"] = took
                unit.began = event.end_ns - took
            case "thinker", Kind.UPDATE:
                unit.ns["update"] = took
            case "thinker", Kind.SEND if said == "Header" and "slice" not in unit.ns:
                self._add(unit, "update", took)
                self.letters[event.id] = "slice", event.unit, event.t_ns
            case "performer", Kind.SOLVE | Kind.APPEND | Kind.SEND if "performer commit" not in (
                unit.ns
            ):
                self._add(unit, "solve", took)
                unit.solved |= event.kind is Kind.SOLVE
                if said == "Latents":
                    self.letters[event.id] = "latents", event.unit, event.t_ns
            case "performer", Kind.COMMIT:
                unit.ns["performer commit"] = took
            case "thinker", Kind.DECODE:
                unit.ns["decode"] = took
                unit.decoded = event.end_ns
            case "thinker", Kind.EMIT | Kind.COMMIT | Kind.SEND if "decode" in unit.ns:
                self._add(unit, "commit", took)
                unit.complete = unit.solved and set(STAGES) <= unit.ns.keys()
            case _, Kind.RECEIVE:
                self._received(event, free)

    def _add(self, unit: UnitSample, stage: str, took: int) -> None:
        unit.ns[stage] = unit.ns.get(stage, 0) + took

    def _received(self, event: TraceEvent, free: int) -> None:
        for cause in event.cause:
            letter = self.letters.pop(cause, None)
            if letter is None:
                continue
            way, number, sent = letter
            unit = self.units[number]
            unit.ns[way] = event.t_ns - sent
            if free <= sent:
                unit.exact.add(way)
