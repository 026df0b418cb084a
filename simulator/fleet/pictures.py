"""The two curves of a fleet as pictures: who is refused by load, who is late by sessions a pair.

Source: CHOICE (WS-FLEET-10, WS-FLEET-11).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from simulator.capacity import blocking_curve, on_time_curve
from simulator.drawing import save
from simulator.fleet.limits import limits_of
from simulator.fleet.run import pairs_of
from simulator.fleet.scenario import Fleet
from simulator.plots import fleet_curves

LOADS: Final = (70, 80, 90, 95, 100, 105, 110, 120, 130)
"""Offered sessions, in percent of the places of all pairs."""

BEYOND: Final = 3
"""How many sessions more than a pair's places the curve goes."""


def blocking_figure(fleet: Fleet) -> Figure:
    """Sessions refused by sessions offered, simulated and by closed form (WS-FLEET-11)."""
    limits = limits_of(fleet)
    places = max(limits.places, 1) * pairs_of(fleet, limits)
    points = blocking_curve(fleet, [max(places * part // 100, 1) for part in LOADS])
    closed = [point.closed_form for point in points]
    return fleet_curves(
        [point.at for point in points],
        {
            "simulated": [point.simulated for point in points],
            "Erlang B": [float("nan") if value is None else value for value in closed],
        },
        "sessions offered at a time",
        "part of the sessions refused",
        f"{fleet.name}: {places:,} places",
        float(fleet.slo.blocking),
    )


def on_time_figure(fleet: Fleet) -> Figure:
    """Units on time by sessions on each pair, all pairs full, between its bounds (WS-FLEET-10)."""
    most = limits_of(fleet).places + BEYOND
    points = on_time_curve(fleet, range(1, most + 1))
    return fleet_curves(
        [point.at for point in points],
        {
            "simulated": [point.simulated for point in points],
            "lower bound": [point.lower for point in points],
            "upper bound": [point.upper for point in points],
        },
        "sessions on a pair",
        "part of the units on time",
        fleet.name,
        float(fleet.slo.on_time),
    )


def save_curves(fleet: Fleet, folder: Path) -> tuple[Path, Path]:
    """Write both pictures into ``folder``; their paths."""
    blocking, on_time = folder / "fleet-blocking.svg", folder / "fleet-on-time.svg"
    save(blocking_figure(fleet), blocking)
    save(on_time_figure(fleet), on_time)
    return blocking, on_time
