"""``wanstreamer check``: a port through the conformance suite.

Source: design §12, §15.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from conformance import runner
from conformance.protocol import PROFILES
from conformance.reporting import report as reports
from conformance.reporting.listing import listing as everything
from conformance.reporting.rendering.prose import reflowed
from spec.clauses import registry


@click.command("check")
@click.option(
    "--port",
    default="reference",
    show_default=True,
    help='reference, optimized, split, mutant:NAME, benign:NAME, MODULE:FACTORY, cmd:"ARGV".',
)
@click.option("--profile", help=f"{', '.join(PROFILES)}; all that the port claims if left out.")
@click.option("--clause", help="Judge one clause only, e.g. WS-VISIBILITY-2; its text is shown.")
@click.option(
    "--case", help="Judge one case only, by its id; * stands for anything: 'drift/late:*'."
)
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder for log.ndjson, report.json, junit.xml, report.html, summary.md, badge.svg.",
)
@click.option(
    "--waivers", type=click.Path(path_type=Path), help="TOML file of failures accepted for a while."
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 2),
    help="Processes that judge, each with a port of its own; 1 for a port that is there only once."
    "  [default: 2 for whole profiles, where there are 2 processors]",
)
@click.option("--list", "listing", is_flag=True, help="List clauses, checks and mutants.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check_command(
    port: str,
    profile: str | None,
    clause: str | None,
    case: str | None,
    folder: Path | None,
    waivers: Path | None,
    jobs: int | None,
    listing: bool,
    as_json: bool,
) -> int:
    """Judge a port. Exit status: 0 conformant, 1 not, 2 usage or environment, 3 inconclusive."""
    if listing:
        show_listing(as_json)
        return 0
    with advancing() as advance:
        result = runner.check(port, profile, clause, folder, advance, waivers, jobs, case)
    if as_json:
        click.echo(json.dumps(reports.as_json(result)))
        return result.exit_status
    console = Console()
    reports.show(result, console)
    if clause is not None:
        show_clause(clause, console)
    if folder is not None:
        console.print(Text(f"reports: {folder}/report.html and others beside it"))
    return result.exit_status


@contextmanager
def advancing() -> Iterator[runner.Progress]:
    """A bar on stderr while somebody watches."""
    columns = (TextColumn("checks"), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.description}"))  # fmt: skip
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=None)

        def advance(done: int, total: int, case: str) -> None:
            progress.update(task, completed=done, total=total, description=escape(case))

        yield advance


def show_clause(clause_id: str, console: Console) -> None:
    """The text that a run of one clause has judged by."""
    clause = registry()[clause_id]
    head = f"{clause.id} ({clause.level}), {clause.file}:{clause.line}; {clause.provenance}"
    console.print(Text(head, style="bold"))
    console.print(Padding(Text(reflowed(clause.statement)), (0, 0, 0, 2)))


def show_listing(as_json: bool) -> None:
    """Clauses, checks, mutants and benign variants."""
    found = everything()
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console()
    for kind, title, columns in (
        ("checks", "checks, in the order in which they are run",
         ("id", "profile", "tolerance", "clauses")),
        ("mutants", "mutants: known-bad ports, each with the clause that must find it",
         ("name", "clause", "description")),
        ("benign", "benign variants, which every check lets pass", ("name", "description")),
    ):  # fmt: skip
        rows = found[kind]
        table = Table(title=f"{len(rows)} {title}", title_justify="left", title_style="bold")
        for column in columns:
            # An id that is broken over two lines cannot be copied.
            table.add_column(column, no_wrap=column in ("id", "name", "clause"), overflow="fold")
        for row in rows:
            cells = (row[column] for column in columns)
            table.add_row(*(Text(", ".join(c) if isinstance(c, list) else str(c)) for c in cells))
        console.print(table)
    judged = found["clauses"]
    console.print(f"{len(judged)} of {len(registry())} clauses have a check:")
    console.print(Padding(Text(", ".join(judged)), (0, 0, 0, 2)))
    console.print("The text of one, judged: wanstreamer check --port PORT --clause ID")
