"""Random streams: bit-equal to the recipe, whatever is drawn and with whom."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.durations import draw
from simulator.random_streams import MAX_SPAN, RandomStream, fraction_of, keys, share, words
from simulator.scenario import Scenario, StageModels
from simulator.stage_models import Constant, Uniform
from spec import recipe

seeds = st.integers(0, 2**63 - 1)
names = st.sampled_from(["solve", "network/up", "fault/drop"])
counters = st.integers(0, 10**9)


@given(seeds, names, st.integers(0, 10**6), counters, st.integers(1, 5))
def test_words_are_those_of_the_recipe(
    seed: int, component: str, session: int, first: int, stride: int
) -> None:
    """WS-SIMULATION-1, WS-RECIPE-1: plain integers and arrays, one at a time and many at once."""
    key = recipe.word(recipe.stream_id(f"simulator/{seed}/{component}"), session)
    stream = RandomStream(seed=seed, component=component, session=session)
    expected = [recipe.word(key, first + stride * i) for i in range(6)]
    assert stream.key == key == int(keys(seed, component, 1, session)[0])
    assert stream.words(first, 6).tolist() == [recipe.word(key, first + i) for i in range(6)]
    assert words(np.array([key], np.uint64), first, 6, stride)[0].tolist() == expected
    assert [stream.word(first + stride * i) for i in range(6)] == expected


def test_known_words() -> None:
    """WS-SIMULATION-1: the same numbers on every machine."""
    stream = RandomStream(seed=7, component="solve", session=3)
    assert stream.words(0, 2).tolist() == [0xDBDE0562A927D2CE, 0x55BB84DC0C9D5DAC]
    assert stream.below(0, 1000) == 858


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(0, MAX_SPAN))
def test_shares_are_exact(drawn: list[int], span: int) -> None:
    """WS-SIMULATION-1: floor(h · N / 2^32) as whole numbers give it, in 64 bits."""
    array = np.array(drawn, np.uint64)
    assert share(array, span).tolist() == [(w >> 32) * span >> 32 for w in drawn]
    halves = array & np.uint64(0xFFFFFFFF)
    spans = np.full(len(drawn), span, np.uint64)
    assert fraction_of(halves, spans).tolist() == [(w & 0xFFFFFFFF) * span >> 32 for w in drawn]


@given(seeds, counters, st.integers(1, 2**32))
def test_below_stays_below(seed: int, counter: int, span: int) -> None:
    """WS-SIMULATION-1: from 0 to span - 1."""
    stream = RandomStream(seed=seed, component="x")
    assert 0 <= stream.below(counter, span) < span


def test_the_mean_is_where_it_should_be() -> None:
    """WS-SIMULATION-1: a million draws, five standard errors."""
    drawn = share(RandomStream(seed=1, component="x").words(0, 1_000_000), 1000)
    assert abs(drawn.mean() - 499.5) < 5 * 289 / 1000
    assert np.bincount(drawn).min() > 800


def test_a_component_shifts_nobody() -> None:
    """WS-SIMULATION-1: a stage that begins to draw leaves the numbers of all others alone."""
    drawn = Uniform(low_ns=1, high_ns=1_000_000_000)
    stages = dict.fromkeys(("encode", "update", "comm", "solve", "back"), drawn)
    quiet = Scenario(name="q", stages=StageModels(**stages, decode=Constant(ns=5)), sessions=3)
    noisy = Scenario(name="n", stages=StageModels(**stages, decode=drawn), sessions=3)
    a, b = draw(quiet), draw(noisy)
    for name in stages:
        assert (getattr(a, name) == getattr(b, name)).all()
        others = [other for other in stages if other != name]
        assert not any((getattr(a, name) == getattr(a, other)).any() for other in others)
    assert (draw(noisy, 2, 1).decode[:, 0] == b.decode[:, 2]).all()
    assert len(set(b.decode[0])) == 3
