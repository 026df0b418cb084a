"""What every token sees, as far as it shows: in what a change of one token's input moves.

The expectation is worked out from the visibility predicate (`conformance.reach`). Outputs and cache
entries that must not move keep every bit (class A); those that must, move, unless the oracle too
moves them by less than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks.causality import LATENTS, session_for
from conformance.inputs import BARE, PROMPT, Content, Field, in_dtype, perturbed, script_of, touched
from conformance.oracle import naive_dtype
from conformance.pairing import compared, first_change, settled
from conformance.protocol import Array, KvExport, OpenRequest
from conformance.reach import Place, Reach, Session, Site
from conformance.recording import Recording, Script
from conformance.relations import differ, same
from conformance.spread import CacheSpread
from conformance.tolerance import budget, same_bits
from spec.layout import Layout, Modalities, Modality, Segment
from spec.presets import preset_named
from spec.sizes import LAG_OF_SCHEDULE, Schedule

CHANGED: Final[tuple[tuple[Field, int], ...]] = (("noise_audio", 0), ("noise_video", 2))
LENGTH: Final = 5
"""The response of unit 2 is seen by the thinker in unit 4 under λ = 1."""

UNIT: Final = 1
"""The unit in which one token is changed: one before it, and three after."""

TEXTS: Final = ((97,), (98, 99), (), (100, 101), (102,))
"""User tokens of each unit: full, part and no slots."""

SITES: Final[dict[Site, tuple[int, ...]]] = {
    "audio": (0, 1, 3),
    "video": (0, 4),
    "text": (0, 1),
    "agent_text": (0, 1),
    "noise_audio": (0, 3),
    "noise_video": (0, 5),
    "prompt": (0, 2),
}
"""Ticks, patches or slots that are changed: the first, the last, and some between."""

RESPONSE: Final = ("WS-VISIBILITY-7", "WS-VISIBILITY-8", "WS-VISIBILITY-9")
OBSERVATION: Final = ("WS-VISIBILITY-4", "WS-VISIBILITY-5")
SEEN_BY: Final[dict[Site, tuple[str, ...]]] = {
    "audio": OBSERVATION,
    "video": OBSERVATION,
    "text": OBSERVATION,
    "agent_text": ("WS-VISIBILITY-6",),
    "noise_audio": RESPONSE,
    "noise_video": RESPONSE,
    "prompt": ("WS-VISIBILITY-3",),
}
"""The clauses that say who sees a token of that segment."""


def lag(context: Context) -> Iterator[Case]:
    """λ = 0 under the sequential schedule, 1 under the overlapped one (WS-VISIBILITY-2, -7)."""
    for schedule in LAG_OF_SCHEDULE:
        for field, k in CHANGED:
            committed = "WS-STREAMING-8" if schedule == "sequential" else "WS-STREAMING-9"
            first = ("WS-VISIBILITY-2",) if (schedule, k) == ("overlapped", 0) else ()
            yield Case(
                name=f"{schedule}-{field}-unit{k}",
                clauses=("WS-VISIBILITY-7", committed, *first),
                judge=partial(_lag, context, schedule, field, k),
            )


def _lag(context: Context, schedule: Schedule, field: Field, k: int) -> str | None:
    """z_k must not reach logits of units ≤ k + λ, and must reach those of unit k + λ + 1, while
    z_{k+1} sees it under both schedules; and noise of one modality moves both."""
    script = session_for(context, field, schedule, LENGTH)
    first = k + 1 + LAG_OF_SCHEDULE[schedule]

    def judge(before: Recording, after: Recording) -> str | None:
        early = same(before, after, range(first), ("text", "logits"))
        return early and f"response {k} was seen too early: {early}"

    def used(before: Recording, after: Recording) -> str | None:
        late = (
            differ(before, after, k, LATENTS)
            or differ(before, after, k + 1, LATENTS)
            or differ(before, after, first, ("logits",))
        )
        return None if late is None else f"response {k} was not seen in time: {late}"

    return compared(context, script, perturbed(script, field, k), judge, used=used)


def session_of(context: Context, schedule: Schedule) -> tuple[Script, Session]:
    """The session whose tokens are changed one by one, and its token table."""
    preset = preset_named(BARE)
    request = OpenRequest(preset=BARE, schedule=schedule, dtype=context.dtype, prompt=PROMPT)
    words = [(65 + 2 * k, 80 - k) for k in range(len(TEXTS))]
    contents = [Content(text=t, agent_text=w) for t, w in zip(TEXTS, words, strict=True)]
    layout = Layout(preset=preset, modalities=Modalities(), prefill_tokens=1 + len(PROMPT))
    table = Session(layout, LAG_OF_SCHEDULE[schedule], [len(t) for t in TEXTS])
    return script_of(request, contents), table


def places() -> Iterator[Place]:
    for site, indices in SITES.items():
        for index in indices:
            yield Place(site=site, unit=-1 if site == "prompt" else UNIT, index=index)


def _about(place: Place, schedule: Schedule) -> tuple[str, ...]:
    """The clauses of who sees ``place``; the first token of each kind stands for the predicate as
    a whole."""
    whole = ("WS-VISIBILITY-1",) if place.index == 0 and schedule == "overlapped" else ()
    return (*SEEN_BY[place.site], *whole)


def tokens(context: Context) -> Iterator[Case]:
    """Outputs, for a change of each kind of input token (WS-VISIBILITY-1 to 9)."""
    for schedule in LAG_OF_SCHEDULE:
        for place in places():
            yield Case(
                name=f"{schedule}-{place.site}{place.index}",
                clauses=_about(place, schedule),
                judge=partial(_tokens, context, schedule, place),
            )


def _tokens(context: Context, schedule: Schedule, place: Place) -> str | None:
    script, table = session_of(context, schedule)
    changed = touched(script, place)
    must, may = table.reach(place, far=False), table.reach(place, far=True)
    what = f"{place.site} {place.index} of unit {place.unit} was changed"

    def found(before: Recording, after: Recording, *, leaks: bool) -> str | None:
        for k, (a, b) in enumerate(zip(before, after, strict=True)):
            heard = may.audio_latents[: k + 1], must.audio_latents[k]
            shown = may.video_latents[: k + 1], must.video_latents[k]
            parts: list[tuple[str, Array | None, Array | None, bool, bool]] = [
                (f"logits of slot {i}", x, y, bool(may.logits[k][i]), bool(must.logits[k][i]))
                for i, (x, y) in enumerate(zip(a.logits, b.logits, strict=True))
            ]
            parts += [
                (
                    "audio_latents",
                    a.audio_latents,
                    b.audio_latents,
                    bool(heard[0][-1].any()),
                    bool(heard[1].any()),
                ),
                (
                    "video_latents",
                    a.video_latents,
                    b.video_latents,
                    bool(shown[0][-1].any()),
                    bool(shown[1].any()),
                ),
                ("audio", a.audio, b.audio, any(x.any() for x in heard[0]), bool(heard[1].any())),
                ("video", a.video, b.video, any(x.any() for x in shown[0]), bool(shown[1].any())),
            ]
            for name, x, y, allowed, wanted in parts:
                moved = not same_bits(x, y)
                if leaks and moved and not allowed:
                    return f"{what}, and {name} of unit {k} moved"
                tensor = name.split()[0]
                if (
                    not (leaks or moved)
                    and wanted
                    and _oracle_moves(context, script, changed, k, tensor)
                ):
                    return f"{what}, and {name} of unit {k} did not move"
        return None

    if "kv_transfer" in context.hello.features:
        # One run of each serves `visibility/cache` too.
        for each in (script, changed):
            context.run.exported(each)
    leak, unused = partial(found, leaks=True), partial(found, leaks=False)
    return compared(context, script, changed, leak, used=unused)


def _oracle_moves(context: Context, script: Script, changed: Script, k: int, tensor: str) -> bool:
    """Does the oracle move it by more than two naive ports may be apart?"""
    a, b = (context.oracle.truth(s, "stream", context.dtype) for s in (script, changed))
    one, other = (getattr(t.outputs[k], tensor) for t in (a, b))
    naive = [getattr(n[k], tensor) for n in a.naive]
    allowed = budget(one, naive, context.dtype).max
    return bool(np.abs(one - other).max() > 2 * allowed)


def cache(context: Context) -> Iterator[Case]:
    """Cache entries, layer by layer, for a change of each kind of input token: what each token of
    each segment saw shows in its own keys and values (WS-VISIBILITY-1 to 9, WS-STREAMING-3)."""
    for schedule in LAG_OF_SCHEDULE:
        for place in places():
            written = ("WS-STREAMING-3", "WS-LAYOUT-6") if place.site.startswith("noise") else ()
            yield Case(
                name=f"{schedule}-{place.site}{place.index}",
                clauses=(*_about(place, schedule), *written),
                judge=partial(_cache, context, schedule, place),
            )


def _cache(context: Context, schedule: Schedule, place: Place) -> str | None:
    script, table = session_of(context, schedule)
    changed = touched(script, place)
    must, may = table.reach(place, far=False), table.reach(place, far=True)
    what = f"{place.site} {place.index} of unit {place.unit} was changed"

    def found(before: KvExport, after: KvExport, *, leaks: bool) -> str | None:
        for role, entries in before.roles.items():
            other = after.roles[role]
            if not same_bits(entries.rows, other.rows):
                return f"{what}, and the rows of the {role}'s cache moved"
            moved = _moved(entries.keys, other.keys) | _moved(entries.values, other.values)
            felt = partial(_oracle_moves_entry, context, script, changed, role)
            reason = _misplaced(entries.rows, moved, must, may, felt, leaks=leaks)
            if reason is not None:
                return f"{what}, and in the {role}'s cache {reason}"
        return None

    leak, unused = partial(found, leaks=True), partial(found, leaks=False)
    exported = context.run.exported(script), context.run.exported(changed)
    if leak(*exported) is None and unused(*exported) is None:
        return None
    return settled(
        context,
        lambda: context.run.both(script)[1],
        lambda: context.run.both(changed)[1],
        leak,
        first_change,
        CacheSpread(context=context, script=script),
        unused,
    )


def _moved(a: Array, b: Array) -> Array:
    """One bit for each layer and entry."""
    size = np.dtype(f"u{a.dtype.itemsize}")
    return np.asarray((a.view(size) != b.view(size)).any(axis=(1, 3)))


def _oracle_moves_entry(
    context: Context, script: Script, changed: Script, role: str, layer: int, row: int
) -> bool:
    """Does the oracle move that entry by more than two naive ports may be apart?"""
    exported = context.oracle.record.exported
    one, other = (exported(in_dtype(s, "float64")).roles[role] for s in (script, changed))
    narrow = exported(in_dtype(script, naive_dtype(context.dtype))).roles[role]
    for name in ("keys", "values"):
        a, b, n = (getattr(entries, name)[layer] for entries in (one, other, narrow))
        if np.abs(a[:, row] - b[:, row]).max() > 2 * budget(a, [n], context.dtype).max:
            return True
    return False


def _misplaced(
    rows: Array,
    moved: Array,
    must: Reach,
    may: Reach,
    felt: Callable[[int, int], bool],
    *,
    leaks: bool,
) -> str | None:
    """The first entry that moved and must not, if ``leaks``, else that did not and must: what
    ``felt`` says is more than rounding."""
    index = {(r.unit, r.segment, r.slot): i for i, r in enumerate(may.rows)}
    for j, (unit, segment, modality, slot, *_) in enumerate(rows.tolist()):
        i = index.get((unit, segment, slot))
        if i is None or may.rows[i].pad:
            # What stands in a padding slot is nobody's business (WS-LAYOUT-3).
            continue
        token = f"{Segment(segment).name}_{unit} slot {slot} ({Modality(modality).name.lower()})"
        for layer, bit in enumerate(moved[:, j]):
            if leaks and bit and not may.entries[layer, i]:
                return f"layer {layer} of {token} moved"
            if not (leaks or bit) and must.entries[layer, i] and felt(layer, j):
                return f"layer {layer} of {token} did not move"
    return None


EVERYTHING: Final = tuple(f"WS-VISIBILITY-{n}" for n in range(1, 10) if n != 2)
"""All but the lag itself."""

CHECKS = (
    Check(
        id="visibility/lag",
        clauses=("WS-VISIBILITY-2", "WS-VISIBILITY-7", "WS-STREAMING-8", "WS-STREAMING-9"),
        profile="session",
        tolerance="A",
        cases=lag,
    ),
    Check(
        id="visibility/tokens",
        clauses=EVERYTHING,
        profile="session",
        tolerance="A",
        cases=tokens,
    ),
    Check(
        id="visibility/cache",
        clauses=(*EVERYTHING, "WS-STREAMING-3", "WS-LAYOUT-6"),
        profile="session",
        tolerance="A",
        cases=cache,
    ),
)
