"""A page of Markdown for the summary of a CI job: verdict first, failing cases next."""

from __future__ import annotations

from typing import Final

from conformance.reporting.report import Report, by_check, worst
from conformance.stdio.untrusted import one_line
from conformance.verdicts import CaseResult, Verdict

SIGN: Final = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.ERROR: "💥",
    Verdict.INCONCLUSIVE: "❔",
    Verdict.UNSUPPORTED: "⚪",
    Verdict.WAIVED: "🟡",
}
SHOWN: Final = 50
DETAIL: Final = 700


def summary(report: Report) -> str:
    """Markdown without HTML; whatever a port wrote stands in code spans, where it is only text."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in report.counts.items() if n)
    what = f"profile {report.profile}" + (f", clause {report.clause}" if report.clause else "")
    what += f", case {code(report.case, 200)}" if report.case else ""
    run = f"Suite {report.suite}, {report.started}."
    lines = [
        f"## {SIGN[report.verdict]} Wan-Streamer conformance: {report.verdict.value}",
        "",
        f"Port {code(report.port, 200)}, {what}: {counts or 'no case'}. {run}",
        "",
        *(f"- note: {code(reason)}" for reason in report.reasons),
        *_section("Failing", report.failures()),
        *_section("Inconclusive", _with(report, Verdict.INCONCLUSIVE)),
        *_section("Waived", _with(report, Verdict.WAIVED)),
        *_checks(report),
    ]
    return "\n".join(lines) + "\n"


def _with(report: Report, verdict: Verdict) -> tuple[CaseResult, ...]:
    return tuple(case for case in report.cases if case.verdict is verdict)


def _section(title: str, cases: tuple[CaseResult, ...]) -> list[str]:
    if not cases:
        return []
    rows = [
        f"- {SIGN[case.verdict]} {code(case.id, 200)} ({case.clause}): {code(case.detail)}"
        for case in cases[:SHOWN]
    ]
    more = [f"- ... and {len(cases) - SHOWN} more, in `report.html`"] if len(cases) > SHOWN else []
    return ["", f"### {title}", "", *rows, *more]


def _checks(report: Report) -> list[str]:
    if not report.cases:
        return []
    rows = [
        f"| {code(check_id)} | {SIGN[worst(cases)]} {worst(cases).value}"
        f" | {sum(c.verdict is Verdict.PASS for c in cases)}/{len(cases)} |"
        for check_id, cases in by_check(report.cases).items()
    ]
    return ["", "### Checks", "", "| check | verdict | passed |", "|---|---|---:|", *rows]


def code(text: str, limit: int = DETAIL) -> str:
    """``text`` as a code span on one line, whatever is in it; also inside a table's cell."""
    # A backquote could end the span, and a bar the cell.
    plain = one_line(text, limit).replace("`", "´").replace("|", "¦")
    return f"`{plain}`" if plain.strip() else "(nothing)"
