"""Who comes and how long they stay: rates, lengths, and who is there at the start."""

from __future__ import annotations

import math
from fractions import Fraction

import attrs
import fleet_world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fleet.arrivals import FACTOR_ONE, ArrivalProcess, Rate, already_there
from simulator.fleet.random import QUANTILES, exponential_gaps, jitter_factors, length_units
from simulator.fleet.scenario import Arrivals, LengthKind, Lengths
from spec import clock

SECOND = fleet_world.SECOND


def lengths(kind: LengthKind, mean_s: int, longest_s: int, spread: Fraction) -> Lengths:
    return Lengths(kind=kind, mean_ns=mean_s * SECOND, longest_ns=longest_s * SECOND, spread=spread)


@pytest.mark.parametrize(
    ("kind", "spread", "deviation"),
    [("constant", 0, 0), ("exponential", 0, 1), ("uniform", 1, 1 / math.sqrt(3)),
     ("lognormal", Fraction(1, 2), 0.5)],
)  # fmt: skip
def test_lengths_have_their_mean_and_spread(
    kind: LengthKind, spread: Fraction, deviation: float
) -> None:
    """WS-FLEET-7: where the longest does not matter."""
    units = length_units(lengths(kind, 80, 8000, spread))
    assert len(units) == QUANTILES
    assert units.mean() == pytest.approx(500, rel=1e-3)
    assert units.std() == pytest.approx(500 * deviation, rel=1e-2)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["exponential", "uniform", "lognormal"]), st.integers(1, 50))
def test_lengths_are_held_to_their_ends(kind: LengthKind, mean_s: int) -> None:
    """WS-FLEET-7: at least a unit, at most the longest, in whole units."""
    found = length_units(lengths(kind, mean_s, mean_s + 3, Fraction(1)))
    assert int(found.min()) >= 1
    assert int(found.max()) == clock.units_covering_ns((mean_s + 3) * SECOND) or kind == "uniform"
    assert int(found.max()) <= clock.units_covering_ns((mean_s + 3) * SECOND)


def test_gaps_are_those_of_a_poisson_process() -> None:
    """WS-FLEET-7: mean and standard deviation one."""
    gaps = exponential_gaps() / (1 << 24)
    assert gaps.mean() == pytest.approx(1, rel=1e-4)
    assert gaps.std() == pytest.approx(1, rel=1e-3)


def test_jitter_has_mean_one() -> None:
    """WS-FLEET-3: and the stated spread."""
    factors = jitter_factors(Fraction(1, 4)) / (1 << 16)
    assert factors.mean() == pytest.approx(1, rel=1e-4)
    assert factors.std() == pytest.approx(0.25, rel=1e-3)


def counts(sessions: int, rounds: int, seed: int = 0) -> list[int]:
    process = ArrivalProcess(fleet_world.fleet(sessions=sessions, seed=seed))
    return [process.take(r, 0) for r in range(rounds)]


def test_arrivals_are_poisson_by_little() -> None:
    """WS-FLEET-7: sessions / mean length a round, and as much variance."""
    found = np.array(counts(2000, 3000))
    units = length_units(fleet_world.fleet().lengths)
    expected = 2000 / units.mean()
    assert found.mean() == pytest.approx(expected, rel=0.01)
    assert found.var() == pytest.approx(expected, rel=0.1)


def test_the_load_is_that_of_lengths_as_they_are() -> None:
    """WS-FLEET-7: held to the longest, sessions are shorter, and more of them come."""
    fleet = fleet_world.fleet(sessions=2000, mean_s=10, longest_s=12)
    process, units = ArrivalProcess(fleet), length_units(fleet.lengths)
    assert units.mean() < 0.75 * 62.5
    found = np.array([process.take(r, 0) for r in range(500)])
    assert found.mean() == pytest.approx(2000 / units.mean(), rel=0.02)


def test_a_crowd_comes_as_often_as_its_load_says() -> None:
    """WS-FLEET-7: with as many sessions there as stated, as many come as end; with fewer, more."""
    crowd = Arrivals(kind="users", sessions=2000, users=3000)
    fleet = fleet_world.fleet(arrivals=crowd)
    ends = 1 / length_units(fleet.lengths).mean()
    for present, idle in ((2000, 1000), (1500, 1500)):
        process = ArrivalProcess(fleet)
        found = np.array([process.take(r, present) for r in range(400)])
        assert found.mean() == pytest.approx(2000 * ends * idle / 1000, rel=0.03)


def test_more_load_brings_the_same_sessions_earlier() -> None:
    """WS-FLEET-7: after any number of rounds, more have come; arrival i is as long as before."""
    few, many = (np.cumsum(counts(n, 400)) for n in (50, 60))
    assert (few <= many).all()
    processes = [ArrivalProcess(fleet_world.fleet(sessions=n)) for n in (50, 60)]
    (a, b) = (process.lengths(7, 5).tolist() for process in processes)
    assert a == b
    assert processes[0].lengths(9, 2).tolist() == a[2:4]


def test_a_day_has_its_shape() -> None:
    """WS-FLEET-7: the middle at the start, the top a quarter of a period later."""
    day = Arrivals(kind="diurnal", sessions=10, swing=Fraction(1, 2), period_ns=400 * clock.UNIT_NS)
    factors = [Rate(day, 0).of(r) / FACTOR_ONE for r in range(400)]
    assert factors[0] == 1
    assert factors[100] == pytest.approx(1.5)
    assert factors[300] == pytest.approx(0.5)
    assert np.mean(factors) == pytest.approx(1, abs=1e-6)


def test_bursts_have_their_height_and_mean_one() -> None:
    """WS-FLEET-7: two rates whose ratio is the factor; over a long time their mean is one."""
    bursty = Arrivals(
        kind="bursty", sessions=10, burst_factor=Fraction(6),
        burst_ns=10 * clock.UNIT_NS, calm_ns=40 * clock.UNIT_NS,
    )  # fmt: skip
    rate = Rate(bursty, 3)
    factors = np.array([rate.of(r) for r in range(60_000)]) / FACTOR_ONE
    low, high = sorted(set(factors.tolist()))
    assert high / low == pytest.approx(6, rel=1e-4)
    assert factors.mean() == pytest.approx(1, rel=0.05)
    assert (factors == high).mean() == pytest.approx(0.2, rel=0.1)


def test_those_there_at_the_start_are_found_by_length() -> None:
    """WS-FLEET-7: an inspector meets long sessions: E[L²] / E[L] on average, half of it over."""
    fleet = fleet_world.fleet(mean_s=40, longest_s=4000)
    units = length_units(fleet.lengths).astype(float)
    served, left = already_there(fleet, 40_000)
    assert int(served.min()) >= 0
    assert int(left.min()) >= 1
    met = (units**2).mean() / units.mean()
    assert (served + left).mean() == pytest.approx(met, rel=0.02)
    assert served.mean() == pytest.approx(left.mean(), rel=0.03)


def test_a_fleet_starts_where_it_stays() -> None:
    """WS-FLEET-7: without refusals the number of sessions has no trend from the first round on."""
    from simulator.fleet.run import simulate

    fleet = fleet_world.fleet(sessions=4000, pairs=3000, mean_s=20, duration_s=30)
    seen = list[int]()
    simulate(attrs.evolve(fleet, seed=5), lambda done: seen.append(int(done.sessions.sum())))
    assert max(abs(n / 4000 - 1) for n in seen) < 0.06
