"""Causality by perturbation: change the values of one unit, and only later outputs may move.

Bit-exact on purpose (class A): a tolerance cannot see a small leak. Lengths never change. And a
change must arrive, or an input that is ignored would pass for one that is causal.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from typing import Final

import attrs

from conformance.case import Case, Check, Context
from conformance.inputs import BARE, PROBED, PROBED_UNITS, Field, base, perturbed
from conformance.pairing import compared
from conformance.recording import Form, Recording, Script
from conformance.relations import close, differ, same
from spec.layout import Modalities
from spec.sizes import LAG_OF_SCHEDULE, Schedule

FORMS: Final[tuple[Form, ...]] = ("stream", "offline")
LATENTS: Final = ("audio_latents", "video_latents")

REACHED: Final[dict[Field, tuple[str, ...]]] = {
    "audio": ("logits", *LATENTS),
    "video": ("logits", *LATENTS),
    "text": ("logits", *LATENTS),
    "agent_text": LATENTS,
    "noise_audio": (*LATENTS, "audio", "video"),
    "noise_video": (*LATENTS, "audio", "video"),
}
"""What an input of unit k must move in unit k itself (PAPER Eq. (1): y_k sees u_{≤k})."""


SEEN_IN_TIME: Final[dict[Field, str]] = {
    "audio": "WS-VISIBILITY-5",
    "video": "WS-VISIBILITY-5",
    "text": "WS-VISIBILITY-5",
    "agent_text": "WS-VISIBILITY-6",
    "noise_audio": "WS-VISIBILITY-7",
}
SEEN_EARLY: Final[dict[Field, tuple[str, ...]]] = {
    "audio": ("WS-VISIBILITY-1", "WS-VISIBILITY-4"),
    "video": ("WS-VISIBILITY-1", "WS-VISIBILITY-4"),
    "text": ("WS-VISIBILITY-1",),
    "noise_audio": ("WS-VISIBILITY-1",),
}
"""The clauses that are broken when a change does not arrive, or arrives before its unit."""


def session_for(
    context: Context, field: Field, schedule: Schedule, units: int = PROBED_UNITS
) -> Script:
    """The session to perturb; the agent's text is prescribed only where it is what we change."""
    forced = field == "agent_text"
    return base(context.preset.name, schedule, context.dtype, units=units, forced=forced)


def by_perturbation(fields: tuple[Field, ...], context: Context) -> Iterator[Case]:
    """One case a unit and form of the model (WS-VISIBILITY-1, -4 ... -7): the stream shows that
    what came is seen in time; the offline form, which has all units, could see one too early."""
    for form in FORMS:
        for k in PROBED:
            early = form == "offline" and k > 0 and fields != ("agent_text",)
            # Of many numbers a leak may be less than a bit in one unit, and show in another.
            enough = k == PROBED[-1] or (early and fields[0] in ("audio", "video"))
            yield Case(
                name=f"{form}-unit{k}",
                clauses=SEEN_EARLY[fields[0]] if early else (SEEN_IN_TIME[fields[0]],),
                further=not enough or (form == "offline" and not early),
                judge=partial(_only_forward, context, fields, k, form),
            )


def _only_forward(context: Context, fields: tuple[Field, ...], k: int, form: Form) -> str | None:
    script = base(
        BARE,
        context.preset.schedule,
        context.dtype,
        units=PROBED_UNITS,
        forced=fields[0] == "agent_text",
    )
    changed = reduce(lambda s, field: perturbed(s, field, k), fields, script)
    what = f"{' and '.join(fields)} of unit {k}"

    def judge(before: Recording, after: Recording) -> str | None:
        leak = same(before, after, range(k))
        return leak and f"{what} reached an earlier unit: {leak}"

    def used(before: Recording, after: Recording) -> str | None:
        unused = differ(before, after, k, REACHED[fields[0]])
        return None if unused is None else f"{what} is not used: {unused}"

    return compared(context, script, changed, judge, form, used)


def agent_text(context: Context) -> Iterator[Case]:
    """Perturbation of single slots inside a unit, and of units (WS-VISIBILITY-6)."""
    for schedule in LAG_OF_SCHEDULE:
        for slot in range(context.preset.agent_text_slots):
            yield Case(
                name=f"{schedule}-slot{slot}",
                clauses=("WS-VISIBILITY-6", "WS-LAYOUT-4")[0 if slot == 0 else 1 :],
                judge=partial(_token_causal, context, schedule, 1, slot),
            )
    yield from by_perturbation(("agent_text",), context)


def _token_causal(context: Context, schedule: Schedule, k: int, slot: int) -> str | None:
    """Slot i is predicted from what stands before it: logits 0 ... i stay, all later ones move."""
    script = session_for(context, "agent_text", schedule, k + 2)

    def judge(before: Recording, after: Recording) -> str | None:
        for i in range(slot + 1):
            if before[k].logits[i].tobytes() != after[k].logits[i].tobytes():
                return f"unit {k}: text slot {slot} was changed, logits of slot {i} moved"
        return None

    def used(before: Recording, after: Recording) -> str | None:
        for i in range(slot + 1, context.preset.agent_text_slots):
            if before[k].logits[i].tobytes() == after[k].logits[i].tobytes():
                return f"unit {k}: text slot {slot} was changed, logits of slot {i} did not move"
        unused = differ(before, after, k, LATENTS) or differ(before, after, k + 1, ("logits",))
        return None if unused is None else f"text slot {slot} of unit {k} is not used: {unused}"

    changed = perturbed(script, "agent_text", k, slot)
    return compared(context, script, changed, judge, used=used)


def padding(context: Context) -> Iterator[Case]:
    """Slots without a user token are seen by nobody: a session in which all are empty equals one
    that has no such slots, and nothing else moves its place (WS-LAYOUT-3, WS-LAYOUT-5)."""
    yield Case(name="all-empty", judge=partial(_padding, context))


def _padding(context: Context) -> str | None:
    without = base(
        context.preset.name,
        context.preset.schedule,
        context.dtype,
        units=3,
        modalities=Modalities(user_text=False),
    )
    truth = context.oracle.truth(without, dtype=context.dtype)
    opened = attrs.evolve(truth.script.open, modalities=Modalities())
    actual = context.run(attrs.evolve(truth.script, open=opened))
    for tensor in ("logits", *LATENTS):
        reason = close(actual, truth.outputs, truth.naive, context.dtype, tensor)
        if reason is not None:
            return f"with all user text slots empty, {reason}"
    return None


def _check(stem: str, fields: tuple[Field, ...], clauses: tuple[str, ...]) -> Check:
    return Check(
        id=f"causality/{stem}",
        clauses=clauses,
        profile="session",
        tolerance="A",
        cases=partial(by_perturbation, fields),
    )


CHECKS = (
    _check("user-audio", ("audio",), ("WS-VISIBILITY-4", "WS-VISIBILITY-1", "WS-VISIBILITY-5")),
    _check("user-video", ("video",), ("WS-VISIBILITY-4", "WS-VISIBILITY-1", "WS-VISIBILITY-5")),
    _check("user-text", ("text",), ("WS-VISIBILITY-5", "WS-VISIBILITY-1")),
    _check("response", ("noise_audio", "noise_video"), ("WS-VISIBILITY-7", "WS-VISIBILITY-1")),
    Check(
        id="causality/agent-text",
        clauses=("WS-VISIBILITY-6", "WS-LAYOUT-4"),
        profile="session",
        tolerance="A",
        cases=agent_text,
    ),
    Check(
        id="causality/padding",
        clauses=("WS-LAYOUT-3", "WS-LAYOUT-5", "WS-POSITIONS-1"),
        profile="session",
        tolerance="C",
        cases=padding,
    ),
)
