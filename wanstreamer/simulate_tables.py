"""``wanstreamer simulate --tables``: the paper's two tables with our figures beside theirs.

Source: PAPER §3, Tables 1 and 2; design §10.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import attrs
import click
from rich.console import Console
from rich.table import Table

from simulator.moments import by_session, moments
from simulator.tables import Line, lines
from spec.trace import TraceEvent

TITLES = {
    1: "Table 1: speech and omni-modal dialogue",
    2: "Table 2: visual agents, avatars and generators",
}
OURS = (
    "Ours: the median over this run, of a simulation with the stage times given, not of a trained "
    "model. Latencies begin when a unit is whole, as the paper's do; up to 160 ms pass before that."
)
WIDTH = 140
"""Columns where nobody watches: the cells are sentences."""


def show_tables(events: Iterable[TraceEvent], name: str, *, as_json: bool) -> None:
    """Both tables for the first session of a trace, on stdout (WS-METRICS-2).

    Args:
        events: the trace.
        name: what is run, for the heading.
    """
    first = next(iter(by_session(moments(events)).values()), ())
    found = list(lines(first))
    if as_json:
        click.echo(json.dumps({"run": name, "tables": [attrs.asdict(line) for line in found]}))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for number, title in TITLES.items():
        console.print(_table(title, name, [line for line in found if line.table == number]))
    console.print(OURS, highlight=False)


def _table(title: str, name: str, found: Sequence[Line]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("system", "metric", "theirs"):
        table.add_column(column, no_wrap=True)
    for column in ("from where to where", f"ours ({name})"):
        table.add_column(column)
    last = ""
    for line in found:
        if line.system != last and last:
            table.add_section()
        system = line.system if line.system != last else ""
        last = line.system
        metric, boundary = line.metric.replace("-", " "), line.boundary or line.scope
        table.add_row(system, metric, line.theirs, boundary, line.comparison)
    return table
