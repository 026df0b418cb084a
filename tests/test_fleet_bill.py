"""What a fleet takes in devices, network, power and money, by hand."""

from __future__ import annotations

from fractions import Fraction

import attrs
import fleet_world
import pytest

from simulator.fleet.bill import bill
from simulator.fleet.run import simulate
from simulator.fleet.scenario import Admission, Site
from spec import cost
from spec.devices import devices
from spec.errors import ConfigError

SITE = Site(
    up_kbit_s=100, down_kbit_s=300, idle_share=Fraction(1, 4), power_overhead=Fraction(3, 2),
    kwh_price=Fraction(1, 5), device_hour_price=Fraction(2), currency="EUR",
)  # fmt: skip


def test_devices_state_their_power() -> None:
    """WS-FLEET-12: every GPU of the table; the processor, whose maker is unknown, none."""
    stated = {name: device.power_watts for name, device in devices().items()}
    assert stated.pop("cpu-2core") is None
    assert all(watts is not None and 300 <= watts <= 700 for watts in stated.values())


def test_the_bill_by_hand() -> None:
    """WS-FLEET-12: from the counts of a run and the numbers of the site."""
    fleet = fleet_world.fleet(sessions=8, pairs=4, admission=Admission(most_sessions=2))
    result = simulate(fleet)
    made = bill(fleet, SITE, result)
    sessions = Fraction(result.session_units, result.rounds)
    assert made.sessions == sessions
    assert made.devices == 8
    assert made.memory_bytes == 8 * 141_000_000_000
    slices = cost.slice_bytes(fleet.plan.config, 2) + cost.latents_bytes(fleet.plan.config, 2)
    assert made.pair_link_bits_s == sessions * slices * 8 * Fraction(100, 16)
    assert (made.up_bits_s, made.down_bits_s) == (sessions * 100_000, sessions * 300_000)
    busy = result.thinker_busy + result.performer_busy
    assert made.watts == 4 * 700 * (2 * Fraction(1, 4) + Fraction(3, 4) * busy) * Fraction(3, 2)
    assert made.energy_price == made.watts / 1000 / 5
    assert made.device_price == 16
    per_hour = made.energy_price + made.device_price
    assert made.session_minute_price == per_hour / (60 * sessions)
    assert made.currency == "EUR"


def test_an_idle_fleet_draws_its_idle_share() -> None:
    """WS-FLEET-12: no session, no price of its minute; power all the same."""
    fleet = fleet_world.fleet(pairs=3)
    quiet = attrs.evolve(
        simulate(fleet), session_units=0, thinker_busy=Fraction(0), performer_busy=Fraction(0)
    )
    made = bill(fleet, SITE, quiet)
    assert made.watts == 6 * 700 * Fraction(1, 4) * Fraction(3, 2)
    assert made.session_minute_price == 0


def test_work_of_the_warm_up_is_not_billed() -> None:
    """WS-FLEET-12: a full pair works alike in every round, whether others were warm-up or not."""
    fleet = fleet_world.fleet(
        sessions=400, pairs=2, kind="constant", mean_s=1, longest_s=60, duration_s=8,
        admission=Admission(most_sessions=1),
    )  # fmt: skip
    late = simulate(attrs.evolve(fleet, warmup_ns=fleet.duration_ns))
    plain = simulate(fleet)
    for ours, theirs in (
        (late.thinker_busy, plain.thinker_busy),
        (late.performer_busy, plain.performer_busy),
    ):
        assert float(ours) == pytest.approx(float(theirs), rel=0.05)


def test_caches_are_counted_beside_the_weights() -> None:
    """WS-FLEET-12: mean bytes of a pair's thinker less the weights, times the pairs."""
    fleet = fleet_world.fleet(pairs=3)
    result = simulate(fleet)
    made = bill(fleet, SITE, result)
    weights = cost.weight_bytes(fleet.plan.config.preset, 2)
    assert made.cached_bytes == 3 * (result.mean_memory_bytes - weights) > 0


def test_a_device_without_power_gets_no_bill() -> None:
    """WS-FLEET-12: one line."""
    on = fleet_world.plan("tiny", "cpu-2core", efficiency=Fraction(1))
    fleet = fleet_world.fleet(sessions=1, pairs=1, mean_s=1, longest_s=2, duration_s=1, on=on)
    with pytest.raises(ConfigError, match="power of cpu-2core"):
        bill(fleet, SITE, simulate(fleet))
