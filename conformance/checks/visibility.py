"""How soon a response is seen: after its own unit by the performer, λ units later by the thinker.

Perturb the noise of one unit: outputs that must not see the response keep every bit, those that
must see it move.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from conformance.case import Case, Check, Context
from conformance.checks.causality import LATENTS, session_for
from conformance.inputs import Field, perturbed
from conformance.relations import differ, same
from spec.sizes import LAG_OF_SCHEDULE, Schedule

CHANGED: Final[tuple[tuple[Field, int], ...]] = (("noise_audio", 0), ("noise_video", 2))
LENGTH: Final = 5
"""The response of unit 2 is seen by the thinker in unit 4 under λ = 1."""


def lag(context: Context) -> Iterator[Case]:
    """λ = 0 under the sequential schedule, 1 under the overlapped one (WS-VISIBILITY-2, -7)."""
    for schedule in LAG_OF_SCHEDULE:
        for field, k in CHANGED:
            yield Case(
                name=f"{schedule}-{field}-unit{k}",
                judge=partial(_lag, context, schedule, field, k),
            )


def _lag(context: Context, schedule: Schedule, field: Field, k: int) -> str | None:
    """z_k must not reach logits of units ≤ k + λ, and must reach those of unit k + λ + 1, while
    z_{k+1} sees it under both schedules; and noise of one modality moves both."""
    script = session_for(context, field, schedule, LENGTH)
    before, after = context.run(script), context.run(perturbed(script, field, k))
    first = k + 1 + LAG_OF_SCHEDULE[schedule]
    early = same(before, after, range(first), ("text", "logits"))
    if early is not None:
        return f"response {k} was seen too early: {early}"
    late = (
        differ(before, after, k, LATENTS)
        or differ(before, after, k + 1, LATENTS)
        or differ(before, after, first, ("logits",))
    )
    return None if late is None else f"response {k} was not seen in time: {late}"


CHECKS = (
    Check(
        id="visibility/lag",
        clauses=("WS-VISIBILITY-2", "WS-VISIBILITY-7", "WS-STREAMING-8", "WS-STREAMING-9"),
        profile="session",
        tolerance="A",
        cases=lag,
    ),
)
