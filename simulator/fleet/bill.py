"""What a fleet takes besides pairs: memory, network, power and money.

Device numbers come from `spec/devices.toml`, bytes from WS-COST-5 and WS-COST-6, and everything
about the site is an assumption of the scenario. Source: CHOICE (WS-FLEET-12).
"""

from __future__ import annotations

from fractions import Fraction

import attrs

from simulator.fleet.scenario import SECOND_NS, Fleet, Site
from simulator.fleet.tally import FleetResult
from spec import clock, cost
from spec.errors import ConfigError

BITS: int = 8
WATT_HOURS_PER_KWH: int = 1000


@attrs.frozen(kw_only=True)
class Bill:
    """The needs of a fleet with the sessions that a run had on average (WS-FLEET-12).

    ``sessions``: mean number at a time. ``pair_link_bits_s``: between thinkers and performers,
    both directions together; ``up_bits_s`` and ``down_bits_s``: from and to all users.
    ``cached_bytes``: keys and values on thinkers, and as much again on performers. ``watts``: of
    the site. Prices are per hour, in the money of ``currency``.
    """

    sessions: Fraction
    devices: int
    memory_bytes: int
    cached_bytes: int
    pair_link_bits_s: Fraction
    up_bits_s: Fraction
    down_bits_s: Fraction
    watts: Fraction
    energy_price: Fraction
    device_price: Fraction
    currency: str

    @property
    def session_minute_price(self) -> Fraction:
        """Price of a minute of one session; 0 of no session."""
        if not self.sessions:
            return Fraction(0)
        return (self.energy_price + self.device_price) / (60 * self.sessions)


def bill(fleet: Fleet, site: Site, result: FleetResult) -> Bill:
    """The bill of a run (WS-FLEET-12).

    Raises:
        ConfigError: the device states no power.
    """
    plan = fleet.plan
    watts = plan.device.power_watts
    if watts is None:
        raise ConfigError(f"power of {plan.device.name}", "none", "a device that states it")
    sessions = Fraction(result.session_units, result.rounds)
    sent = cost.slice_bytes(plan.config, plan.element) + cost.latents_bytes(
        plan.config, plan.element
    )
    # A device draws its idle share always, and the rest while it works.
    drawn = sum(
        site.idle_share + (1 - site.idle_share) * min(busy, Fraction(1))
        for busy in (result.thinker_busy, result.performer_busy)
    )
    power = result.pairs * watts * drawn * site.power_overhead
    devices = 2 * result.pairs
    return Bill(
        sessions=sessions,
        devices=devices,
        memory_bytes=devices * plan.device.memory_bytes,
        cached_bytes=result.pairs * (result.mean_memory_bytes - result.limits.weight_bytes),
        pair_link_bits_s=sessions * sent * BITS * Fraction(SECOND_NS, clock.UNIT_NS),
        up_bits_s=sessions * site.up_kbit_s * 1000,
        down_bits_s=sessions * site.down_kbit_s * 1000,
        watts=power,
        energy_price=power / WATT_HOURS_PER_KWH * site.kwh_price,
        device_price=devices * site.device_hour_price,
        currency=site.currency,
    )
