"""What a run of the suite says: one object, as JSON and as a table (WS-CONFORMANCE-13)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.verdicts import CaseResult, Verdict
from spec.errors import PortError

STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.UNSUPPORTED: "dim",
    Verdict.WAIVED: "cyan",
}
WORST_FIRST = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.UNSUPPORTED,
    Verdict.WAIVED,
    Verdict.PASS,
)
SHOWN_DETAILS = 20


@attrs.frozen(kw_only=True)
class Report:
    """One port through the suite."""

    port: str
    profile: str
    verdict: Verdict
    exit_status: int
    cases: tuple[CaseResult, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Cases by verdict; every verdict has a count."""
        tally = Counter(case.verdict for case in self.cases)
        return {verdict.value: tally[verdict] for verdict in Verdict}

    def failures(self) -> tuple[CaseResult, ...]:
        """Cases that speak against the port or the run, in order."""
        return tuple(c for c in self.cases if c.verdict in (Verdict.FAIL, Verdict.ERROR))


def as_json(report: Report) -> dict[str, Any]:
    """The object of ``check --json`` (design §15)."""
    return {
        "port": report.port,
        "profile": report.profile,
        "verdict": report.verdict.value,
        "counts": report.counts,
        "cases": [
            {"id": c.id, "clause": c.clause, "verdict": c.verdict.value, "detail": c.detail}
            for c in report.cases
        ],
    }


def write(report: Report, folder: Path) -> Path:
    """``folder/report.json``, whole or not at all.

    Raises:
        PortError: the folder cannot be made or written.
    """
    path = folder / "report.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(as_json(report), indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise PortError("--report", str(folder), f"a writable folder ({error.strerror})") from error
    return path


def show(report: Report, console: Console) -> None:
    """A row a check, then the failing cases, then the verdict."""
    table = Table(title=f"port {report.port}, profile {report.profile}", title_justify="left")
    table.add_column("check")
    table.add_column("verdict")
    table.add_column("cases", justify="right")
    by_check: dict[str, list[CaseResult]] = {}
    for case in report.cases:
        by_check.setdefault(case.id.split(":")[0], []).append(case)
    for check_id, cases in by_check.items():
        tally = Counter(case.verdict for case in cases)
        worst = next(verdict for verdict in WORST_FIRST if tally[verdict])
        done = f"{tally[Verdict.PASS]}/{len(cases)}"
        table.add_row(check_id, Text(worst.value, style=STYLE[worst]), done)
    console.print(table)
    failures = report.failures()
    for case in failures[:SHOWN_DETAILS]:
        console.print(Text(f"{case.verdict.value} {case.id} [{case.clause}]", style="bold red"))
        console.print(Text(f"  {case.detail}"))
    if len(failures) > SHOWN_DETAILS:
        console.print(f"... and {len(failures) - SHOWN_DETAILS} more")
    console.print(
        Text.assemble(
            "verdict: ",
            (report.verdict.value, STYLE[report.verdict]),
            f" ({', '.join(f'{n} {v}' for v, n in report.counts.items() if n)})",
        )
    )
