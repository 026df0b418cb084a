"""``wanstreamer trace``: check a trace, simulated or real, and draw it.

Source: design §13, §15.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import attrs
import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spec.trace import TraceError
from spec.trace_check import TraceReport, check_rows
from spec.trace_rows import read_rows
from wanstreamer.simulate_views import GANTT_UNITS, check_picture, draw, write_perfetto_file


@click.group("trace")
def trace_command() -> None:
    """Judge or draw the trace of a run, simulated or real."""


@trace_command.command("gantt")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="SVG or PNG.")
@click.option("--first", default=0, show_default=True, help="First unit shown.")
@click.option("--units", default=GANTT_UNITS, show_default=True, help="How many.")
@click.option("--overlay", type=click.Path(path_type=Path), help="A second trace, under the first.")
def gantt_command(trace: Path, output: Path, first: int, units: int, overlay: Path | None) -> None:
    """Draw who did what when in TRACE, its first session."""
    check_picture(output, units)
    with opened(trace) as stream:
        draw(stream, output, trace.name, units, first, overlay)


@trace_command.command("perfetto")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Any name.")
def perfetto_command(trace: Path, output: Path) -> None:
    """Write TRACE for the viewer at ui.perfetto.dev."""
    with opened(trace) as stream:
        write_perfetto_file(stream, output)


def opened(path: Path) -> TextIO:
    """A trace file, so that bytes which are not UTF-8 reach the reader (WS-TRACE-3)."""
    return path.open(encoding="utf-8", errors="surrogateescape", newline="\n")


@trace_command.command("check")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check_command(trace: Path, *, as_json: bool) -> int:
    """Check the invariants of TRACE. Exit status: 0 clean, 1 not, 2 no trace at all."""
    report = check_file(trace)
    if as_json:
        click.echo(json.dumps({"trace": str(trace), "clean": report.clean, **attrs.asdict(report)}))
    else:
        show(report, Console())
    return 0 if report.clean else 1


def check_file(path: Path) -> TraceReport:
    """The report on a trace file (WS-TRACE-3, WS-TRACE-5 to WS-TRACE-15).

    Raises:
        TraceError: it is no trace, or is out of order; the message names the file and the line.
    """
    with opened(path) as stream:
        try:
            return check_rows(read_rows(stream))
        except TraceError as error:
            raise TraceError(f"{path}: {error.what}", error.value, error.allowed) from None


def show(report: TraceReport, console: Console) -> None:
    """The report for a person; a trace that ends early is never called clean (WS-TRACE-8)."""
    if report.violations:
        table = Table("clause", "event", "what is broken")
        for violation in report.violations:
            table.add_row(violation.clause, escape(violation.event), escape(violation.text))
        console.print(table)
    count = report.violation_count
    if count > len(report.violations):
        console.print(f"{count - len(report.violations):,} more violations are not shown")
    queues = [f"{name} {most} of {limit}" for name, (most, limit) in report.queues.items()]
    if report.unstated:
        queues.append(f"not stated: {', '.join(report.unstated)}")
    console.print(f"longest queues: {'; '.join(queues)}", highlight=False)
    ends = f"; ends early: {', '.join(report.unfinished)}" if report.unfinished else ""
    verdict = "clean" if report.clean else f"{count:,} violations{ends}"
    console.print(f"{report.events:,} events: {verdict}", highlight=False)
