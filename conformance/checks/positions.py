"""Positions far out: a long prompt stands for a long session, at the price of one prefill."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from conformance.case import Case, Check, Context
from conformance.closeness import judge_all_close
from conformance.inputs import BARE, base
from conformance.recording import Script
from spec.layout import Modalities

LONG_PROMPT: Final = tuple(32 + (13 * i) % 90 for i in range(2056))
"""Past 1,024 and 2,048, where tables of angles have ended in real systems."""


PROMPTS: Final = (("tiny", 1030), (BARE, 2056))
EDGES: Final = (128, 256, 512, 1024)


def script_of(context: Context, preset: str, length: int) -> Script:
    """Two units after a prompt of so many tokens."""
    return base(
        preset,
        context.preset.schedule,
        context.dtype,
        units=2,
        prompt=LONG_PROMPT[:length],
        forced=True,
    )


def far_out(context: Context) -> Iterator[Case]:
    """The oracle's stream is the truth here; short sessions hold it to its offline form
    (WS-POSITIONS-5)."""
    for preset, length in PROMPTS:
        script = script_of(context, preset, length)
        yield Case(
            name=f"prompt-{length}",
            # The shorter one is of the other preset.
            further=preset != BARE,
            judge=partial(_far_out, context, script),
        )


def on_edges(context: Context) -> Iterator[Case]:
    """Frames that lie across a power of two in h and w, and not in t: nothing else of the session
    comes so far (WS-POSITIONS-5)."""
    sees = Modalities(user_text=False, user_audio=False, agent_text=False, agent_audio=False)
    for length in EDGES:
        script = base(
            BARE,
            "overlapped",
            context.dtype,
            units=1,
            prompt=LONG_PROMPT[: length - 2],
            modalities=sees,
        )
        yield Case(
            name=f"picture-at-{length}",
            clauses=("WS-POSITIONS-5",),
            further=length != EDGES[0],
            judge=partial(judge_all_close, context, script, context.dtype, "stream"),
        )
    if "float64" in context.hello.dtypes and context.dtype != "float64":
        prompt = LONG_PROMPT[:1100]
        script = base(BARE, "overlapped", "float64", units=1, prompt=prompt, forced=True)
        yield Case(
            name="prompt-1100-float64",
            clauses=("WS-POSITIONS-5", "WS-BACKBONE-4"),
            judge=partial(judge_all_close, context, script, "float64", "stream"),
        )


def _far_out(context: Context, script: Script) -> str | None:
    if "kv_transfer" in context.hello.features:
        # One run serves `transfer/contents` too.
        context.run.exported(script)
    return judge_all_close(context, script, context.dtype, "stream")


CHECKS = (
    Check(
        id="positions/far-out",
        clauses=("WS-POSITIONS-5",),
        profile="session",
        tolerance="C",
        cases=far_out,
    ),
    Check(
        id="positions/edges",
        clauses=("WS-POSITIONS-5", "WS-BACKBONE-4"),
        profile="session",
        tolerance="C",
        cases=on_edges,
    ),
)
