"""The paper's Tables 1 and 2 with our figure beside each number, at that number's boundary.

Source: PAPER §3, Tables 1 and 2; WS-METRICS-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import attrs

from simulator.metrics import METRICS, Units, percentile
from spec.systems import UNITS, Measure, System, systems

MS_NS = 1_000_000
NO_NUMBER = "no number is published"
NOT_TRACED = "the trace does not say"


@attrs.frozen(kw_only=True)
class Line:
    """One published number, and ours beside it or the reason why not (WS-METRICS-2).

    ``metric``, ``theirs`` and ``boundary`` are empty for a row without a number.
    """

    table: int
    system: str
    scope: str
    metric: str = ""
    theirs: str = ""
    boundary: str = ""
    ours: str | None = None
    reason: str | None = None

    @property
    def comparison(self) -> str:
        """Our figure, or that there is none and why."""
        return self.ours if self.ours is not None else f"not comparable: {self.reason}"


def lines(units: Units) -> Iterator[Line]:
    """Both tables, a line a number, ours taken from the units of one session (WS-METRICS-2)."""
    for system in systems():
        if not system.measures:
            yield Line(table=system.table, system=system.name, scope=system.scope, reason=NO_NUMBER)
        for measure in system.measures:
            yield _line(system, measure, units)


def _line(system: System, measure: Measure, units: Units) -> Line:
    ours, reason = None, measure.reason
    if reason is None:
        ours = figure(measure.metric, measure.unit, units)
        reason = NOT_TRACED if ours is None else None
    variant = "" if measure.variant is None else f" {measure.variant}"
    return Line(
        table=system.table,
        system=system.name + variant,
        scope=system.scope,
        metric=measure.metric,
        theirs=measure.text,
        boundary=measure.boundary,
        ours=ours,
        reason=reason,
    )


def figure(metric: str, unit: str, units: Units) -> str | None:
    """Our median at a metric in the unit of the table; None if the trace does not say
    (WS-METRICS-2)."""
    values = METRICS[metric](units)
    if not values:
        return None
    middle = percentile(values, 50) / (MS_NS if unit == "ms" else Fraction(1))
    return f"{float(round(middle, 2)):g}{UNITS[unit]}"
