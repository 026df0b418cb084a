"""What a check is: an id, the clauses it judges, and the cases it makes of a context."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Literal

import attrs

from conformance.guard import Guard
from conformance.oracle import Oracle
from conformance.protocol import DType, Hello, Inconclusive, OpenRequest, Profile, Unsupported
from conformance.recording import Recorder
from spec.presets import TINY_BARE, preset_named
from spec.sizes import Preset

Tolerance = Literal["A", "B", "C", "D"]


class Context:
    """The port under test, what was recorded of it, and the oracle."""

    def __init__(
        self, port: Guard, oracle: Oracle, preset: str = "tiny", unknown_feature: str | None = None
    ) -> None:
        self.port = port
        self.oracle = oracle
        # A name that nobody can have built in, unless it stands in a folder of recorded cases.
        self.unknown_feature = unknown_feature or f"feature-{secrets.token_hex(8)}"
        self.preset: Preset = preset_named(preset)
        self.hello: Hello = port.hello()
        self.run = Recorder(port, self.hello.features)

    @property
    def dtype(self) -> DType:
        """The port's main dtype, in which everything is judged that is not judged in all."""
        return self.hello.dtypes[0]

    def in_sessions(self, dtype: DType) -> DType:
        """``dtype`` if the port has sessions in it, else the main one: of another dtype that it
        names it need do no more than one command (WS-CONFORMANCE-2)."""
        if dtype == self.dtype or dtype not in self.hello.dtypes:
            return self.dtype
        request = OpenRequest(preset=TINY_BARE.name, schedule="overlapped", dtype=dtype)
        try:
            self.port.close(self.port.open(request))
        except Unsupported:
            return self.dtype
        return dtype

    def need(self, feature: str) -> None:
        """Raise `Unsupported` unless the port claims ``feature`` (WS-CONFORMANCE-3)."""
        if feature not in self.hello.features:
            raise Unsupported(feature)


@attrs.frozen(kw_only=True)
class Case:
    """One thing to judge. ``judge`` returns None (pass) or what differed, where, by how much.

    ``clauses``: the part of the check's clauses that this case is about, all when empty.
    ``further``: it asks of a longer or of another session what shorter cases of those clauses ask;
    a run of one clause, which takes seconds, leaves it out (WS-CONFORMANCE-11). ``brief``: the
    other way about, a case that goes further asks the same in a longer session, alike in everything
    else; only a run of one clause needs it.
    """

    name: str
    judge: Callable[[], str | None]
    clauses: tuple[str, ...] = ()
    further: bool = False
    brief: bool = False


@attrs.frozen(kw_only=True)
class Check:
    """A family of cases over one topic (WS-CONFORMANCE-9 for ``tolerance``).

    ``cases`` only describes; nothing is asked of the port until a case is judged, so a filter on
    clauses costs nothing. A check without a profile belongs to all of them.
    """

    id: str
    clauses: tuple[str, ...]
    profile: Profile | None
    tolerance: Tolerance
    cases: Callable[[Context], Iterable[Case]]


def family(
    prefix: str, profile: Profile
) -> Callable[[str, tuple[str, ...], Tolerance, Callable[[Context], Iterable[Case]]], Check]:
    """How the checks of one topic are made: stem of the id, clauses, tolerance class, cases."""

    def check(
        stem: str,
        clauses: tuple[str, ...],
        tolerance: Tolerance,
        cases: Callable[[Context], Iterable[Case]],
    ) -> Check:
        return Check(
            id=f"{prefix}/{stem}",
            clauses=clauses,
            profile=profile,
            tolerance=tolerance,
            cases=cases,
        )

    return check


__all__ = ["Case", "Check", "Context", "Inconclusive", "Tolerance", "family"]
