"""Latency: units come when they come, and answers are due whether or not the port is ready.

Time is the suite's own (`conformance.latency_clock`) and counts from the scheduled moment of a
unit, so a port that is busy when a unit comes is late with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from conformance.case import Case, Check, Context, Inconclusive
from conformance.confidence import holds, units_needed
from conformance.inputs import base
from conformance.latency_clock import clock
from conformance.recording import Script
from spec import clock as units_clock
from spec.presets import TINY_BARE

BUDGET_NS: Final = 2 * units_clock.UNIT_NS
BEHIND: Final = 3
"""After unit k was taken, unit k - 3 has been answered."""
BACKLOG_UNITS: Final = 48


def deadlines(context: Context) -> Iterator[Case]:
    """Responses within two units of their unit's being available (WS-LATENCY-7)."""
    preset = TINY_BARE
    script = base(preset.name, preset.schedule, context.dtype, units=units_needed())
    yield Case(name=preset.schedule, judge=partial(_in_time, context, script))


def _in_time(context: Context, script: Script) -> str | None:
    units = len(script.units)
    took = {unit.unit: 0 for unit in script.units}
    answered: list[int] = []
    for unit, ns in _times(context, script):
        answered.append(unit)
        took[unit] = ns
        late = sum(t > BUDGET_NS for t in took.values())
        found = f"{late} of {units} units late; the slowest took {max(took.values()) / 1e6:.0f} ms"
        if holds(late, units) is False:
            # However the rest of the session goes.
            return f"at least {found} of 320 ms"
    if answered != list(took):
        # What is never answered, or twice, is not in time.
        missing = [unit for unit in took if unit not in answered]
        return f"units {missing[:8]} were never answered" if missing else "units came out of turn"
    if holds(late, units) is None:
        raise Inconclusive(f"{found} of 320 ms: too few units to tell")
    return None


def _times(context: Context, script: Script) -> Iterator[tuple[int, int]]:
    """Each unit as it is answered, and how long after it was available, in ns."""
    session = context.port.open(script.open)
    time = clock()
    start = time.now()
    try:
        for unit in script.units:
            time.sleep_until(start + (unit.unit + 1) * units_clock.UNIT_NS)
            outputs = context.port.step(session, unit)
            now = time.now()
            yield from ((o.unit, now - start - (o.unit + 1) * units_clock.UNIT_NS) for o in outputs)
        outputs = context.port.finish(session)
        now = time.now()
        yield from ((o.unit, now - start - (o.unit + 1) * units_clock.UNIT_NS) for o in outputs)
    finally:
        context.port.close(session)


def backlog(context: Context) -> Iterator[Case]:
    """However long the session is, no more than the newest units are without an answer
    (WS-LATENCY-8). Counted in units, so it needs no clock."""
    preset = TINY_BARE
    script = base(preset.name, preset.schedule, context.dtype, units=BACKLOG_UNITS)
    yield Case(name=preset.schedule, judge=partial(_keeps_up, context, script))


def _keeps_up(context: Context, script: Script) -> str | None:
    session = context.port.open(script.open)
    newest = -1
    try:
        for unit in script.units:
            for output in context.port.step(session, unit):
                newest = output.unit
            if unit.unit - newest > BEHIND:
                return f"after unit {unit.unit} was taken, the newest answer is that of {newest}"
    finally:
        context.port.close(session)
    return None


CHECKS = (
    Check(
        id="latency/backlog",
        clauses=("WS-LATENCY-8",),
        profile="latency",
        tolerance="A",
        cases=backlog,
    ),
    Check(
        id="latency/deadlines",
        clauses=("WS-LATENCY-7",),
        profile="latency",
        tolerance="A",
        cases=deadlines,
    ),
)
