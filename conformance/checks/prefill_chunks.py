"""The prefill in chunks: every plan gives the session of one pass (the feature prefill_chunks)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import attrs

from conformance.case import Case, Check, Context
from conformance.checks.cache import rows_held
from conformance.checks.identity import script_of, who_of
from conformance.checks.isolation import contents, request
from conformance.inputs import BARE, base
from conformance.programs import Step, as_the_oracle, ended, opened, play, stepped
from conformance.protocol import OpenRequest, Refusal
from conformance.recording import TENSORS, Script
from conformance.relations import close

Plan = tuple[int, ...]
PROMPT: Final = (84, 101, 108, 108, 32, 109)
TEXT: Final = len(PROMPT) + 1
"""Tokens of the text of P, `<bos>` included."""

PICTURE: Final = 6
"""Tokens of the picture, in both small presets."""

TICKS: Final = 3
OF_TEXT: Final[dict[str, Plan]] = {
    "whole": (TEXT,),
    "one-by-one": (1,) * TEXT,
    "three-and-four": (3, 4),
    "last-alone": (TEXT - 1, 1),
    "first-alone": (1, TEXT - 1),
}
OF_ALL: Final[dict[str, Plan]] = {
    "as-it-is-made-of": (TEXT, PICTURE, TICKS),
    "one-by-one-but-the-picture": ((1,) * TEXT + (PICTURE,) + (1,) * TICKS),
    "text-with-the-picture": (TEXT - 2, 2 + PICTURE, TICKS),
    "picture-with-the-voice": (TEXT, PICTURE + 1, TICKS - 1),
    "text-to-voice": (2, TEXT + PICTURE, TICKS - 2),
}
"""Plans of chunks by name; the prefill has a picture and a voice in the second table."""

BAD_OF_TEXT: Final[dict[str, Plan]] = {
    "no-chunk": (),
    "empty-chunk": (3, 0, TEXT - 3),
    "empty-at-the-end": (TEXT, 0),
    "negative-chunk": (TEXT + 1, -1),
    "a-token-less": (3, TEXT - 4),
    "a-token-more": (3, TEXT - 2),
    "one-chunk-too-many": (TEXT, 1),
}
BAD_OF_ALL: Final[dict[str, Plan]] = {
    "picture-cut": (TEXT + 2, PICTURE - 2, TICKS),
    "picture-one-by-one": ((TEXT,) + (1,) * PICTURE + (TICKS,)),
    "picture-cut-before-its-end": (TEXT, PICTURE - 1, 1 + TICKS),
    "picture-cut-after-its-start": (TEXT + 1, PICTURE - 1 + TICKS),
    "voice-left-out": (TEXT, PICTURE),
    "text-alone": (TEXT,),
}


def session(context: Context, everything: bool, preset: str = BARE, units: int = 1) -> Script:
    """A session with the prompt, in one pass; with picture and voice if ``everything``."""
    if everything:
        return script_of(context, preset, ticks=TICKS, prompt=PROMPT, units=units)
    return base(preset, "overlapped", context.dtype, units=units, prompt=PROMPT, forced=True)


def chunked(script: Script, plan: Plan) -> Script:
    """``script`` with its prefill run in chunks."""
    return attrs.evolve(script, open=attrs.evolve(script.open, prefill_chunks=plan))


def chunks(context: Context) -> Iterator[Case]:
    """Rows and all that follows are those of one pass (WS-PREFILL-5)."""
    for everything, plans in ((False, OF_TEXT), (True, OF_ALL)):
        for name, plan in plans.items():
            yield Case(name=name, judge=partial(_as_one_pass, context, everything, plan, BARE))
    plan = OF_ALL["text-to-voice"]
    yield Case(name="other-preset", judge=partial(_as_one_pass, context, True, plan, "tiny"))
    yield Case(name="rows", judge=partial(_rows, context, plan))
    yield Case(name="after-a-reset", judge=partial(_after_reset, context, plan))


def _need(context: Context, everything: bool) -> None:
    context.need("prefill_chunks")
    if everything:
        context.need("identity")


def _as_one_pass(context: Context, everything: bool, plan: Plan, preset: str) -> str | None:
    _need(context, everything)
    truth = context.oracle.truth(session(context, everything, preset), "stream", context.dtype)
    actual = context.run(chunked(truth.script, plan))
    reasons = (close(actual, truth.outputs, truth.naive, context.dtype, t) for t in TENSORS)
    return next((f"in chunks of {list(plan)}: {r}" for r in reasons if r is not None), None)


def _rows(context: Context, plan: Plan) -> str | None:
    _need(context, True)
    return rows_held(context, chunked(session(context, True, units=2), plan))


def _after_reset(context: Context, plan: Plan) -> str | None:
    _need(context, True)
    context.need("reset")
    who = who_of(context, voice_ticks=TICKS)
    asked = attrs.evolve(request(context), prompt=PROMPT, identity=who, prefill_chunks=plan)
    unit = stepped("a", contents(BARE, 0, 1))
    program = [opened("a", asked), *unit, Step(do="reset", session="a"), *unit, *ended("a")]
    return as_the_oracle(context, play(context.port, program))


def refused(context: Context) -> Iterator[Case]:
    """A plan that is none is refused when the session is opened (WS-PREFILL-6, WS-PREFILL-5)."""
    for everything, plans in ((False, BAD_OF_TEXT), (True, BAD_OF_ALL)):
        for name, plan in plans.items():
            yield Case(name=name, judge=partial(_refused, context, everything, plan))


def _refused(context: Context, everything: bool, plan: Plan) -> str | None:
    _need(context, everything)
    asked: OpenRequest = chunked(session(context, everything), plan).open
    try:
        name = context.port.open(asked)
    except Refusal:
        return None
    context.port.close(name)
    return f"a prefill in chunks of {list(plan)} was accepted"


CHECKS = (
    Check(
        id="prefill/chunks",
        clauses=("WS-PREFILL-5",),
        profile="session",
        tolerance="C",
        cases=chunks,
    ),
    Check(
        id="prefill/refused",
        clauses=("WS-PREFILL-6", "WS-PREFILL-5", "WS-CONFORMANCE-4"),
        profile="session",
        tolerance="A",
        cases=refused,
    ),
)
