"""States of a session that fit none: refused, and the session that was to take them goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import attrs
import numpy as np

from conformance.case import Case, Context
from conformance.checks.lifecycle import script_of
from conformance.inputs import base
from conformance.programs import Life, as_the_oracle
from conformance.protocol import KvEntries, KvExport, Refusal, UnitOutput
from conformance.recording import Script, copied

Damage = Callable[[KvExport], KvExport]


def _entries(state: KvExport, change: Callable[[KvEntries], KvEntries]) -> KvExport:
    return attrs.evolve(state, roles={role: change(e) for role, e in state.roles.items()})


def _nan(entries: KvEntries) -> KvEntries:
    keys = entries.keys.copy()
    keys.reshape(-1)[keys.size // 2] = np.nan
    return attrs.evolve(entries, keys=keys)


DAMAGED: Final[dict[str, Damage]] = {
    "no-roles": lambda s: attrs.evolve(s, roles={}),
    "a-layer-less": lambda s: _entries(
        s, lambda e: attrs.evolve(e, keys=e.keys[:-1], values=e.values[:-1])
    ),
    "a-head-less": lambda s: _entries(
        s, lambda e: attrs.evolve(e, keys=e.keys[:, :-1], values=e.values[:, :-1])
    ),
    "rows-without-keys": lambda s: _entries(
        s, lambda e: attrs.evolve(e, keys=e.keys[:, :, :-1], values=e.values[:, :, :-1])
    ),
    "narrow-heads": lambda s: _entries(
        s, lambda e: attrs.evolve(e, keys=e.keys[..., :-1], values=e.values[..., :-1])
    ),
    "not-a-number": lambda s: _entries(s, _nan),
    "next-unit-before-the-first": lambda s: attrs.evolve(s, unit=-1),
    "narrow-rows": lambda s: _entries(s, lambda e: attrs.evolve(e, rows=e.rows[:, :-1])),
}
"""States that fit no session of the preset they come from (WS-CONFORMANCE-17)."""


def bad_state(context: Context) -> Iterator[Case]:
    """A state that does not fit is refused, and the session goes on unharmed
    (WS-CONFORMANCE-17, WS-CONFORMANCE-4)."""
    for name, damage in DAMAGED.items():
        yield Case(name=name, judge=partial(_state_refused, context, damage))
    yield Case(name="another-preset", judge=partial(_state_refused, context, None))
    yield Case(name="nothing-but-the-caches", judge=partial(_extra_lost, context))


def _state_refused(context: Context, damage: Damage | None) -> str | None:
    context.need("kv_transfer")
    script = script_of(context)
    source = script if damage else base("tiny", "overlapped", context.dtype, units=5, forced=True)
    state = state_after(context, source, 2)
    session = context.port.open(script.open)
    outputs: list[UnitOutput] = []
    try:
        for unit in script.units[:2]:
            outputs += map(copied, context.port.step(session, unit))
        try:
            context.port.import_kv(session, damage(state) if damage else state)
        except Refusal:
            pass
        else:
            return "the state was accepted"
        for unit in script.units[2:]:
            outputs += map(copied, context.port.step(session, unit))
        outputs += map(copied, context.port.finish(session))
    finally:
        context.port.close(session)
    life = Life(
        session="a",
        request=script.open,
        units=list(script.units),
        outputs={output.unit: output for output in outputs},
    )
    reason = as_the_oracle(context, [life])
    return reason and f"after the refusal: {reason}"


def _extra_lost(context: Context) -> str | None:
    """What a port needs beside the caches is not made up where it is missing."""
    context.need("kv_transfer")
    if not state_after(context, script_of(context), 2).extra:
        return None
    return _state_refused(context, lambda s: attrs.evolve(s, extra={}))


def state_after(context: Context, script: Script, count: int) -> KvExport:
    """What the port exports after so many units of ``script``."""
    session = context.port.open(script.open)
    try:
        for unit in script.units[:count]:
            context.port.step(session, unit)
        return context.port.export_kv(session)
    finally:
        context.port.close(session)
