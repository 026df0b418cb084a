"""A state that leaves or enters a session is a copy, and to look at one leaves no trace."""

from __future__ import annotations

from functools import partial

import attrs

from conformance.case import Context
from conformance.checks.bad_state import state_after
from conformance.checks.lifecycle import script_of
from conformance.pairing import arrays_of, as_undisturbed, first_change
from conformance.programs import as_the_oracle, life_of
from conformance.protocol import KvEntries, KvExport, UnitInput
from conformance.recording import copied, streamed


def taken_is_copied(context: Context) -> str | None:
    """Whoever hands in a state may reuse its arrays."""
    context.need("kv_transfer")
    script = script_of(context)
    state = _copy(state_after(context, script, 2))
    session = context.port.open(script.open)
    try:
        context.port.import_kv(session, state)
        for array in arrays_of(state).values():
            array[...] = 0
        outputs = [copied(output) for output in context.port.step(session, script.units[2])]
        outputs += map(copied, context.port.finish(session))
    finally:
        context.port.close(session)
    moved = attrs.evolve(script, units=script.units[:3])
    reason = as_the_oracle(context, [life_of(moved, outputs, first=2)])
    return reason and f"the arrays that were taken were overwritten: {reason}"


def not_aliased(context: Context) -> str | None:
    """Neither does a step change what was exported, nor does writing to it change the session."""
    context.need("kv_transfer")
    script = script_of(context)
    session = context.port.open(script.open)
    try:
        for unit in script.units[:3]:
            context.port.step(session, unit)
        state = context.port.export_kv(session)
        before = _copy(state)
        context.port.step(session, script.units[3])
        changed = first_change(before, state)
        if changed is not None:
            return f"a later step changed the exported {changed}"
        again = context.port.export_kv(session)
        kept = _copy(again)
        for array in arrays_of(again).values():
            if array.flags.writeable:
                array[...] = 0
        changed = first_change(kept, context.port.export_kv(session))
        return changed and f"writing to what was exported changed the session's {changed}"
    finally:
        context.port.close(session)


def _copy(state: KvExport) -> KvExport:
    roles = {
        role: KvEntries(rows=e.rows.copy(), keys=e.keys.copy(), values=e.values.copy())
        for role, e in state.roles.items()
    }
    extra = {name: array.copy() for name, array in state.extra.items()}
    return KvExport(unit=state.unit, roles=roles, extra=extra)


def no_trace(context: Context) -> str | None:
    """A session that is exported before every unit gives the bits of one that never is."""
    context.need("kv_transfer")
    script = script_of(context)

    def export(session: str, _: UnitInput) -> None:
        context.port.export_kv(session)

    exporting = partial(streamed, context.port, script, export)
    alone = partial(context.run.stream, script)
    return as_undisturbed(context, script, alone, exporting, "exported before every unit")
