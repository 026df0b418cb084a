"""``wanstreamer simulate FLEET.toml``: many sessions on many pairs.

A file with a ``[fleet]`` table is a fleet; so are the shipped scenarios that have one.
Source: design §13, §15; CHOICE (WS-FLEET-13).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import click
from rich.console import Console
from rich.table import Table

from simulator.capacity import Found, Promise, pairs_needed, sessions_per_pair
from simulator.fleet.reading import is_fleet, read_fleet
from simulator.fleet.run import simulate
from simulator.fleet.scenario import Fleet
from simulator.fleet.summary import FleetSummary, fleet_summary
from simulator.scenario_reading import SHIPPED
from spec import clock
from spec.errors import ConfigError

SEARCHES: Final = {"pairs": pairs_needed, "sessions-per-pair": sessions_per_pair}


def fleet_file(scenario: str | None) -> Path | None:
    """The file that ``scenario`` names, if it is a fleet: by its path or a shipped one's name."""
    if scenario is None:
        return None
    for path in (Path(scenario), SHIPPED / f"{scenario}.toml"):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        return path if is_fleet(text) else None
    return None


def run_fleet(
    path: Path,
    *,
    seed: int | None,
    units: int | None,
    sessions: int | None,
    capacity: str | None,
    curves: Path | None,
    as_json: bool,
    unused: Mapping[str, object],
) -> None:
    """Run the fleet of a file, or search its capacity, and say what came of it (WS-FLEET-13).

    Args:
        path: the file.
        seed, units, sessions: what the command line puts in place of the file's; ``units`` is how
            many rounds are counted, ``sessions`` how many are offered at a time.
        capacity: a key of `SEARCHES`.
        curves: a folder for pictures, drawn in place of a run.
        as_json: one JSON object instead of tables.
        unused: options that mean nothing to a fleet.

    Raises:
        ConfigError: a mistake in the file, or an option of ``unused`` that was given.
    """
    for name, value in unused.items():
        if value is not None:
            raise ConfigError(f"--{name} of a fleet", str(value), "leave it out")
    fleet = changed(read_fleet(path), seed, units, sessions)
    if capacity is not None:
        if capacity not in SEARCHES:
            raise ConfigError("--capacity", capacity, ", ".join(SEARCHES))
        show_found(capacity, SEARCHES[capacity](fleet), as_json=as_json)
        return
    if curves is not None:
        draw_curves(fleet, curves, as_json=as_json)
        return
    result = fleet_summary(fleet, simulate(fleet))
    if as_json:
        click.echo(json.dumps(attrs.asdict(result)))
    else:
        show(result, Console())


def draw_curves(fleet: Fleet, folder: Path, *, as_json: bool) -> None:
    """Both curves of a fleet as pictures in ``folder``.

    Raises:
        ConfigError: no such folder.
    """
    from simulator.fleet.pictures import save_curves

    if not folder.is_dir():
        raise ConfigError("--curves", str(folder), "an existing folder")
    paths = [str(path) for path in save_curves(fleet, folder)]
    click.echo(json.dumps({"curves": paths}) if as_json else "\n".join(paths))


def changed(fleet: Fleet, seed: int | None, units: int | None, sessions: int | None) -> Fleet:
    """``fleet`` with what the command line says instead."""
    if seed is not None:
        fleet = attrs.evolve(fleet, seed=seed)
    if units is not None:
        fleet = attrs.evolve(fleet, duration_ns=units * clock.UNIT_NS)
    if sessions is not None:
        fleet = attrs.evolve(fleet, arrivals=attrs.evolve(fleet.arrivals, sessions=sessions))
    return fleet


def show_found(what: str, found: Found, *, as_json: bool) -> None:
    """Where a search ended."""
    if as_json:
        click.echo(json.dumps({"capacity": what, **attrs.asdict(found)}))
        return
    console = Console()
    agree = "all numbers tried agree" if found.monotone else "NOT monotone: see the numbers tried"
    console.print(f"{what.replace('-', ' ')}: {found.value:,} ({agree})", highlight=False)
    table = numbers("tried", "meets the promise")
    for number, meets in found.tried:
        table.add_row(f"{number:,}", "yes" if meets else "no")
    console.print(table)
    console.print(promise_table(found.at_value))


def show(result: FleetSummary, console: Console) -> None:
    """A run for a person."""
    console.print(
        f"{result.fleet}: {result.preset} on {result.device}, {result.dtype}, {result.schedule}; "
        f"{result.pairs:,} pairs, {result.rounds:,} rounds of 160 ms",
        highlight=False,
    )
    table = numbers("sessions", "")
    table.add_row("offered at a time", f"{result.sessions_offered:,}")
    table.add_row("served at a time, mean", f"{result.sessions_mean:,.1f}")
    table.add_row("places of a pair", f"{result.places_per_pair:,}")
    for name, count in result.sessions.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)
    console.print(promise_table(result.promises))
    expected = result.blocking_expected
    closed = "none applies" if expected is None else f"{expected:.4%}"
    latency, memory, busy = result.latency_ms, result.memory_bytes, result.busy
    table = numbers("", "")
    for name, value in (
        ("blocking by closed form", closed),
        ("model-side latency p50, p99, max",
         f"{latency.p50:,.1f}, {latency.p99:,.1f}, {latency.max:,.1f} ms"),
        ("memory of a device: mean, peak, all",
         ", ".join(f"{memory[k] / 1e9:,.1f}" for k in ("mean", "peak", "device")) + " GB"),
        ("thinkers, performers busy", f"{busy['thinker']:.1%}, {busy['performer']:.1%}"),
        ("units served", f"{result.session_units:,}"),
    ):  # fmt: skip
        table.add_row(name, value)
    for name, amount in (result.bill or {}).items():
        shown = amount if isinstance(amount, str) else f"{amount:,.4g}"
        table.add_row(name.replace("_", " "), shown)
    console.print(table)
    console.print(f"trace sha256 {result.trace_sha256}", highlight=False)


def promise_table(promises: tuple[Promise, ...]) -> Table:
    """What was promised and what is known of it."""
    table = numbers("promise", "share", "bound", "promised", "verdict")
    for promise in promises:
        shares = (promise.value, promise.bound, promise.allowed)
        table.add_row(promise.name, *(f"{share:.4%}" for share in shares), promise.verdict)
    return table


def numbers(*columns: str) -> Table:
    """An empty table, numbers to the right."""
    table = Table(*columns)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
