"""What the caches hold, read through export: rows bit for bit, keys and values in class C."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks import positions
from conformance.inputs import BARE, base, in_dtype
from conformance.oracle import naive_dtype
from conformance.protocol import Array, KvEntries, KvExport
from conformance.recording import Script
from conformance.tolerance import MANY, budget, exceeds
from spec.layout import (
    Layout,
    Modalities,
    Row,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.prefill import Identity
from spec.presets import preset_named
from spec.sizes import LAG_OF_SCHEDULE

UNITS: Final = 5
COLUMNS: Final = ("unit", "segment", "modality", "slot", "t", "h", "w", "pad")
PAD: Final = COLUMNS.index("pad")


WITHOUT: Final = {
    "no-video-no-voice": Modalities(user_video=False, agent_audio=False),
    "no-sound-no-words": Modalities(user_audio=False, agent_text=False),
    "no-text-no-face": Modalities(user_text=False, agent_video=False),
}


ROWS: Final = ("WS-LAYOUT-2", "WS-POSITIONS-1", "WS-POSITIONS-2", "WS-POSITIONS-3", "WS-LAYOUT-6")
COMMITTED: Final = ("WS-STREAMING-6", "WS-STREAMING-4")
NUMBERS: Final = ("WS-POSITIONS-6",)
FIRST: Final = ("WS-CONFORMANCE-17", "WS-STREAMING-1", "WS-STREAMING-3")


def contents(context: Context) -> Iterator[Case]:
    """Both roles hold the prefill and all that both have committed, once, in canonical order; keys
    are rotated, of the clean pass, and of the layer where they stand (WS-STREAMING-6,
    WS-CONFORMANCE-17)."""
    for preset in (BARE, "tiny"):
        for schedule in LAG_OF_SCHEDULE:
            script = base(preset, schedule, context.dtype, units=UNITS, forced=True)
            # One session, the cheapest, for the clauses that have much else to be judged by.
            first = FIRST if (preset, schedule) == (BARE, "sequential") else ()
            yield Case(
                name=f"{preset}-{schedule}-rows",
                clauses=(*ROWS, *COMMITTED, *first),
                further=preset != BARE,
                judge=partial(rows_held, context, script),
            )
            for name in ("keys", "values"):
                yield Case(
                    name=f"{preset}-{schedule}-{name}",
                    clauses=(*COMMITTED, *NUMBERS, *first),
                    further=preset != BARE,
                    judge=partial(numbers_held, context, script, name),
                )
    # Slots count over what there is, so what a session does not have leaves no gap.
    for name, has in WITHOUT.items():
        script = base(BARE, "sequential", context.dtype, units=3, modalities=has, forced=True)
        yield Case(name=f"{name}-rows", clauses=ROWS, judge=partial(rows_held, context, script))
    for preset, length in positions.PROMPTS:
        script = positions.script_of(context, preset, length)
        yield Case(
            name=f"prompt-{length}-rows",
            clauses=("WS-LAYOUT-2", "WS-POSITIONS-1"),
            judge=partial(rows_held, context, script),
        )


def expected_rows(script: Script, up_to: int) -> list[list[int]]:
    """Rows of the prefill and of units ≤ ``up_to``, padding left out (WS-LAYOUT-2)."""
    preset, who = preset_named(script.open.preset), script.open.identity
    identity = Identity() if who is None else Identity(image=who.image, voice_ticks=who.voice_ticks)
    layout = Layout(
        preset=preset,
        modalities=script.open.modalities,
        prefill_tokens=1 + len(script.open.prompt) + identity.slots(preset),
        identity=identity,
    )
    rows: list[Row] = [*prefill_rows(layout)]
    for k in range(up_to + 1):
        rows += observation_rows(layout, k, len(script.units[k].text))
        rows += language_rows(layout, k) + response_rows(layout, k)
    return [[int(getattr(row, name)) for name in COLUMNS] for row in rows if not row.pad]


def committed(entries: KvEntries, up_to: int) -> Array:
    """Indices of the entries that both roles must hold by now; padding is nobody's business."""
    rows = entries.rows
    return np.flatnonzero((rows[:, 0] <= up_to) & (rows[:, PAD] == 0))


def rows_held(context: Context, script: Script) -> str | None:
    """The rows that both roles hold after ``script``, bit for bit (WS-LAYOUT-2)."""
    return rows_off(context.run.exported(script), script)


def rows_off(state: KvExport, script: Script) -> str | None:
    """What is wrong with the rows of ``state``, exported after ``script``."""
    units = len(script.units)
    if state.unit != units:
        return f"the next unit is said to be {state.unit}, not {units}"
    if set(state.roles) != {"thinker", "performer"}:
        return f"roles {sorted(state.roles)}, not thinker and performer"
    wanted = expected_rows(script, units - 2)
    for role, entries in state.roles.items():
        got = entries.rows[committed(entries, units - 2)].tolist()
        if len(got) != len(wanted):
            return f"the {role} holds {len(got)} entries of units ≤ {units - 2}, not {len(wanted)}"
        for i, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
            if mine != theirs:
                return f"the {role}, entry {i}: row {mine}, not {theirs} ({', '.join(COLUMNS)})"
    return None


def numbers_held(context: Context, script: Script, name: str) -> str | None:
    """The "keys" or "values" that both roles hold after ``script``, in class C."""
    dtype = context.dtype
    truth, naive = (
        context.oracle.record.exported(in_dtype(script, each))
        for each in ("float64", naive_dtype(dtype))
    )
    for role, entries in context.run.exported(script).roles.items():
        actual, expected, rough = (
            _of(state, name, len(script.units))
            for state in (entries, truth.roles[role], naive.roles[role])
        )
        if actual.shape != expected.shape:
            return f"the {role} holds {actual.shape[2]} entries, not {expected.shape[2]}"
        for layer, (a, t, n) in enumerate(zip(actual, expected, rough, strict=True)):
            allowed = budget(t, [n], dtype).wider(MANY)
            reason = exceeds(a, t, allowed, f"{name} of layer {layer}", dtype)
            if reason is not None:
                return f"the {role}'s {name} of layer {layer} [head, entry, component] {reason}"
    return None


def _of(entries: KvEntries, name: str, units: int) -> Array:
    """[layers, kv_heads, n, head_dim] of what both roles must hold after so many units."""
    array: Array = getattr(entries, name)
    return np.asarray(array[:, :, committed(entries, units - 2)])


CHECKS = (
    Check(
        id="transfer/contents",
        clauses=(
            "WS-CONFORMANCE-17",
            "WS-STREAMING-6",
            "WS-STREAMING-3",
            "WS-STREAMING-4",
            "WS-STREAMING-1",
            "WS-LAYOUT-2",
            "WS-LAYOUT-6",
            "WS-POSITIONS-1",
            "WS-POSITIONS-2",
            "WS-POSITIONS-3",
            "WS-POSITIONS-6",
        ),
        profile="session",
        tolerance="C",
        cases=contents,
    ),
)
