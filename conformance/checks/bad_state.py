"""States of a session that fit none: refused, and the session that was to take them goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import attrs
import numpy as np

from conformance.case import Case, Context
from conformance.checks.lifecycle import script_of
from conformance.inputs import BARE, base
from conformance.programs import as_the_oracle, life_of
from conformance.protocol import Array, KvEntries, KvExport, Refusal, UnitOutput
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


def _performers(state: KvExport, change: Callable[[KvEntries], KvEntries]) -> KvExport:
    """Only the cache of the performer is changed."""
    roles = {r: change(e) if r == "performer" else e for r, e in state.roles.items()}
    return attrs.evolve(state, roles=roles)


def _infinite(entries: KvEntries) -> KvEntries:
    values = entries.values.copy()
    values.reshape(-1)[-1] = np.inf
    return attrs.evolve(entries, values=values)


def _picked(entries: KvEntries, indices: Array) -> KvEntries:
    """These entries, in this order."""
    return KvEntries(
        rows=entries.rows[indices],
        keys=entries.keys[:, :, indices],
        values=entries.values[:, :, indices],
    )


def _twice(entries: KvEntries) -> KvEntries:
    count = len(entries.rows)
    return _picked(entries, np.array([*range(count), count // 2]))


def _elsewhere(entries: KvEntries) -> KvEntries:
    """The first token of the prefill stands at another place."""
    rows = entries.rows.copy()
    rows[0, 4:7] += 1
    return attrs.evolve(entries, rows=rows)


IMPOSSIBLE: Final[dict[str, Damage]] = {
    "performer-not-a-number": lambda s: _performers(s, _nan),
    "infinite-value": lambda s: _entries(s, _infinite),
    "performer-infinite-value": lambda s: _performers(s, _infinite),
    "no-performer": lambda s: attrs.evolve(s, roles={"thinker": s.roles["thinker"]}),
    "no-thinker": lambda s: attrs.evolve(s, roles={"performer": s.roles["performer"]}),
    "an-entry-twice": lambda s: _entries(s, _twice),
    "performer-an-entry-twice": lambda s: _performers(s, _twice),
    "performer-an-entry-less": lambda s: _performers(
        s, lambda e: _picked(e, np.arange(1, len(e.rows)))
    ),
    "performer-an-entry-elsewhere": lambda s: _performers(s, _elsewhere),
    "entries-of-the-next-unit": lambda s: attrs.evolve(s, unit=s.unit - 1),
}
"""States that no session comes to, though every array has its shape (WS-CONFORMANCE-17)."""


def bad_state(context: Context) -> Iterator[Case]:
    """A state that does not fit is refused, and the session goes on unharmed
    (WS-CONFORMANCE-17, WS-CONFORMANCE-4)."""
    for name, damage in DAMAGED.items():
        yield Case(
            name=name,
            clauses=("WS-CONFORMANCE-4",) if name == "not-a-number" else (),
            further=name != "no-roles",
            judge=partial(_state_refused, context, damage),
        )
    yield Case(
        name="impossible", clauses=("WS-CONFORMANCE-17",), judge=partial(_none_taken, context)
    )
    yield Case(
        name="another-preset",
        clauses=("WS-CONFORMANCE-4",),
        further=True,
        judge=partial(_state_refused, context, None),
    )
    yield Case(
        name="nothing-but-the-caches",
        clauses=("WS-CONFORMANCE-17",),
        judge=partial(_extra_lost, context),
    )


def _none_taken(context: Context) -> str | None:
    """Each impossible state is refused; the session that was to take them all goes on."""
    context.need("kv_transfer")
    script = script_of(context)
    state = state_after(context, elsewhere(context), 2)

    def refused(session: str) -> str | None:
        for name, damage in IMPOSSIBLE.items():
            try:
                context.port.import_kv(session, damage(state))
            except Refusal:
                continue
            return f"the state was accepted: {name}"
        return None

    return _goes_on(context, script, refused)


def _state_refused(context: Context, damage: Damage | None) -> str | None:
    context.need("kv_transfer")
    script = script_of(context)
    other = base("tiny", "overlapped", context.dtype, units=5, forced=True)
    source = elsewhere(context) if damage else other
    state = state_after(context, source, 2)

    def refused(session: str) -> str | None:
        try:
            context.port.import_kv(session, damage(state) if damage else state)
        except Refusal:
            return None
        return "the state was accepted"

    return _goes_on(context, script, refused)


def elsewhere(context: Context) -> Script:
    """A session of the same request that has seen and said something else: what is kept of its
    state where it was refused shows."""
    return base(BARE, "overlapped", context.dtype, units=2, forced=True, seed=7)


def _goes_on(context: Context, script: Script, refused: Callable[[str], str | None]) -> str | None:
    """What ``refused`` finds wrong after two units; else whether the session goes on unharmed."""
    session = context.port.open(script.open)
    outputs: list[UnitOutput] = []
    try:
        for unit in script.units[:2]:
            outputs += map(copied, context.port.step(session, unit))
        reason = refused(session)
        if reason is not None:
            return reason
        for unit in script.units[2:]:
            outputs += map(copied, context.port.step(session, unit))
        outputs += map(copied, context.port.finish(session))
    finally:
        context.port.close(session)
    reason = as_the_oracle(context, [life_of(script, outputs)])
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
