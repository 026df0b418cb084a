"""``wanstreamer compare``: several reports side by side; ``wanstreamer report``: a log once more.

Source: CHOICE (design §12, reports).
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from conformance.reporting import compare as comparing
from conformance.reporting import report as reports
from conformance.reporting.rendering import files

FOLDER = click.Path(path_type=Path)


@click.command("compare")
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--report", "out", type=FOLDER, help="Folder for compare.html and compare.json.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def compare_command(folders: tuple[Path, ...], out: Path | None, as_json: bool) -> int:
    """Reports of `check --report` side by side, differences first; the first FOLDER is the base.

    Exit status: 0; 1 when a case ended worse than in the first; 2 usage or environment.
    """
    comparison = comparing.compare(folders)
    if out is not None:
        comparing.write(comparison, out)
    if as_json:
        click.echo(json.dumps(comparing.as_json(comparison)))
    else:
        comparing.show(comparison, Console())
    return int(bool(comparison.regressions))


@click.command("report")
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def report_command(folder: Path, as_json: bool) -> int:
    """The reports of FOLDER/log.ndjson once more, also of a run that was cut off.

    Exit status: that of the run; 3 when it was cut off before a case failed.
    """
    report = files.rewrite(folder)
    if as_json:
        click.echo(json.dumps(reports.as_json(report)))
    else:
        reports.show(report, Console())
    return report.exit_status
