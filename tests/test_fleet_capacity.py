"""The search for how much a promise takes: against trying every number, and what it says of it."""

from __future__ import annotations

from fractions import Fraction

import attrs
import fleet_world
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import erlang
from simulator.capacity import (
    at_least,
    at_most,
    blocking_curve,
    full,
    least,
    on_time_curve,
    pairs_needed,
    promises,
    sessions_per_pair,
)
from simulator.fleet.figures import Share
from simulator.fleet.run import simulate
from simulator.fleet.scenario import Admission, Fleet, Slo
from spec.errors import ConfigError


@given(st.integers(1, 300), st.integers(1, 320), st.integers(1, 310))
def test_the_search_finds_the_first_that_holds(most: int, threshold: int, guess: int) -> None:
    """WS-FLEET-10: from any guess, and in few steps."""
    found = least(lambda n: n >= threshold, guess, most)
    assert found.value == min(threshold, most + 1)
    assert found.monotone
    assert len(found.tried) <= 22
    assert all(ok == (n >= threshold) for n, ok in found.tried)


def test_what_contradicts_the_answer_is_said() -> None:
    """WS-FLEET-10: a number a tenth above that does not hold makes the answer doubtful."""
    assert not least(lambda n: n >= 40 and n != 44, 40, 100).monotone
    assert not least(lambda n: n >= 40 or n == 36, 40, 100).monotone


def small(**changes: object) -> Fleet:
    fleet = fleet_world.fleet(
        sessions=40, pairs=None, mean_s=3, longest_s=60, duration_s=60, warmup_s=5,
        admission=Admission(most_sessions=2),
    )  # fmt: skip
    slo = Slo(blocking=Fraction(5, 100))
    return attrs.evolve(fleet, slo=slo, **changes)  # type: ignore[arg-type]


def test_pairs_needed_are_the_fewest_of_all() -> None:
    """WS-FLEET-10: every number around the answer tried: it meets the promise, one fewer does not;
    and it is near what Erlang B says."""
    found = pairs_needed(small())
    for pairs in range(found.value - 3, found.value + 4):
        result = simulate(small(pairs=pairs))
        meets = all(p.meets for p in promises(result, small().slo))
        assert meets == (pairs >= found.value)
    assert found.monotone
    assert abs(2 * found.value - erlang.places_for(40, 0.05)) <= 4
    assert [p.name for p in found.at_value] == ["on_time", "blocking", "p99"]


def test_a_promise_that_nobody_keeps_is_refused() -> None:
    """WS-FLEET-10: no number of pairs makes a response earlier than its boundary."""
    slo = Slo(deadline_ns=160_000_000)
    with pytest.raises(ConfigError, match="slo: got 'on_time'"):
        pairs_needed(attrs.evolve(small(), slo=slo, duration_ns=8 * fleet_world.SECOND))


def test_sessions_of_a_pair_against_every_number() -> None:
    """WS-FLEET-10: jitter decides, and each number up to the answer is on time, none after."""
    fleet = attrs.evolve(
        fleet_world.fleet(mean_s=20, longest_s=60, duration_s=25), jitter=Fraction(1, 4)
    )
    found = sessions_per_pair(fleet, pairs=12)
    shares = [point.simulated for point in on_time_curve(fleet, range(1, found.value + 2), 12)]
    assert all(share >= 0.99 for share in shares[: found.value])
    assert shares[found.value] < 0.99
    assert found.at_value[0].value == shares[found.value - 1]
    assert found.value >= 2


def test_each_part_of_a_promise_has_its_own_share() -> None:
    """WS-FLEET-10: units by the deadline, sessions, and units within a time, 99 % whatever is
    promised by the deadline."""
    fleet = small(pairs=20)
    slo = Slo(p99_ns=1, on_time=Fraction(1, 2), blocking=Fraction(1, 3))
    result = simulate(attrs.evolve(fleet, slo=slo))
    on_time, blocking, p99 = promises(result, slo)
    assert (on_time.value, blocking.value, p99.value) == (
        result.on_time.value, result.blocking.value, 0,
    )  # fmt: skip
    assert result.on_time.value == 1
    assert 0 < result.blocking.value < 1
    assert (on_time.allowed, blocking.allowed, p99.allowed) == (0.5, float(Fraction(1, 3)), 0.99)


def test_full_pairs_are_full() -> None:
    """WS-FLEET-10: the curve by sessions of a pair measures pairs that have them."""
    result = simulate(full(fleet_world.fleet(), 3, 10))
    assert result.limits.places == 3
    assert result.session_units > 0.9 * 3 * 10 * result.rounds


def test_the_blocking_curve_rises_with_its_closed_form() -> None:
    """WS-FLEET-11: simulated beside Erlang B, within the stated bounds or near them."""
    fleet = attrs.evolve(small(pairs=20), slo=Slo(confidence=Fraction(999, 1000)))
    points = blocking_curve(fleet, [30, 45, 60])
    assert [point.at for point in points] == [30, 45, 60]
    blocked = [point.simulated for point in points]
    assert blocked == sorted(blocked)
    for point in points[1:]:
        assert point.closed_form == erlang.erlang_b(point.at, 40)
        assert point.closed_form is not None
        assert point.lower <= point.closed_form * 1.1
        assert point.upper >= point.closed_form * 0.9


SHARE = Share(hits=990, trials=1000, effective=1000.0)


@pytest.mark.parametrize(
    ("allowed", "said", "meets"),
    [
        (0.97, "kept", True),
        (0.99, "open", True),
        (0.993, "open", False),
        (0.999, "missed", False),
    ],
)
def test_a_promise_of_at_least(allowed: float, said: str, meets: bool) -> None:
    """WS-FLEET-10: kept and missed are said only with confidence."""
    promise = at_least("on_time", SHARE, allowed, 0.95)
    assert (promise.verdict, promise.meets) == (said, meets)
    assert promise.bound == SHARE.lower(0.95)


@pytest.mark.parametrize(
    ("allowed", "said", "meets"),
    [
        (0.02, "kept", True),
        (0.01, "open", True),
        (0.007, "open", False),
        (0.001, "missed", False),
    ],
)
def test_a_promise_of_at_most(allowed: float, said: str, meets: bool) -> None:
    """WS-FLEET-10."""
    share = Share(hits=10, trials=1000, effective=1000.0)
    promise = at_most("blocking", share, allowed, 0.95)
    assert (promise.verdict, promise.meets) == (said, meets)
    assert promise.bound == share.upper(0.95)
