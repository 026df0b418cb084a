"""Ports whose numbers are right and come too late."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from conformance.latency_clock import clock
from conformance.mutants.patching import by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import Hello, UnitInput, UnitOutput

MS = 1_000_000


class Timed(ReferencePort):
    """The reference, claiming the profile `latency` besides."""

    name = "timed"

    def hello(self) -> Hello:
        hello = super().hello()
        return attrs.evolve(hello, profiles=(*hello.profiles, "latency"))


class Slow(Timed):
    """Every unit takes a little more than 160 ms, so each is later than the one before."""

    name = "a-little-too-slow"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        clock().sleep_until(clock().now() + 165 * MS)
        return outputs


class Stutters(Timed):
    """Every twentieth unit takes half a second."""

    name = "stutters"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        if unit.unit % 20 == 19:
            clock().sleep_until(clock().now() + 500 * MS)
        return outputs


class SilenceTimer(Timed):
    """A timer adds its delay to every tenth answer: the answers fall behind for good."""

    name = "delay-adds-up"

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, list[UnitOutput]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        held = self._held.setdefault(session_id, [])
        held += super().step(session_id, unit)
        if unit.unit % 10 == 9:
            return []
        return [held.pop(0)]

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        return self._held.pop(session_id, [])


class Skips(Timed):
    """From unit 60 on every tenth unit is never answered, and so never late."""

    name = "units-never-answered"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        return [] if unit.unit >= 60 and unit.unit % 10 == 0 else outputs


MUTANTS = (
    by_class("WS-LATENCY-7", Slow),
    by_class("WS-LATENCY-7", Stutters),
    by_class("WS-LATENCY-7", Skips),
    by_class("WS-LATENCY-8", SilenceTimer),
)
