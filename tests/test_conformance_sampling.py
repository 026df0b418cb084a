"""WS-CONFORMANCE-24: words are judged by the numbers that draw them; rounding accuses nobody."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from port_judging import judged, oracle

from conformance.case import Context
from conformance.checks.sampling import RULES, sampled, wrong_word
from conformance.guard import Guard
from conformance.mutants import BENIGN, MUTANTS
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, SamplingInput
from conformance.sure_words import NO_RANGE, range_of
from conformance.verdicts import Verdict
from reference.sampling import draw
from spec.text import Sampling

KILLERS = {
    "number-of-the-next-slot": "sampling/depends",
    "draws-past-eos": "sampling/words",
    "nucleus-one-too-large": "sampling/words",
    "temperature-ignored": "sampling/words",
    "drawn-word-not-fed-back": "sampling/words",
    "unused-numbers-kept": "sampling/depends",
    "greedy-needs-numbers": "sampling/depends",
    "sampling-rule-clamped": "sampling/refused",
    "missing-numbers-made-up": "sampling/refused",
}
rules = st.builds(
    SamplingInput,
    temperature=st.sampled_from([0.2, 1.0, 3.0, 50.0]),
    top_k=st.sampled_from([0, 1, 2, 5, 99]),
    top_p=st.sampled_from([1.0, 0.9, 0.5, 0.05]),
)


@pytest.mark.parametrize("name", KILLERS)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(name: str) -> None:
    mutant = MUTANTS[name]
    report = judged(mutant.factory(), KILLERS[name], clause=mutant.clause)
    assert report.exit_status == 1
    (failed,) = (case for case in report.cases if case.verdict is Verdict.FAIL)
    assert failed.clause == mutant.clause


@pytest.mark.parametrize("name", ["bfloat16-declared", "float16-declared", "float64-inside"])
def test_narrow_and_wide_numbers_are_accused_of_nothing(name: str) -> None:
    """WS-CONFORMANCE-15: words are drawn from the logits that were answered, in any bits."""
    context = Context(Guard(BENIGN[name].factory()), oracle())
    for rule in ("warm", "top-5", "top-12-then-nucleus", "nearly-uniform"):
        script = sampled(context, RULES[rule])
        for unit, output in zip(script.units, context.run(script), strict=True):
            assert wrong_word(script.open, unit, output) is None, rule


def some_logits(seed: int, size: int = 12) -> Array:
    return np.random.default_rng(seed).normal(0, 3, size)


@given(st.integers(0, 10**6), rules, st.floats(0, 0.2), st.floats(0, 1), st.integers(0, 11))
def test_a_sure_number_draws_the_word_from_all_logits_so_near(
    seed: int, rule: SamplingInput, off: float, where: float, token: int
) -> None:
    """WS-TEXT-3, against the reference's own drawing: logits moved by as much as ``off``, at
    random and each as far as it goes."""
    logits, generator = some_logits(seed), np.random.default_rng(seed + 1)
    low, high = range_of(logits, off, rule, token)
    if (low, high) == NO_RANGE:
        return
    u = min(low + where * (high - low), np.nextafter(high, 0))
    own = Sampling(temperature=rule.temperature, top_k=rule.top_k, top_p=rule.top_p)
    for size in (generator.uniform(-1, 1, 12), np.sign(generator.normal(size=12))):
        assert draw(torch.tensor(logits + 0.999 * off * size), own, u) == token


@given(st.integers(0, 10**6), rules)
def test_without_rounding_nearly_every_number_is_sure(seed: int, rule: SamplingInput) -> None:
    """WS-TEXT-3: the ranges of all words leave nothing open but a few parts in a billion."""
    ranges = [range_of(some_logits(seed), 0.0, rule, token) for token in range(12)]
    assert sum(high - low for low, high in ranges) == pytest.approx(1, abs=1e-7)


def test_greedy_words_are_sure_where_the_best_is_clear() -> None:
    """WS-STREAMING-7."""
    logits = np.array([1.0, 3.0, 2.5])
    assert range_of(logits, 0.2, SamplingInput(), 1) == (0.0, 1.0)
    assert range_of(logits, 0.3, SamplingInput(), 1) == NO_RANGE
    assert range_of(logits, 0.2, SamplingInput(), 2) == NO_RANGE


def test_the_questions_can_tell() -> None:
    """Of a float32 port nearly every word is sure, and most of the warm ones are not greedy."""
    context = Context(Guard(ReferencePort()), oracle())
    greedy, other = 0, 0
    for name in ("warm", "hot", "top-5", "nucleus", "nearly-uniform"):
        script = sampled(context, RULES[name])
        for unit, output in zip(script.units, context.run(script), strict=True):
            assert wrong_word(script.open, unit, output) is None
            for slot, row in enumerate(output.logits):
                word = int(np.argsort(-row)[7])
                text = (*output.text[:slot], word, *output.text[slot + 1 :])
                greedy += output.text[slot] == int(np.argmax(row))
                other += wrong_word(script.open, unit, attrs.evolve(output, text=text)) is not None
    assert other >= 18
    assert greedy <= 8
