"""Long sessions: more than half a minute, held to stored expectations, and causal to the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import attrs

from conformance import long_session
from conformance.case import Case, Check, Context, Inconclusive
from conformance.inputs import BARE, Field, base, perturbed
from conformance.long_session import UNITS, Name, sampled, stored
from conformance.oracle import naive_dtype
from conformance.pairing import compared
from conformance.recording import TENSORS, Recording
from conformance.relations import differ, same
from conformance.tolerance import drifts
from spec.layout import Modalities
from spec.sizes import LAG_OF_SCHEDULE

WINDOW: Final = 16
"""Units that are judged together."""

LATE: Final = 101
VERY_LATE: Final = 130
"""Units that are changed in sessions of a few more; no byte with a sign counts as far as the
second."""

VOICE: Final = Modalities(user_audio=False, user_video=False, agent_video=False)
"""Text and a voice that answers: all that feedback needs, at half the cost."""

SPOKEN: Final = attrs.evolve(VOICE, user_text=False)
WRITTEN: Final = attrs.evolve(VOICE, agent_audio=False)
"""The agent alone; text alone."""


def long(context: Context) -> Iterator[Case]:
    """Every tensor of 264 units, with a silence of seven seconds in it (WS-CONFORMANCE-9,
    WS-STREAMING-2)."""
    yield Case(
        name="heard",
        clauses=("WS-CONFORMANCE-9",),
        judge=partial(_drift, context, "heard", "logits"),
    )
    for tensor in TENSORS:
        yield Case(name=tensor, further=True, judge=partial(_drift, context, "whole", tensor))


def _drift(context: Context, name: Name, tensor: str) -> str | None:
    known, dtype = stored(name), context.dtype
    if known.inputs != long_session.inputs_digest(name):
        raise Inconclusive("the stored long session belongs to other inputs")
    recording = context.run(long_session.script(name, dtype))
    reason, judged = drifts(
        sampled(recording, tensor),
        known.truth[tensor],
        known.errors[naive_dtype(dtype)][tensor],
        known.scale[tensor],
        dtype,
        WINDOW,
        tensor,
    )
    if reason is None and judged < UNITS[name] // 2:
        raise Inconclusive(f"{tensor}: in {dtype} nothing can be told after unit {judged}")
    return reason and f"{tensor} drifts: {reason}"


def late(context: Context) -> Iterator[Case]:
    """Late in a session a response is seen no sooner than early in it, and a word only by what
    comes after it (WS-VISIBILITY-2, WS-VISIBILITY-6)."""
    yield Case(
        name="response",
        clauses=("WS-VISIBILITY-2",),
        brief=True,
        judge=partial(_late, context, "noise_audio", SPOKEN, LATE),
    )
    yield Case(
        name="words",
        clauses=("WS-VISIBILITY-6",),
        judge=partial(_late, context, "agent_text", WRITTEN, LATE),
    )
    yield Case(
        name="words-and-voice",
        clauses=("WS-VISIBILITY-6",),
        further=True,
        judge=partial(_late, context, "agent_text", SPOKEN, VERY_LATE),
    )
    yield Case(
        name="response-very-late",
        clauses=("WS-VISIBILITY-2",),
        further=True,
        judge=partial(_late, context, "noise_audio", SPOKEN, VERY_LATE),
    )


def _late(context: Context, field: Field, modalities: Modalities, late: int) -> str | None:
    lag = LAG_OF_SCHEDULE["overlapped"]
    script = base(
        BARE,
        "overlapped",
        context.dtype,
        units=late + 3,
        modalities=modalities,
        forced=True,
        seed=6,
    )
    heard = ("audio_latents", "audio") if modalities.agent_audio else ()
    what = f"{field} of unit {late}"

    def judge(before: Recording, after: Recording) -> str | None:
        if field == "agent_text":
            # The first word of two: its own logits and those before it stay.
            a, b = before[late].logits, after[late].logits
            if a[:1].tobytes() != b[:1].tobytes():
                return f"{what} reached the logits it was chosen from"
            early = same(before, after, range(late))
        else:
            early = same(before, after, range(late)) or same(
                before, after, range(late, late + lag + 1), ("logits",)
            )
        return early and f"{what} was seen too early: {early}"

    def used(before: Recording, after: Recording) -> str | None:
        if field == "agent_text":
            unused = differ(before, after, late, ("logits", *heard))
        else:
            unused = differ(before, after, late, heard)
            unused = unused or differ(before, after, late + 1 + lag, ("logits",))
        return unused and f"{what} is not used: {unused}"

    return compared(context, script, perturbed(script, field, late), judge, used=used)


CHECKS = (
    Check(
        id="drift/long",
        clauses=("WS-CONFORMANCE-9", "WS-STREAMING-2", "WS-STREAMING-10", "WS-POSITIONS-1"),
        profile="session",
        tolerance="D",
        cases=long,
    ),
    Check(
        id="drift/late",
        clauses=("WS-VISIBILITY-2", "WS-VISIBILITY-6"),
        profile="session",
        tolerance="A",
        cases=late,
    ),
)
