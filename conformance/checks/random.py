"""Random sessions: whatever is done to them in whatever order, the oracle's numbers come out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from conformance.case import Case, Check, Context
from conformance.files.kept import keep
from conformance.guard import PortFault
from conformance.programs import Step, as_the_oracle, play
from conformance.protocol import Refusal


def programs(context: Context) -> Iterator[Case]:
    """Steps with any contents, resets, moves and new beginnings of up to two sessions, always
    the same ones (WS-SESSION-3, WS-CONFORMANCE-17)."""
    yield Case(name="programs", further=True, judge=partial(_programs, context))


def _programs(context: Context) -> str | None:
    # What draws the programs takes longer to load than most clauses to judge.
    from conformance.random_programs import draws, smallest_failure, to_json

    def judge(program: list[Step]) -> str | None:
        try:
            return as_the_oracle(context, play(context.port, program))
        except (PortFault, Refusal) as fault:
            return f"{type(fault).__name__}: {fault}"

    found = smallest_failure(draws(context.dtype, context.hello.features), judge)
    if found is None:
        return None
    program, reason = found
    folder = keep("session/random", context.oracle.port, lambda port: play(port, program))
    kept = "" if folder is None else f"; kept as the case folder {folder}"
    return f"{reason}; the smallest program found: {to_json(program)}{kept}"


CHECKS = (
    Check(
        id="session/random",
        clauses=("WS-SESSION-3", "WS-CONFORMANCE-17"),
        profile="session",
        tolerance="C",
        cases=programs,
    ),
)
