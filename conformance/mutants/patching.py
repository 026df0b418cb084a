"""How a known-bad port is made: the reference with a few names replaced while it is at work.

A patch is in place only inside a command of its own port and is undone before the command
returns, so the oracle and every other port of the process never see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Port,
    UnitInput,
    UnitOutput,
)

Patch = tuple[Any, str, Any]
"""(module or class, name in it, what stands there instead)."""


@attrs.frozen(kw_only=True)
class Mutant:
    """A known-bad port, and the clause whose checks must find it (WS-CONFORMANCE-14)."""

    name: str
    clause: str
    description: str
    factory: Callable[[], Port]


@attrs.frozen(kw_only=True)
class Benign:
    """A harmless variant that every check must let pass (WS-CONFORMANCE-15)."""

    name: str
    description: str
    factory: Callable[[], Port]


class PatchedPort(ReferencePort):
    """The reference under ``patches``."""

    def __init__(self, name: str, patches: Sequence[Patch]) -> None:
        super().__init__()
        self.name = name
        self._patches = tuple(patches)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        saved = [(where, name, getattr(where, name)) for where, name, _ in self._patches]
        try:
            for where, name, value in self._patches:
                setattr(where, name, value)
            yield
        finally:
            for where, name, value in saved:
                setattr(where, name, value)

    def load(self, request: LoadRequest) -> str:
        with self._at_work():
            return super().load(request)

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        with self._at_work():
            return super().math(request)

    def open(self, request: OpenRequest) -> str:
        with self._at_work():
            return super().open(request)

    def reset(self, session_id: str) -> None:
        with self._at_work():
            super().reset(session_id)

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        with self._at_work():
            return super().probe(session_id, unit, points)

    def export_kv(self, session_id: str) -> KvExport:
        with self._at_work():
            return super().export_kv(session_id)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        with self._at_work():
            super().import_kv(session_id, state)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        with self._at_work():
            return super().step(session_id, unit)

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        with self._at_work():
            return super().offline(request, units)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        with self._at_work():
            return super().codec(request, data)

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        with self._at_work():
            return super().exchange(script)

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        with self._at_work():
            return super().kv_digest(session_id, up_to_unit)


def patched(name: str, clause: str, description: str, *patches: Patch) -> Mutant:
    """A mutant that is nothing but patches."""
    return Mutant(
        name=name,
        clause=clause,
        description=description,
        factory=lambda: PatchedPort(name, patches),
    )


class PatchedSessions(PatchedPort):
    """Formulas by themselves are right; sessions are under ``patches``."""

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        return ReferencePort.math(self, request)


def in_sessions(name: str, clause: str, description: str, *patches: Patch) -> Mutant:
    """A mutant that is patched in its sessions alone, so that only they can tell."""
    return Mutant(
        name=name,
        clause=clause,
        description=description,
        factory=lambda: PatchedSessions(name, patches),
    )


def by_class(clause: str, cls: type[ReferencePort]) -> Mutant:
    """A mutant that is a subclass of the reference port: its docstring says what is wrong."""
    assert cls.__doc__ is not None
    description = " ".join(cls.__doc__.split())
    return Mutant(name=cls.name, clause=clause, description=description, factory=cls)
