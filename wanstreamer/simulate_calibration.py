"""``wanstreamer simulate --from-trace``: how well a fit of a real run predicts the rest of it.

Source: design §13; WS-METRICS-12.
"""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click
from rich.console import Console
from rich.table import Table

from simulator.calibrate import Calibration, Row, calibrate
from spec.trace import TraceError
from spec.trace_check import check_rows
from spec.trace_reading import read_trace
from spec.trace_rows import read_rows


def show_calibration(path: Path, *, as_json: bool) -> None:
    """Fit the first half of the split run in ``path`` and print how the rest was predicted.

    Raises:
        TraceError: it is no trace, or breaks an invariant.
        ConfigError: it is not of a split run, or too short.
    """
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
        report = check_rows(read_rows(stream))
        if not report.clean:
            raise TraceError(str(path), "broken or unfinished", "a trace that `trace check` passes")
        stream.seek(0)
        result = calibrate(read_trace(stream))
    if as_json:
        click.echo(json.dumps(as_object(path, result)))
    else:
        show(path, result, Console())


def as_object(path: Path, result: Calibration) -> dict[str, object]:
    """The whole table as one JSON object."""
    return {
        "trace": str(path),
        "fitted_units": result.fitted,
        "predicted_units": result.predicted,
        "growth_ns_per_unit": dict(result.growth),
        "bounds_only": list(result.bounds),
        "rows": [
            {**attrs.asdict(row), "error": row.error, "enough": row.enough} for row in result.rows
        ],
    }


def show(path: Path, result: Calibration, console: Console) -> None:
    """The table for a person: a row a quantity, measured, predicted and error below each other."""
    statistics = list(dict.fromkeys(row.statistic for row in result.rows))
    title = f"{path.name}: {result.fitted} units fitted, {result.predicted} predicted"
    table = Table("ms", "", *statistics, title=title, title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for quantity in dict.fromkeys(row.quantity for row in result.rows):
        rows = [row for row in result.rows if row.quantity == quantity]
        table.add_section()
        table.add_row(quantity, "measured", *(f"{row.measured:.2f}{_mark(row)}" for row in rows))
        table.add_row("", "predicted", *(f"{row.predicted:.2f} " for row in rows))
        table.add_row("", "error", *(f"{row.error:+.1%} " for row in rows))
    console.print(table)
    console.print("? too few units to say: a percentile q of n needs 1 - (q/100)^n of 95 %",
                  highlight=False)  # fmt: skip
    grows = [f"{stage} {ns / 1e3:+.1f}" for stage, ns in result.growth.items() if ns]
    console.print(f"growth, us a unit: {', '.join(grows) or 'none to be sure of'}", highlight=False)
    for way in result.bounds:
        shown = result.models[way].typical_ns / 1e6
        console.print(f"{way}: no receiver ever waited; no longer than {shown:.2f} ms",
                      highlight=False)  # fmt: skip


def _mark(row: Row) -> str:
    return " " if row.enough else "?"
