"""Erlang B, Erlang C and Engset against direct sums, against scipy, and at their own limits."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator import erlang
from spec.errors import ConfigError

LOADS = st.floats(0.01, 300)
PLACES = st.integers(0, 300)


def by_definition(load: Fraction, places: int) -> Fraction:
    """The last of the truncated Poisson probabilities, in exact arithmetic."""
    terms = [load**n / math.factorial(n) for n in range(places + 1)]
    return terms[-1] / sum(terms)


@given(st.fractions(Fraction(1, 100), 40, max_denominator=100), st.integers(0, 40))
def test_erlang_b_is_the_truncated_poisson(load: Fraction, places: int) -> None:
    """WS-FLEET-11: by its definition, exactly."""
    assert erlang.erlang_b(float(load), places) == pytest.approx(
        float(by_definition(load, places)), rel=1e-12
    )


@given(LOADS, PLACES)
def test_erlang_b_agrees_with_scipy(load: float, places: int) -> None:
    """WS-FLEET-11: pmf over cdf of a Poisson distribution, where neither underflows."""
    poisson = stats.poisson(load)
    if poisson.cdf(places) > 1e-200:
        expected = math.exp(poisson.logpmf(places) - poisson.logcdf(places))
        assert erlang.erlang_b(load, places) == pytest.approx(expected, rel=1e-8)


def test_erlang_b_of_a_million_places() -> None:
    """WS-FLEET-11: stable where powers and factorials have long left the range of a float; at
    load = places it is near sqrt(2 / (π N))."""
    n = 1_000_000
    assert erlang.erlang_b(n, n) == pytest.approx(math.sqrt(2 / (math.pi * n)), rel=1e-3)


@given(LOADS, PLACES)
def test_more_places_refuse_less_and_more_load_more(load: float, places: int) -> None:
    """WS-FLEET-11."""
    blocked = erlang.erlang_b(load, places)
    assert erlang.erlang_b(load, places + 1) < blocked <= 1 or blocked == 0
    assert erlang.erlang_b(1.5 * load, places) >= blocked


@given(LOADS, st.floats(1e-6, 0.5))
def test_places_for_are_the_fewest(load: float, blocking: float) -> None:
    """WS-FLEET-11: one fewer refuses too many."""
    places = erlang.places_for(load, blocking)
    assert erlang.erlang_b(load, places) <= blocking
    assert places == 0 or erlang.erlang_b(load, places - 1) > blocking


@given(st.floats(0.1, 25), st.integers(1, 40))
def test_erlang_c_is_the_tail_of_its_queue(load: float, places: int) -> None:
    """WS-FLEET-11: states of M/M/N summed directly; the mean wait by Little's law."""
    if load > 0.95 * places:
        return
    weights = [1.0]
    for n in range(1, 3000):
        weights.append(weights[-1] * load / min(n, places))
    total = math.fsum(weights)
    waits = math.fsum(weights[places:]) / total
    assert erlang.erlang_c(load, places) == pytest.approx(waits, rel=1e-9)
    in_queue = math.fsum((n - places) * w for n, w in enumerate(weights) if n > places) / total
    assert erlang.mean_wait(load, places, 7.0) == pytest.approx(in_queue * 7.0 / load, rel=1e-9)


@given(st.integers(1, 60), st.floats(0.01, 5), st.integers(0, 70))
def test_engset_is_the_truncated_binomial(users: int, load: float, places: int) -> None:
    """WS-FLEET-11: a caller meets the state of the others (the arrival theorem), by scipy."""
    others = stats.binom(users - 1, load / (1 + load))
    expected = others.pmf(places) / others.cdf(places)
    assert erlang.engset(users, load, places) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_engset_of_a_huge_crowd_is_erlang_b() -> None:
    """WS-FLEET-11: many users who seldom call are a Poisson process."""
    users = 10_000_000
    assert erlang.engset(users, 20 / users, 25) == pytest.approx(erlang.erlang_b(20, 25), rel=1e-4)


def test_no_load_and_no_place() -> None:
    """WS-FLEET-11: the ends of the range."""
    assert erlang.erlang_b(0, 0) == erlang.erlang_b(5, 0) == 1
    assert erlang.erlang_b(0, 3) == erlang.engset(3, 0, 1) == erlang.engset(3, 2, 3) == 0
    assert erlang.places_for(0, 0.01) == 1


@pytest.mark.parametrize("load", [-1.0, math.nan, math.inf])
def test_loads_that_no_traffic_has_are_refused(load: float) -> None:
    """WS-FLEET-11: in one line, in every formula."""
    for refused in (
        lambda: erlang.erlang_b(load, 3),
        lambda: erlang.erlang_c(load, 3),
        lambda: erlang.places_for(load, 0.1),
        lambda: erlang.engset(3, load, 2),
    ):
        with pytest.raises(ConfigError, match="load: got"):
            refused()


def test_queues_without_end_and_other_nonsense_are_refused() -> None:
    """WS-FLEET-11."""
    with pytest.raises(ConfigError, match="less than its 4 places"):
        erlang.erlang_c(4.0, 4)
    with pytest.raises(ConfigError, match="places"):
        erlang.erlang_b(1.0, -1)
    with pytest.raises(ConfigError, match="blocking"):
        erlang.places_for(1.0, 0.0)
    with pytest.raises(ConfigError, match="users and places"):
        erlang.engset(0, 1.0, 1)
