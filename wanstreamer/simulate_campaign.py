"""``wanstreamer simulate --campaign``: many runs under faults, for the command line.

Source: design §13.
"""

from __future__ import annotations

import json
import os

import attrs
import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from simulator.campaign import CampaignReport, run_campaign
from simulator.faults import RATES, parse_faults
from spec.errors import ConfigError

DEFAULT_UNITS = 1_000_000
MAX_CAMPAIGN_UNITS = 100_000_000


def show_campaign(
    units: int | None,
    faults: str | None,
    *,
    seed: int | None,
    defect: str | None,
    as_json: bool,
) -> None:
    """Run a campaign on every core and say what it came to; exit 1 if it is not clean
    (WS-FAULTS-8).

    Raises:
        ConfigError: a number of units that makes no campaign, or no such defect.
        FaultError: faults that cannot be read.
    """
    units = DEFAULT_UNITS if units is None else units
    if not 1 <= units <= MAX_CAMPAIGN_UNITS:
        raise ConfigError("--units", units, f"1 to {MAX_CAMPAIGN_UNITS}")
    rates = RATES if faults is None else parse_faults(faults)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("campaign", total=units)
        report = run_campaign(
            units,
            rates,
            seed=0 if seed is None else seed,
            workers=os.cpu_count() or 1,
            defect=defect,
            progress=lambda done: progress.update(task, completed=done),
        )
    if as_json:
        click.echo(json.dumps({**attrs.asdict(report), "clean": report.clean}))
    else:
        show(report, Console())
    if not report.clean:
        raise SystemExit(1)


def show(report: CampaignReport, console: Console) -> None:
    """The campaign for a person: what was reached, and what went wrong."""
    table = Table("reached", "times")
    table.columns[1].justify = "right"
    for name, count in report.marks.most_common():
        table.add_row(str(name), f"{count:,}")
    console.print(table)
    outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(report.outcomes.items()))
    console.print(
        f"{report.units:,} units in {report.runs:,} runs; sessions: {outcomes}; longest recovery "
        f"{report.recovery_units:.0f} units of time",
        highlight=False,
    )
    if report.violations:
        broken = ", ".join(f"{name} {count}" for name, count in sorted(report.violations.items()))
        console.print(f"violations: {broken}; first: {report.first}", highlight=False)
    else:
        console.print("no violation", highlight=False)
    if report.missing:
        console.print(f"never reached: {', '.join(report.missing)}", highlight=False)
    console.print(f"results sha256 {report.sha256}", highlight=False)
