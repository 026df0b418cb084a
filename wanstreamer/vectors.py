"""``wanstreamer vectors``: cases as folders of files, for a port that nothing can call.

Source: design §12, §15.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
from rich.console import Console

from conformance.files import vectors
from conformance.files.judging import report_of
from conformance.files.manifest import Selection, read_manifest
from conformance.protocol import DTYPES, PROFILES
from conformance.reporting.events import LOG, LogFile
from conformance.reporting.rendering import files as reports
from conformance.reporting.report import as_json, show
from conformance.resolve import resolve

ORACLE = "reference"


@click.group("vectors")
def vectors_command() -> None:
    """Write cases as files, let a port answer them, judge the answers. See docs/vectors.md."""


FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@vectors_command.command("write")
@FOLDER
@click.option("--preset", default="tiny", show_default=True)
@click.option(
    "--profile", "profiles", multiple=True, type=click.Choice(PROFILES[:-1]),
    help="May be given several times; all of them if left out.",
)  # fmt: skip
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), default=("float32",),
    show_default=True,
)  # fmt: skip
@click.option("--case", "cases", multiple=True, default=("*",), help="Pattern of case ids.")
def write_command(
    folder: Path,
    preset: str,
    profiles: tuple[str, ...],
    dtypes: tuple[str, ...],
    cases: tuple[str, ...],
) -> int:
    """Write case folders: what a port is asked, what is expected, and what judges it."""
    chosen = {"profiles": profiles} if profiles else {}
    selection = Selection(preset=preset, dtypes=dtypes, cases=cases, **chosen)  # type: ignore[arg-type]
    count = vectors.write(folder, selection, resolve(ORACLE), resolve(ORACLE))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    runs = len(read_manifest(folder).files)
    click.echo(f"{count} cases in {runs} files, {size / 2**20:.1f} MiB, in {folder}")
    return 0


@vectors_command.command("answer")
@FOLDER
@click.option("--port", required=True, help="As for `wanstreamer check`.")
def answer_command(folder: Path, port: str) -> int:
    """Let a port that can be called answer every case, as a port's own program would."""
    count = vectors.answer(folder, resolve(port))
    click.echo(f"{count} runs answered in {folder}")
    return 0


@vectors_command.command("judge")
@FOLDER
@click.option("--report", "report_dir", type=click.Path(path_type=Path), help="Folder of reports.")
@click.option("--json", "in_json", is_flag=True, help="One JSON object on stdout.")
def judge_command(folder: Path, report_dir: Path | None, in_json: bool) -> int:
    """Judge the answers in a folder; exit status as for `wanstreamer check`. No port is run."""
    if report_dir is None:
        report = report_of(folder)
    else:
        reports.clear(report_dir)
        with LogFile(report_dir / LOG) as log:
            report = report_of(folder, log)
        reports.write(report, report_dir)
    if in_json:
        click.echo(json.dumps(as_json(report)))
    else:
        show(report, Console())
    return report.exit_status


@vectors_command.command("verify")
@FOLDER
def verify_command(folder: Path) -> int:
    """Is a folder whole, and would today's suite and reference write the same?"""
    with tempfile.TemporaryDirectory() as scratch:
        results = vectors.verify(folder, Path(scratch) / "again", resolve(ORACLE), resolve(ORACLE))
    click.echo(f"{folder}: every file as written; {len(results)} comparisons within their budgets")
    return 0
