"""Several reports side by side: which clause and which case went otherwise in which of them.

The first report is the base; a case that ended worse in a later one is a regression.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import cattrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.reporting.rendering.files import put
from conformance.reporting.rendering.page import environment
from conformance.reporting.report import STYLE, WORST_FIRST
from conformance.stdio.untrusted import one_line
from conformance.verdicts import Verdict
from spec.errors import PortError

REPORT: Final = "report.json"
SHOWN_CASES: Final = 40


@attrs.frozen(kw_only=True)
class JudgedCase:
    """One case as `report.json` has it."""

    id: str
    clause: str
    verdict: Verdict
    detail: str


@attrs.frozen(kw_only=True)
class Column:
    """One report: where it lies, whose it is, and what it says."""

    folder: str
    port: str
    profile: str
    verdict: Verdict
    counts: Mapping[str, int]
    cases: tuple[JudgedCase, ...]


@attrs.frozen(kw_only=True)
class Row:
    """One clause or case in every report; None where it was not judged."""

    name: str
    clause: str
    verdicts: tuple[Verdict | None, ...]
    details: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        return len(set(self.verdicts)) > 1

    @property
    def partial(self) -> bool:
        """Was it not judged in some report?"""
        return None in self.verdicts

    @property
    def worse(self) -> bool:
        """Did a later report end worse than the first, where both judged?"""
        first, *others = self.verdicts
        return first is not None and any(
            v is not None and WORST_FIRST.index(v) < WORST_FIRST.index(first) for v in others
        )


@attrs.frozen(kw_only=True)
class Comparison:
    """Clauses and cases, those that differ first."""

    columns: tuple[Column, ...]
    clauses: tuple[Row, ...]
    cases: tuple[Row, ...]

    @property
    def regressions(self) -> tuple[Row, ...]:
        return tuple(row for row in self.cases if row.worse)


def read(folder: Path) -> Column:
    """The report in ``folder``.

    Raises:
        PortError: there is none, or it is none.
    """
    path = folder / REPORT
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return cattrs.structure({"folder": str(folder), **data}, Column)
    except OSError as error:
        raise PortError("report", str(path), f"a {REPORT} ({error.strerror})") from error
    except Exception as error:
        raise PortError("report", str(path), f"a {REPORT} of `wanstreamer check`") from error


def compare(folders: Sequence[Path]) -> Comparison:
    """The reports of ``folders``, the first one the base.

    Raises:
        PortError: fewer than two, or one without a report.
    """
    if len(folders) < 2:
        raise PortError("reports", len(folders), "two folders or more")
    columns = tuple(read(folder) for folder in folders)
    cases = _rows(columns, lambda case: case.id)
    return Comparison(
        columns=columns, clauses=_rows(columns, lambda case: case.clause), cases=cases
    )


def _rows(columns: Sequence[Column], key: Any) -> tuple[Row, ...]:
    names = {key(case): case.clause for column in columns for case in column.cases}
    found = []
    for name, clause in names.items():
        own = [[case for case in column.cases if key(case) == name] for column in columns]
        found.append(
            Row(
                name=name,
                clause=clause,
                verdicts=tuple(worst(cases) for cases in own),
                details=tuple(cases[0].detail if cases else "" for cases in own),
            )
        )
    # Python's sort keeps the order of the run within each group.
    return tuple(sorted(found, key=lambda row: (not row.worse, not row.differs, row.partial)))


def worst(cases: Sequence[JudgedCase]) -> Verdict | None:
    """The verdict of several cases together, as a report shows it; None without any."""
    there = {case.verdict for case in cases}
    judged = there - {Verdict.UNSUPPORTED} or there
    return next((verdict for verdict in WORST_FIRST if verdict in judged), None)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The object of ``compare --json``: the reports, and what differs between them."""

    def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [
            {"name": row.name, "clause": row.clause, "worse": row.worse,
             "verdicts": [None if v is None else v.value for v in row.verdicts]}
            for row in rows
            if row.differs
        ]  # fmt: skip

    return {
        "reports": [
            {"folder": c.folder, "port": c.port, "profile": c.profile, "verdict": c.verdict.value,
             "counts": dict(c.counts)}
            for c in comparison.columns
        ],
        "clauses": plain(comparison.clauses),
        "cases": plain(comparison.cases),
        "regressions": len(comparison.regressions),
    }  # fmt: skip


def show(comparison: Comparison, console: Console) -> None:
    """The reports, then a row a clause that differs, then the cases."""
    head = Table(title="reports", title_justify="left")
    for title in ("", "port", "profile", "verdict", "folder"):
        head.add_column(title, overflow="fold")
    for letter, column in zip(letters(comparison), comparison.columns, strict=True):
        name = Text(one_line(column.port, 80))
        head.add_row(letter, name, column.profile, _cell(column.verdict), Text(column.folder))
    console.print(head)
    for title, rows in (("clauses", comparison.clauses), ("cases", comparison.cases)):
        differing = [row for row in rows if row.differs]
        if not differing:
            console.print(f"{len(rows)} {title}, all alike")
            continue
        table = Table(title=f"{len(differing)} of {len(rows)} {title} differ", title_justify="left")
        table.add_column(title, overflow="fold")
        for letter in letters(comparison):
            table.add_column(letter)
        for row in differing[:SHOWN_CASES]:
            table.add_row(Text(one_line(row.name, 200)), *map(_cell, row.verdicts))
        console.print(table)
        if len(differing) > SHOWN_CASES:
            console.print(f"... and {len(differing) - SHOWN_CASES} more")
    console.print(f"{len(comparison.regressions)} cases ended worse than in A")


def letters(comparison: Comparison) -> tuple[str, ...]:
    """A name for each report that fits a column: A, B, ...; past 26, numbers."""
    count = len(comparison.columns)
    return tuple(chr(65 + n) if count <= 26 else str(n + 1) for n in range(count))


def _cell(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("not judged", style="dim")
    return Text(verdict.value, style=STYLE[verdict])


def write(comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """``compare.html`` and ``compare.json`` in ``folder``, each whole or not at all.

    Raises:
        PortError: the folder cannot be made or written.
    """
    html = environment().get_template("compare.html.j2").render(
        comparison=comparison, letters=letters(comparison)
    )  # fmt: skip
    data = json.dumps(as_json(comparison), indent=1) + "\n"
    return put(folder / "compare.html", html), put(folder / "compare.json", data)
