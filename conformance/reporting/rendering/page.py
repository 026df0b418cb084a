"""The report as one HTML file that needs nothing else: no network, no script, any width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from conformance.protocol import PROFILES
from conformance.reporting import trace_matrix
from conformance.reporting.measure import Closeness
from conformance.reporting.rendering.advice import next_steps
from conformance.reporting.rendering.prose import prose
from conformance.reporting.report import Report, by_check, worst
from conformance.reporting.trace_matrix import Row
from conformance.stdio.untrusted import one_line, visible
from conformance.verdicts import CaseResult, Verdict

WORST: Final = 25
SHOWN: Final = 3
"""Failing cases of a clause that are in sight at once."""
SPLIT: Final = "; reproduce: "


@attrs.frozen(kw_only=True)
class ClauseSection:
    """One clause of the page: its row of the trace matrix and the cases judged under it.

    ``judged`` counts them and, where the clause is no case's first, those of its checks.
    """

    row: Row
    cases: tuple[CaseResult, ...]
    judged: int


def environment() -> Environment:
    """Templates in which everything is escaped, and whatever is missing is an error."""
    found = Environment(
        loader=FileSystemLoader(__file__.removesuffix("page.py") + "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        visible=visible,
        line=one_line,
        prose=prose,
        number=number,
        times=lambda ratio: f"{ratio:.2f} ×" if ratio < 1000 else f"{ratio:.1e} ×",
        what=lambda detail: detail.partition(SPLIT)[0],
        command=lambda detail: detail.partition(SPLIT)[2],
        anchor=anchor,
        worst=worst,
    )
    return found


def page(report: Report) -> str:
    """The whole file."""
    # Matplotlib takes a second to load, and most runs write no page.
    from conformance.reporting.rendering import plots

    rows = {row.clause.id: row for row in trace_matrix.rows()}
    judged: dict[str, list[CaseResult]] = {}
    for case in report.cases:
        judged.setdefault(case.clause, []).append(case)
    checks = by_check(report.cases)
    sections = []
    for clause_id, row in rows.items():
        own = tuple(judged.get(clause_id, ()))
        if row.checks or own:
            # A run of one clause or case judges no other, whatever else its checks are about.
            among = (
                0
                if report.clause or report.case
                else sum(len(checks.get(c, ())) for c in row.checks)
            )
            sections.append(ClauseSection(row=row, cases=own, judged=len(own) or among))
    strangers = [case for clause, cases in judged.items() if clause not in rows for case in cases]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            failures=report.failures(),
            failing=failing(report),
            shown=SHOWN,
            notable=[
                case
                for case in report.cases
                if case.verdict in (Verdict.INCONCLUSIVE, Verdict.WAIVED)
            ],
            next_steps=next_steps(report),
            checks=checks,
            rows=rows,
            sections=sections,
            strangers=strangers,
            matrix=tuple(rows.values()),
            kills=trace_matrix.kill_table(),
            closeness=plots.closeness(report),
            curves=plots.curves(report),
            elements=elements(report.cases),
            profiles=PROFILES,
        )
    )


def failing(report: Report) -> dict[str, list[CaseResult]]:
    """The failing cases by clause, in the order of the run."""
    found: dict[str, list[CaseResult]] = {}
    for case in report.failures():
        found.setdefault(case.clause, []).append(case)
    return found


def elements(cases: Sequence[CaseResult]) -> list[tuple[CaseResult, Closeness]]:
    """The elements that are furthest off for what is allowed."""
    found = [(case, one) for case in cases for one in case.measurements.closeness]
    return sorted(found, key=lambda pair: -pair[1].ratio)[:WORST]


def number(value: Any) -> str:
    """Three digits are enough to read an error by."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def anchor(clause_id: str) -> str:
    """The id of a clause's section."""
    return re.sub(r"[^a-z0-9]+", "-", clause_id.lower()).strip("-")
