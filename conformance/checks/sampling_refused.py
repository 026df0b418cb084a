"""Rules and numbers that a session which samples must refuse (the feature sampling)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs
import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks.refusals import undisturbed
from conformance.checks.sampling import WARM, sampled
from conformance.protocol import Refusal, SamplingInput, UnitInput
from spec.layout import Modalities

BAD_RULES: Final[dict[str, SamplingInput]] = {
    "negative-temperature": SamplingInput(temperature=-0.5),
    "negative-top-k": SamplingInput(temperature=1.0, top_k=-1),
    "top-p-of-zero": SamplingInput(temperature=1.0, top_p=0.0),
    "negative-top-p": SamplingInput(temperature=1.0, top_p=-0.5),
    "top-p-above-one": SamplingInput(temperature=1.0, top_p=1.5),
    "bad-top-p-of-a-greedy-session": SamplingInput(temperature=0.0, top_p=2.0),
}
BAD_NUMBERS: Final[dict[str, Callable[[Any], Any]]] = {
    "no-numbers": lambda _: None,
    "a-number-less": lambda u: u[:-1],
    "a-number-more": lambda u: np.append(u, 0.5),
    "numbers-in-a-column": lambda u: u[:, None],
    "a-number-of-one": lambda u: np.append(u[:-1], 1.0),
    "a-negative-number": lambda u: np.append(u[:-1], -(2.0**-30)),
    "not-a-number": lambda u: np.append(u[:-1], np.nan),
    "an-infinite-number": lambda u: np.append(u[:-1], np.inf),
}
"""Rules and numbers that WS-TEXT-8 names; a temperature that is not finite cannot be sent."""


def refused(context: Context) -> Iterator[Case]:
    """Bad rules are refused when the session is opened, bad numbers before their unit runs, and
    the session goes on as if they had never come (WS-TEXT-8, WS-CONFORMANCE-4)."""
    for name, rule in BAD_RULES.items():
        yield Case(name=name, judge=partial(_rule_refused, context, rule))
    for name, spoil in BAD_NUMBERS.items():
        yield Case(name=name, judge=partial(_numbers_refused, context, spoil))
    yield Case(name="session-goes-on", judge=partial(_goes_on, context))


def _rule_refused(context: Context, rule: SamplingInput) -> str | None:
    context.need("sampling")
    try:
        session = context.port.open(sampled(context, rule).open)
    except Refusal:
        return None
    context.port.close(session)
    return f"a session with {rule} was opened"


def _numbers_refused(context: Context, spoil: Callable[[Any], Any]) -> str | None:
    context.need("sampling")
    script = sampled(context, WARM)
    first, second, *_ = script.units
    session = context.port.open(script.open)
    try:
        context.port.step(session, first)
        context.port.step(session, attrs.evolve(second, uniform=spoil(second.uniform)))
    except Refusal:
        return None
    finally:
        context.port.close(session)
    return "the unit was accepted"


def _goes_on(context: Context) -> str | None:
    context.need("sampling")

    def spoiled(unit: UnitInput, spoil: Callable[[Any], Any]) -> UnitInput:
        return attrs.evolve(unit, uniform=spoil(unit.uniform))

    bad = [partial(spoiled, spoil=spoil) for spoil in BAD_NUMBERS.values()]
    reason = undisturbed(context, sampled(context, WARM), bad)
    # Where it has eyes and ears too, they must not have taken the unit either.
    seeing = sampled(context, WARM, modalities=Modalities())
    return reason or undisturbed(context, seeing, (bad[0], bad[-1]))


CHECKS = (
    Check(
        id="sampling/refused",
        clauses=("WS-TEXT-8", "WS-CONFORMANCE-4"),
        profile="session",
        tolerance="A",
        cases=refused,
    ),
)
