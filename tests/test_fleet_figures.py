"""Shares with their confidence against scipy and by design; percentiles against sorting."""

from __future__ import annotations

import math
from fractions import Fraction

import attrs
import fleet_world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.fleet.figures import BIN_NS, BINS, Clusters, Latencies, Share, binomial_upper
from simulator.fleet.limits import limits_of
from simulator.fleet.scenario import ArrivalKind, Arrivals, Slo
from simulator.fleet.tally import FleetResult, Round, Tally
from spec import clock


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_bound_is_clopper_and_pearson(trials: int, part: float, confidence: float) -> None:
    """WS-FLEET-9: the beta quantile of scipy."""
    hits = min(round(part * trials), trials)
    expected = 1.0 if hits == trials else stats.beta.ppf(confidence, hits + 1, trials - hits)
    assert binomial_upper(hits / trials, trials, confidence) == pytest.approx(expected, rel=1e-6)


def test_three_hundred_units_for_a_percentile() -> None:
    """WS-FLEET-9: 299 trials without a miss, and no fewer, show 99 % at 95 % confidence."""
    shares = [Share(hits=n, trials=n, effective=n) for n in (298, 299)]
    below, above = (share.lower(0.95) for share in shares)
    assert below < 0.99 <= above


def test_bounds_hold_the_share_and_tighten_with_trials() -> None:
    """WS-FLEET-9."""
    few = Share(hits=30, trials=1000, effective=50.0)
    many = Share(hits=30, trials=1000, effective=1000.0)
    assert few.lower(0.95) < many.lower(0.95) < 0.03 < many.upper(0.95) < few.upper(0.95)


def test_no_trial_says_nothing() -> None:
    """WS-FLEET-9: neither bound excludes anything."""
    share = Clusters(3).share()
    assert (share.value, share.lower(0.95), share.upper(0.95)) == (0.0, 0.0, 1.0)


def test_independent_trials_are_worth_what_they_are() -> None:
    """WS-FLEET-9: with binomial clusters the effective number is near the number of trials."""
    clusters, random = Clusters(400), np.random.default_rng(1)
    for _ in range(10):
        clusters.add(random.binomial(50, 0.1, 400), np.full(400, 50))
        clusters.end_block()
    share = clusters.share()
    assert share.trials == 200_000
    assert share.effective == pytest.approx(200_000, rel=0.1)


def test_trials_of_one_fate_are_worth_their_clusters() -> None:
    """WS-FLEET-9: 50 units that are late together count as one trial."""
    clusters, random = Clusters(4000), np.random.default_rng(2)
    clusters.add(50 * random.binomial(1, 0.1, 4000), np.full(4000, 50))
    clusters.end_block()
    assert clusters.share().effective == pytest.approx(4000, rel=0.05)


def test_without_any_spread_clusters_count() -> None:
    """WS-FLEET-9: a run without a miss has no spread to judge by."""
    clusters = Clusters(7)
    for _ in range(3):
        clusters.add(np.full(7, 9), np.full(7, 9))
        clusters.end_block()
    assert clusters.share() == Share(hits=189, trials=189, effective=21.0)


def test_groups_of_one_take_the_sum() -> None:
    """WS-FLEET-9: where pairs have a cause in common they are one cluster."""
    clusters = Clusters(1)
    clusters.add(np.array([1, 2]), np.array([5, 5]))
    clusters.end_block()
    assert clusters.share() == Share(hits=3, trials=10, effective=1.0)


def tally(kind: ArrivalKind, rounds: int) -> Tally:
    """The counts of three pairs, of sessions of 10 units on average."""
    arrivals = Arrivals(kind=kind, sessions=3, users=9, burst_ns=10**9, calm_ns=10**9)
    fleet = fleet_world.fleet(pairs=3, kind="constant", mean_s=2, arrivals=arrivals)
    fleet = attrs.evolve(
        fleet,
        lengths=attrs.evolve(fleet.lengths, mean_ns=10 * clock.UNIT_NS),
        slo=Slo(deadline_ns=300, p99_ns=200),
        duration_ns=rounds * clock.UNIT_NS,
    )
    return Tally(fleet, limits_of(fleet), 3)


def result_of(counted: Tally) -> FleetResult:
    return counted.result(start=(0, 0), end=(0, 0), busy_ns=(0, 0), sha256="")


def test_a_unit_at_its_deadline_is_on_time() -> None:
    """WS-FLEET-9: at most the deadline, to the nanosecond; so within the time of a percentile."""
    counted = tally("poisson", 1)
    counted.add_responses(0, np.array([300, 301, 200]), np.array([5, 7, 11]))
    result = result_of(counted)
    assert (result.on_time.hits, result.on_time.trials) == (16, 23)
    assert (result.within_p99.hits, result.within_p99.trials) == (11, 23)


@pytest.mark.parametrize(("rounds", "blocks"), [(19, 1), (39, 1), (40, 2), (59, 2), (60, 3)])
@pytest.mark.parametrize(("kind", "groups"), [("poisson", 3), ("bursty", 1), ("users", 1)])
def test_a_cluster_is_two_mean_lengths_of_a_pair(
    kind: ArrivalKind, groups: int, rounds: int, blocks: int
) -> None:
    """WS-FLEET-9: of the whole fleet for arrivals, and for units where pairs have a rate in common;
    what is left at the end belongs to the last. Nothing is late here, so clusters are counted."""
    counted, pairs = tally(kind, rounds), np.ones(3, np.int64)
    for number in range(rounds):
        counted.add_responses(number, 100 * pairs, 9 * pairs)
        counted.add_round(
            Round(
                number=number, arrived=50, admitted=pairs[:0], waits=pairs[:0], rejected=0, ended=0,
                cut=0, waiting=0, sessions=pairs, history=pairs,
            )
        )  # fmt: skip
    result = result_of(counted)
    assert result.on_time.effective == result.within_p99.effective == groups * blocks
    assert result.blocking.effective == blocks


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 12_000_000_000), st.integers(1, 5)), min_size=1, max_size=60),
    st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(99, 100), Fraction(1)]),
)
def test_a_percentile_is_the_upper_end_of_its_bin(
    rows: list[tuple[int, int]], share: Fraction
) -> None:
    """WS-FLEET-9: within 0.1 ms above the nearest rank, never above the largest."""
    latencies = Latencies()
    for ns, units in rows:
        latencies.add(np.array([ns]), np.array([units]))
    ordered = sorted(ns for ns, units in rows for _ in range(units))
    exact = ordered[math.ceil(share * len(ordered)) - 1]
    found = latencies.percentile_ns(share)
    if exact // BIN_NS < BINS:
        assert exact <= found <= min(exact + BIN_NS, ordered[-1])
    else:
        assert found == ordered[-1]


def test_no_unit_has_no_percentile() -> None:
    """WS-FLEET-9."""
    assert Latencies().percentile_ns(Fraction(1, 2)) == 0
