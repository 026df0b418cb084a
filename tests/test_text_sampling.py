"""A token from logits and a number, against closed forms, torch and a public library."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation import logits_process as public

from reference import recipe, sampling, thinker
from spec.errors import ConfigError
from spec.text import Sampling

F64 = torch.float64
RULES = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.7, top_k=5),
    Sampling(temperature=1.3, top_p=0.6),
    Sampling(temperature=2.0, top_k=12, top_p=0.85),
    Sampling(temperature=0.4, top_k=1),
    Sampling(temperature=1.0, top_p=1e-9),
]
EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=str)

# Few distinct values, so that ties are common.
coarse = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]), min_size=1, max_size=12)
rules = st.builds(
    Sampling,
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 14),
    top_p=st.sampled_from([0.05, 0.3, 0.55, 0.9, 1.0]),
)


def logits_of(seed: int, vocab: int = 40) -> Tensor:
    values: Tensor = 3 * recipe.noise(seed, 0, "logits", (vocab,), F64)
    return values


def by_hand(logits: list[float], rule: Sampling) -> tuple[list[int], list[float]]:
    """WS-TEXT-2, number by number."""
    ids = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if rule.top_k:
        ids = ids[: rule.top_k]
    top = max(logits)
    weights = [math.exp((logits[i] - top) / rule.temperature) for i in ids]
    p = [w / math.fsum(weights) for w in weights]
    if rule.top_p < 1:
        kept = next(n for n in range(1, len(p) + 1) if math.fsum(p[:n]) >= rule.top_p - 1e-12)
        ids, p = ids[:kept], p[:kept]
    return ids, [q / math.fsum(p) for q in p]


@given(coarse, rules)
def test_candidates_are_those_of_the_clause(logits: list[float], rule: Sampling) -> None:
    """WS-TEXT-2: ids in their order and closed-form probabilities, with many ties."""
    ids, p = sampling.candidates(torch.tensor(logits, dtype=F64), rule)
    expected_ids, expected = by_hand(logits, rule)
    assert ids.tolist() == expected_ids
    torch.testing.assert_close(p, torch.tensor(expected, dtype=F64), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
@EACH_RULE
def test_candidates_are_what_the_public_library_keeps(rule: Sampling, seed: int) -> None:
    """WS-TEXT-2: temperature, then top-k, then top-p of transformers; no ties here."""
    logits = logits_of(seed, vocab=263)
    warpers: list[Any] = [public.TemperatureLogitsWarper(rule.temperature)]
    if rule.top_k:
        warpers.append(public.TopKLogitsWarper(rule.top_k))
    if rule.top_p < 1:
        warpers.append(public.TopPLogitsWarper(rule.top_p))
    scores = logits[None].clone()
    for warper in warpers:
        scores = warper(None, scores)
    expected = torch.softmax(scores[0], dim=0)
    ids, p = sampling.candidates(logits, rule)
    assert set(ids.tolist()) == set(expected.nonzero().flatten().tolist())
    torch.testing.assert_close(p, expected[ids], rtol=1e-12, atol=1e-15)


@given(coarse, rules)
def test_each_token_owns_its_share_of_the_unit_interval(
    logits: list[float], rule: Sampling
) -> None:
    """WS-TEXT-3: just inside both ends of a token's stretch of [0, 1), the token is drawn."""
    ids, p = by_hand(logits, rule)
    end = 0.0
    for token, share in zip(ids, p, strict=True):
        start, end = end, end + share
        if share < 1e-6:
            continue
        for u in (start + 1e-9, (start + end) / 2, end - 1e-9):
            assert sampling.draw(torch.tensor(logits, dtype=F64), rule, u) == token


@pytest.mark.parametrize("seed", range(4))
@EACH_RULE
def test_both_ends_of_the_interval(rule: Sampling, seed: int) -> None:
    """WS-TEXT-3: u = 0 draws the likeliest token; the largest u below 1 still draws a candidate."""
    logits = logits_of(seed)
    ids, _ = sampling.candidates(logits, rule)
    assert sampling.draw(logits, rule, 0.0) == thinker.greedy(logits)
    assert sampling.draw(logits, rule, 1 - 2**-53) == ids[-1]


def test_a_probability_of_zero_is_never_drawn() -> None:
    """WS-TEXT-3: "exceeds", not "reaches"; neither at 0 nor at the end of the interval."""
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0], dtype=F64)
    drawn = {sampling.draw(logits, RULES[0], u) for u in (0.0, 0.49, 0.5, 0.99, 1 - 2**-53)}
    assert drawn == {1, 3}
    assert sampling.draw(logits, RULES[0], 0.5) == 3


def test_without_top_p_the_far_tail_stays() -> None:
    """WS-TEXT-2: top_p = 1 keeps tokens whose probability vanishes in the sum."""
    logits = torch.tensor([0.0, *(-40.0 - i for i in range(9))], dtype=F64)
    ids, p = sampling.candidates(logits, RULES[0])
    assert ids.tolist() == list(range(10))
    assert float(p[9]) > 0


def chi_square(counts: Tensor, p: Tensor) -> float:
    expected = p * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@EACH_RULE
def test_frequencies_are_those_of_torch(rule: Sampling) -> None:
    """WS-TEXT-3: with the numbers of WS-RECIPE-8, frequencies are as close to the probabilities
    as torch's own multinomial draws are."""
    count = 4000
    logits = logits_of(3, vocab=10) / 2
    ids, p = sampling.candidates(logits, rule)
    drawn = [sampling.draw(logits, rule, u) for u in recipe.text_numbers(5, 0, count).tolist()]
    ours = torch.bincount(torch.tensor(drawn), minlength=10)[ids].double()
    assert ours.sum() == count
    random = torch.Generator().manual_seed(5)
    public_ids = torch.multinomial(p, count, replacement=True, generator=random)
    theirs = torch.bincount(public_ids, minlength=len(p)).double()
    # 9 degrees of freedom at most: 27.9 is exceeded once in a thousand.
    assert chi_square(ours, p) < 27.9
    assert chi_square(theirs, p) < 27.9


@given(coarse)
def test_a_vanishing_temperature_is_greedy_among_equals(logits: list[float]) -> None:
    """WS-TEXT-1, WS-TEXT-2: nothing overflows, and only the largest logits are left."""
    tensor = torch.tensor(logits, dtype=F64)
    ids, p = sampling.candidates(tensor, Sampling(temperature=5e-324))
    best = [i for i, value in enumerate(logits) if value == max(logits)]
    assert ids[p > 0].tolist() == best
    assert sampling.draw(tensor, Sampling(temperature=5e-324), 0.0) == best[0]


def test_float32_logits_are_widened_first() -> None:
    """WS-TEXT-2: the numbers are those of the same logits in binary64."""
    logits = logits_of(1).float()
    for rule in RULES:
        ids, p = sampling.candidates(logits, rule)
        expected_ids, expected = sampling.candidates(logits.double(), rule)
        assert p.dtype == F64
        assert torch.equal(ids, expected_ids)
        assert torch.equal(p, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -0.1}, "temperature: got -0.1; allowed: a finite number from 0 up"),
        ({"temperature": math.inf}, "temperature: got inf"),
        ({"temperature": math.nan}, "temperature: got nan"),
        ({"top_k": -1}, "top_k: got -1; allowed: 0"),
        ({"top_p": 0.0}, "top_p: got 0.0; allowed: above 0, up to 1"),
        ({"top_p": 1.01}, "top_p: got 1.01"),
        ({"top_p": math.nan}, "top_p: got nan"),
    ],
)
def test_a_rule_outside_its_domain_is_refused(change: dict[str, Any], message: str) -> None:
    """WS-TEXT-8: when it is made, in one line."""
    with pytest.raises(ConfigError) as caught:
        Sampling(**change)
    assert message in str(caught.value)
