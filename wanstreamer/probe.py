"""``wanstreamer probe``: the tensors inside one step of a port beside the oracle's, in order.

The first that is over its budget is where the port goes wrong. Source: WS-CONFORMANCE-18.
"""

from __future__ import annotations

import json
from typing import cast

import click
from rich.console import Console
from rich.table import Column, Table

from conformance.guard import PortFault
from conformance.probe_table import PointResult, compare
from conformance.protocol import DTYPES, Unsupported
from conformance.resolve import resolve
from conformance.runner import ORACLE
from spec.errors import ConfigError, PortError
from spec.presets import preset_named
from spec.sizes import LAG_OF_SCHEDULE, Schedule


@click.command("probe")
@click.option("--port", default="reference", show_default=True, help="As for check.")
@click.option("--preset", default="tiny", show_default=True, help="Sizes of the model.")
@click.option("--schedule", help="overlapped or sequential; the preset's own if left out.")
@click.option("--unit", default=2, show_default=True, help="The unit whose step is looked into.")
@click.option("--dtype", default="float32", show_default=True, help=", ".join(DTYPES) + ".")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def probe_command(
    port: str, preset: str, schedule: str | None, unit: int, dtype: str, *, as_json: bool
) -> int:
    """Name the first tensor of a step that is off. Exit status: 0 none, 1 one, 2 usage."""
    chosen = schedule or preset_named(preset).schedule
    if chosen not in LAG_OF_SCHEDULE:
        raise ConfigError("schedule", chosen, ", ".join(sorted(LAG_OF_SCHEDULE)))
    if dtype not in DTYPES:
        raise ConfigError("dtype", dtype, ", ".join(DTYPES))
    if unit < 0:
        raise ConfigError("unit", unit, "0 or more")
    try:
        results = compare(
            resolve(port),
            resolve(ORACLE),
            preset,
            cast("Schedule", chosen),
            unit,
            dtype,
        )
    except Unsupported as unsupported:
        raise PortError(f"port {port}", f"no {unsupported.feature}", "a port with probe") from None
    except PortFault as fault:
        raise PortError(f"port {port}", str(fault), "a port that answers") from None
    first = next((r for r in results if r.over), None)
    if as_json:
        points = [_plain(r) for r in results]
        click.echo(json.dumps({"first": first.point if first else None, "points": points}))
    else:
        show(results, first, Console())
    return 0 if first is None else 1


def _plain(result: PointResult) -> dict[str, object]:
    return {
        "point": result.point,
        "verdict": verdict(result),
        "rms": result.error.rms,
        "rms_budget": result.allowed.rms,
        "max": result.error.max,
        "max_budget": result.allowed.max,
    }


def verdict(result: PointResult) -> str:
    """One word: missing, over or within its budget."""
    return "missing" if result.missing else "over" if result.over else "within"


def show(results: tuple[PointResult, ...], first: PointResult | None, console: Console) -> None:
    """The table, and a last line that names the first point that is off."""
    table = Table(Column("point", no_wrap=True), "shape", "rms", "budget", "max", "budget", "")
    for result in results:
        shape = " x ".join(map(str, result.shape or result.expected))
        numbers = (result.error.rms, result.allowed.rms, result.error.max, result.allowed.max)
        cells = ("",) * 4 if result.missing else tuple(f"{n:.2e}" for n in numbers)
        style = "red" if result.over else "dim" if result.missing else ""
        table.add_row(result.point, shape, *cells, verdict(result), style=style)
    console.print(table)
    if first is None:
        console.print("every point that the port has is within its budget", highlight=False)
    else:
        console.print(f"first over its budget: {first.point}", highlight=False)
