"""Fleets where closed forms hold: Erlang B whatever the lengths, Erlang C, Engset; and SimPy."""

from __future__ import annotations

from fractions import Fraction

import attrs
import fleet_world
import pytest
import simpy

from simulator import erlang
from simulator.fleet.arrivals import ArrivalProcess, already_there
from simulator.fleet.figures import Share
from simulator.fleet.limits import limits_of
from simulator.fleet.run import pairs_of, simulate
from simulator.fleet.scenario import Admission, Arrivals, Fleet, LengthKind
from simulator.fleet.summary import blocking_expected

SECOND = fleet_world.SECOND
SURE = 0.9999
"""Confidence at which a closed form must lie within the bounds of a run: one wrong in 10,000."""


PLACES = 1000


def loss(sessions: int, kind: LengthKind = "exponential", spread: Fraction = Fraction(0)) -> Fleet:
    """`PLACES` places to which ``sessions`` come, and leave again after 10 s on average."""
    return fleet_world.fleet(
        sessions=sessions, pairs=PLACES, mean_s=10, longest_s=120, kind=kind, spread=spread,
        duration_s=250, warmup_s=25, admission=Admission(most_sessions=1),
    )  # fmt: skip


def within(share: Share, expected: float | None) -> None:
    """The closed form is possible, and half or double of it is not: the bounds are worth
    something."""
    assert expected is not None
    assert expected / 2 < share.lower(SURE) <= expected <= share.upper(SURE) < expected * 2


@pytest.mark.parametrize(
    ("kind", "spread"),
    [("exponential", 0), ("constant", 0), ("lognormal", 2), ("uniform", 1)],
)
def test_blocking_is_erlang_b_whatever_the_lengths(kind: LengthKind, spread: int) -> None:
    """WS-FLEET-11: M/G/N/N, insensitive to G."""
    result = simulate(fleet := loss(1100, kind, Fraction(spread)))
    assert blocking_expected(fleet, result) == erlang.erlang_b(1100, PLACES)
    within(result.blocking, blocking_expected(fleet, result))


def test_blocking_of_a_closed_crowd_is_engset() -> None:
    """WS-FLEET-11: 2,500 users; Erlang B of as many sessions lies outside the bounds."""
    crowd = Arrivals(kind="users", sessions=1100, users=2500)
    result = simulate(fleet := attrs.evolve(loss(1100, "constant"), arrivals=crowd))
    assert blocking_expected(fleet, result) == erlang.engset(2500, 11 / 14, PLACES)
    within(result.blocking, blocking_expected(fleet, result))
    assert result.blocking.lower(SURE) > erlang.erlang_b(1100, PLACES)


def test_pairs_asked_by_lot_are_each_an_erlang_system() -> None:
    """WS-FLEET-11: no pooling: one place a pair refuses a / (1 + a)."""
    admission = Admission(most_sessions=1, placement="random")
    fleet = attrs.evolve(loss(500), admission=admission)
    result = simulate(fleet)
    assert blocking_expected(fleet, result) == pytest.approx(0.5 / 1.5)
    within(result.blocking, blocking_expected(fleet, result))


@pytest.mark.parametrize("sessions", [1, 7, 8, 9, 40, 333])
def test_pairs_left_out_are_the_fewest(sessions: int) -> None:
    """WS-FLEET-11: they keep the promised blocking by Erlang's B, and one pair fewer does not."""
    admission = Admission(most_sessions=5)
    fleet = fleet_world.fleet(sessions=sessions, pairs=None, admission=admission)
    pairs, promised = pairs_of(fleet, limits_of(fleet)), float(fleet.slo.blocking)
    assert erlang.erlang_b(sessions, 5 * pairs) <= promised
    assert erlang.erlang_b(sessions, 5 * (pairs - 1)) > promised


def test_waiting_is_erlang_c() -> None:
    """WS-FLEET-11: 800 queues of two places each, which nobody leaves; rounds of 0.16 s against
    lengths of 8 s make a difference of a few percent."""
    admission = Admission(most_sessions=2, placement="random", patience_ns=3600 * SECOND)
    fleet = fleet_world.fleet(
        sessions=640, pairs=800, mean_s=8, longest_s=200, duration_s=200, warmup_s=100,
        admission=admission,
    )  # fmt: skip
    result = simulate(fleet)
    assert result.rejected == 0
    assert blocking_expected(fleet, result) is None
    waits, mean_ns = erlang.erlang_c(0.8, 2), erlang.mean_wait(0.8, 2, 8 * SECOND)
    assert result.waited / result.admitted == pytest.approx(waits, rel=0.1)
    assert result.wait_ns / result.admitted == pytest.approx(mean_ns, rel=0.15)


def test_the_same_sessions_in_simpy() -> None:
    """WS-FLEET-2, WS-FLEET-6: an independent model of the loss system counts the same refusals."""
    fleet = attrs.evolve(loss(1020), warmup_ns=0, duration_ns=100 * SECOND)
    arrivals = ArrivalProcess(fleet)
    world = simpy.Environment()
    places = simpy.Resource(world, capacity=PLACES)
    refused = [0] * fleet.rounds

    def session(units: int) -> simpy.events.ProcessGenerator:
        with places.request() as place:
            yield place
            yield world.timeout(units)

    def fleet_of_places() -> simpy.events.ProcessGenerator:
        _, left = already_there(fleet, 1020)
        for units in left.tolist()[:PLACES]:
            world.process(session(units))
        for number in range(fleet.rounds):
            # Those who are over leave first: their events of this instant are older.
            yield world.timeout(0)
            first = arrivals.first
            count = arrivals.take(number, 0)
            free = PLACES - places.count - len(places.queue)
            for units in arrivals.lengths(first, count).tolist()[:free]:
                world.process(session(units))
            refused[number] = max(count - free, 0)
            yield world.timeout(1)

    world.process(fleet_of_places())
    world.run()
    counted = list[int]()
    simulate(fleet, lambda done: counted.append(done.rejected))
    assert sum(counted) > 50
    assert counted == refused
