"""``wanstreamer bench``: how fast, against a target and against a baseline.

Source: design §15 (WS-BENCH).
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

from simulator.benchmarks import Result, machine, run_benchmarks
from spec.errors import ConfigError

FACTOR: Final = 2.0
"""A rate may fall by this before it counts as a regression: other machines, other loads."""


@click.command("bench")
@click.option("--baseline", type=click.Path(path_type=Path), help="An earlier --json to hold to.")
@click.option("--factor", default=FACTOR, show_default=True, help="A rate may fall by this.")
@click.option("--only", help="Benchmarks whose name contains this.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def bench_command(baseline: Path | None, factor: float, only: str | None, *, as_json: bool) -> int:
    """Measure the rates. Exit status: 0 all met, 1 a target missed or a rate fallen, 2 usage."""
    if not factor >= 1:
        raise ConfigError("--factor", factor, "1 or more")
    before = {} if baseline is None else read_baseline(baseline)
    results = run_benchmarks(only)
    slower = [r for r in results if r.name in before and r.measured * factor < before[r.name]]
    if as_json:
        click.echo(
            json.dumps({"machine": machine(), "targets": [attrs.asdict(r) for r in results]})
        )
    else:
        show(results, before, Console())
    for result in slower:
        click.echo(f"{result.name}: {result.measured:,.4g}, more than {factor:g} times slower than "
                   f"{before[result.name]:,.4g} in {baseline}", err=True)  # fmt: skip
    return 1 if slower or not all(result.met for result in results) else 0


def read_baseline(path: Path) -> Mapping[str, float]:
    """Rates of an earlier ``bench --json``, by name (WS-BENCH-1).

    Raises:
        ConfigError: no such file, or not such an object.
    """
    allowed = "the output of wanstreamer bench --json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {target["name"]: target["measured"] for target in data["targets"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--baseline ({type(error).__name__})", str(path), allowed) from None
    for name, measured in found.items():
        if type(measured) not in (int, float) or not 0 < measured < float("inf"):
            raise ConfigError(f"--baseline {name}", measured, "a rate above 0")
    return found


def show(results: list[Result], before: Mapping[str, float], console: Console) -> None:
    """The rates for a person."""
    table = Table("", "measured", "target", "baseline", "met")
    for column in table.columns[1:4]:
        column.justify = "right"
    for result in results:
        was = before.get(result.name)
        table.add_row(
            result.name,
            f"{result.measured:,.4g}",
            f"{result.target:,.4g}",
            "" if was is None else f"{was:,.4g}",
            "yes" if result.met else "no",
        )
    console.print(table)
    console.print(
        ", ".join(f"{name} {value}" for name, value in machine().items()), highlight=False
    )
