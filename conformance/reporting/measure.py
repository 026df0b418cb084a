"""Numbers behind a verdict: how far off each compared tensor was, beside what was allowed.

A judge says only pass or fail; a porter also wants to know how close a pass was. The comparisons of
`conformance.tolerance` and `conformance.relations` note their numbers here, and whoever runs a case
collects them, so no check has to hand them on. Outside `recording` a note costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf, isfinite
from typing import Any, Final

import attrs
import cattrs

MAX_POINTS: Final = 400
"""Points of a series that are kept; a longer one is thinned, its worst point never left out."""


@attrs.frozen(kw_only=True)
class Closeness:
    """One tensor against its class C budget (WS-CONFORMANCE-9).

    ``worst`` is the index of the element that is off most; ``actual`` and ``expected`` stand there.
    ``compared`` counts the comparisons of this tensor in the case; the worst of them is kept.
    ``budgets`` counts how often it was held to another budget than the time before, the first
    included.
    """

    tensor: str
    dtype: str
    rms: float
    rms_budget: float
    max: float
    max_budget: float
    worst: tuple[int, ...]
    actual: float
    expected: float
    compared: int = 1
    budgets: int = 1

    @property
    def ratio(self) -> float:
        """Error over budget, the worse of rms and maximum; above 1 it fails."""
        return max(ratio(self.rms, self.rms_budget), ratio(self.max, self.max_budget))


@attrs.frozen(kw_only=True)
class Point:
    """The error at one unit of a session, and what was allowed there."""

    unit: int
    error: float
    budget: float


@attrs.frozen(kw_only=True)
class Drift:
    """How an error grows over the units of a session."""

    tensor: str
    points: tuple[Point, ...]

    @property
    def ratio(self) -> float:
        """The worst error over budget of all units."""
        return max((ratio(p.error, p.budget) for p in self.points), default=0.0)


@attrs.frozen(kw_only=True)
class Measurements:
    """All that the comparisons of one case noted, worst first."""

    closeness: tuple[Closeness, ...] = ()
    drift: tuple[Drift, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The worst error over budget; None when nothing was compared."""
        ratios = [m.ratio for m in self.closeness] + [m.ratio for m in self.drift]
        return max(ratios, default=None)


class Notes:
    """What is noted while one case is judged: the worst of each tensor and dtype."""

    def __init__(self) -> None:
        self._closeness: dict[tuple[str, str], Closeness] = {}
        self._drift: dict[str, Drift] = {}

    def closeness(self, new: Closeness) -> None:
        key = new.tensor, new.dtype
        old = self._closeness.get(key)
        if old is not None:
            worse = max(old, new, key=lambda m: m.ratio)
            other = (old.rms_budget, old.max_budget) != (new.rms_budget, new.max_budget)
            new = attrs.evolve(worse, compared=old.compared + 1, budgets=old.budgets + int(other))
        self._closeness[key] = new

    def drift(self, new: Drift) -> None:
        old = self._drift.get(new.tensor)
        if old is None or old.ratio <= new.ratio:
            self._drift[new.tensor] = new

    def measurements(self) -> Measurements:
        return Measurements(
            closeness=tuple(sorted(self._closeness.values(), key=lambda m: -m.ratio)),
            drift=tuple(sorted(self._drift.values(), key=lambda m: -m.ratio)),
        )


_NOTES: ContextVar[Notes | None] = ContextVar("notes", default=None)


@contextmanager
def recording() -> Iterator[Notes]:
    """Inside, comparisons are noted; one recording inside another keeps its own notes."""
    notes = Notes()
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def note_closeness(make: Callable[[], Closeness]) -> None:
    """Note one comparison; ``make`` is called only when somebody records."""
    notes = _NOTES.get()
    if notes is not None:
        notes.closeness(make())


def note_drift(tensor: str, errors: Sequence[float], budgets: Sequence[float]) -> None:
    """Note the error of each unit, from unit 0 on, beside its budget."""
    notes = _NOTES.get()
    if notes is None or not errors:
        return
    points = [
        Point(unit=k, error=float(error), budget=float(budget))
        for k, (error, budget) in enumerate(zip(errors, budgets, strict=True))
    ]
    notes.drift(Drift(tensor=tensor, points=_thinned(points)))


def _thinned(points: list[Point]) -> tuple[Point, ...]:
    step = -(-len(points) // MAX_POINTS)
    worst = max(points, key=lambda p: ratio(p.error, p.budget))
    return tuple(p for p in points if p.unit % step == 0 or p is worst or p is points[-1])


def ratio(error: float, budget: float) -> float:
    """``error / budget``; what is not finite, or not zero where nothing is allowed, is infinite."""
    if not isfinite(error):
        return inf
    if budget == 0.0:
        return 0.0 if error == 0.0 else inf
    return error / budget


CONVERTER: Final = cattrs.Converter(forbid_extra_keys=True)
"""Records to plain JSON values and back; JSON has no infinity and no NaN, so they are words."""
CONVERTER.register_unstructure_hook(float, lambda x: x if isfinite(x) else str(x))
CONVERTER.register_structure_hook(float, lambda value, _: float(value))


def as_plain(measurements: Measurements) -> dict[str, Any]:
    """Plain JSON values, `Measurements` again by `from_plain`."""
    plain: dict[str, Any] = CONVERTER.unstructure(measurements)
    return plain


def from_plain(plain: dict[str, Any]) -> Measurements:
    """The inverse of `as_plain`."""
    return CONVERTER.structure(plain, Measurements)
