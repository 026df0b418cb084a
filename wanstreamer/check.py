"""``wanstreamer check``: a port through the conformance suite.

Source: design §12, §15.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from conformance import report as reports
from conformance import runner


@click.command("check")
@click.option(
    "--port",
    default="reference",
    show_default=True,
    help="reference, optimized, split, mutant:NAME, benign:NAME, MODULE:FACTORY.",
)
@click.option("--profile", help="codec, session or split; all that the port claims if left out.")
@click.option("--clause", help="Judge one clause only, e.g. WS-VISIBILITY-2.")
@click.option("--report", "folder", type=click.Path(path_type=Path), help="Folder for report.json.")
@click.option("--list", "listing", is_flag=True, help="List clauses, checks and mutants.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check_command(
    port: str,
    profile: str | None,
    clause: str | None,
    folder: Path | None,
    listing: bool,
    as_json: bool,
) -> int:
    """Judge a port. Exit status: 0 conformant, 1 not, 2 usage or environment, 3 inconclusive."""
    if listing:
        show_listing(as_json)
        return 0
    columns = (TextColumn("checks"), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.description}"))  # fmt: skip
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=None)

        def advance(done: int, total: int, case: str) -> None:
            progress.update(task, completed=done, total=total, description=case)

        result = runner.check(port, profile, clause, folder, advance)
    if as_json:
        click.echo(json.dumps(reports.as_json(result)))
    else:
        reports.show(result, Console())
    return result.exit_status


def show_listing(as_json: bool) -> None:
    """Clauses, checks, mutants and benign variants."""
    everything = runner.listing()
    if as_json:
        click.echo(json.dumps(everything))
        return
    console = Console()
    for title, columns in (
        ("checks", ("id", "profile", "tolerance", "clauses")),
        ("mutants", ("name", "clause", "description")),
        ("benign", ("name", "description")),
    ):
        table = Table(*columns, title=f"{len(everything[title])} {title}", title_justify="left")
        for row in everything[title]:
            cells = (row[column] for column in columns)
            table.add_row(*(", ".join(c) if isinstance(c, list) else str(c) for c in cells))
        console.print(table)
    console.print(f"{len(everything['clauses'])} clauses have a check")
