"""Streaming equals the offline form, in every schedule and every dtype of the port."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from conformance.case import Case, Check, Context
from conformance.closeness import judge_close
from conformance.inputs import base
from conformance.recording import TENSORS, Script
from spec.sizes import LAG_OF_SCHEDULE


def equals_offline(context: Context) -> Iterator[Case]:
    """Every tensor of a stream against the oracle's offline form (WS-STREAMING-10)."""
    for schedule in LAG_OF_SCHEDULE:
        for dtype in context.hello.dtypes:
            for tensor in TENSORS:
                script = base(context.preset.name, schedule, dtype)
                yield Case(
                    name=f"{schedule}-{dtype}-{tensor}",
                    judge=partial(judge_close, context, script, dtype, tensor),
                )
        for tensor in TENSORS:
            script = base(context.preset.name, schedule, context.dtype)
            yield Case(
                name=f"{schedule}-own-offline-form-{tensor}",
                judge=partial(judge_close, context, script, context.dtype, tensor, form="offline"),
            )
    schedule = context.preset.schedule
    yield Case(
        name="greedy-text",
        clauses=("WS-STREAMING-7",),
        judge=partial(_greedy, context, base(context.preset.name, schedule, context.dtype)),
    )
    yield Case(
        name="forced-text",
        clauses=("WS-STREAMING-7",),
        judge=partial(
            _forced, context, base(context.preset.name, schedule, context.dtype, forced=True)
        ),
    )


def _greedy(context: Context, script: Script) -> str | None:
    for unit in context.run(script):
        best = tuple(int(i) for i in np.argmax(unit.logits, axis=-1))
        if unit.text != best:
            return f"unit {unit.unit}, text {list(unit.text)}, but the argmax is {list(best)}"
    return None


def _forced(context: Context, script: Script) -> str | None:
    for given, unit in zip(script.units, context.run(script), strict=True):
        if unit.text != given.agent_text:
            return f"unit {unit.unit}, text {list(unit.text)} was not the forced one"
    return None


CHECKS = (
    Check(
        id="streaming/equals-offline",
        clauses=(
            "WS-STREAMING-10",
            "WS-STREAMING-2",
            "WS-STREAMING-3",
            "WS-STREAMING-7",
            "WS-VISIBILITY-1",
            "WS-VISIBILITY-8",
            "WS-VISIBILITY-9",
            "WS-LAYOUT-1",
            "WS-POSITIONS-1",
            "WS-POSITIONS-2",
            "WS-POSITIONS-3",
            "WS-POSITIONS-4",
            "WS-POSITIONS-6",
            "WS-FLOW-4",
            "WS-FLOW-5",
            "WS-FLOW-6",
            "WS-MODEL-2",
            "WS-MODEL-3",
            "WS-MODEL-4",
            "WS-MODEL-5",
            "WS-BACKBONE-1",
            "WS-BACKBONE-2",
            "WS-BACKBONE-3",
            "WS-BACKBONE-4",
            "WS-BACKBONE-5",
        ),
        profile="session",
        tolerance="C",
        cases=equals_offline,
    ),
)
