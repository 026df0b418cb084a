"""What a run of the suite says, worked out from its events: as JSON and as a table
(WS-CONFORMANCE-13)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.reporting.events import (
    CaseJudged,
    CaseStarted,
    Event,
    PortIntroduced,
    RunEnded,
    RunStarted,
)
from conformance.stdio.untrusted import one_line, visible
from conformance.verdicts import CaseResult, Verdict

STYLE: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.UNSUPPORTED: "dim",
    Verdict.WAIVED: "cyan",
}
WORST_FIRST: Final = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.UNSUPPORTED,
    Verdict.WAIVED,
    Verdict.PASS,
)
SHOWN_DETAILS: Final = 20
UNFINISHED_STATUS: Final = 3


@attrs.frozen(kw_only=True)
class Report:
    """One port through the suite.

    ``reasons``: why the verdict is what it is, where no single case says so. ``started``, ``suite``
    and ``machine`` are those of `RunStarted`, ``hello`` what the port said of itself.
    """

    port: str
    profile: str
    verdict: Verdict
    exit_status: int
    cases: tuple[CaseResult, ...]
    clause: str | None = None
    case: str | None = None
    reasons: tuple[str, ...] = ()
    hello: Mapping[str, Any] = {}
    suite: str = ""
    started: str = ""
    machine: Mapping[str, str] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """The report of a log; one that ends early is inconclusive and says where it ended."""
        first: RunStarted | None = None
        introduced: PortIntroduced | None = None
        ended: RunEnded | None = None
        pending: dict[str, None] = {}
        cases: list[CaseResult] = []
        for event in events:
            match event:
                case RunStarted():
                    first = event
                case PortIntroduced():
                    introduced = event
                case CaseStarted():
                    pending[event.id] = None
                case CaseJudged():
                    cases.append(event.result)
                    pending.pop(event.result.id, None)
                case RunEnded():
                    ended = event
        assert first is not None
        if ended is None:
            where = f" in {' and in '.join(pending)}" if pending else ""
            of_all = "" if introduced is None else f" of {introduced.cases}"
            reasons: tuple[str, ...]
            reasons = (f"the run was cut off{where}, after {len(cases)}{of_all} cases",)
            # A failure stands, however the run ended.
            failed = any(case.verdict is Verdict.FAIL for case in cases)
            verdict, status = (
                (Verdict.FAIL, 1) if failed else (Verdict.INCONCLUSIVE, UNFINISHED_STATUS)
            )
        else:
            reasons, verdict, status = ended.reasons, ended.verdict, ended.exit
        return cls(
            port=first.port,
            profile=first.profile,
            verdict=verdict,
            exit_status=status,
            cases=in_order(cases, () if introduced is None else introduced.checks),
            clause=first.clause,
            case=first.case,
            reasons=reasons,
            hello={} if introduced is None else introduced.hello,
            suite=first.suite,
            started=first.started,
            machine=first.machine,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Cases by verdict; every verdict has a count."""
        return counted(self.cases)

    def failures(self) -> tuple[CaseResult, ...]:
        """Cases that speak against the port or the run, in order."""
        return tuple(c for c in self.cases if c.verdict in (Verdict.FAIL, Verdict.ERROR))


def in_order(cases: Sequence[CaseResult], checks: Sequence[str]) -> tuple[CaseResult, ...]:
    """The cases check by check as they were planned: two processes judge in no order."""
    place = {check: number for number, check in enumerate(checks)}
    return tuple(sorted(cases, key=lambda case: place.get(case.check, len(place))))


def counted(cases: Iterable[CaseResult]) -> dict[str, int]:
    """How many of ``cases`` have each verdict; every verdict has a count."""
    tally = Counter(case.verdict for case in cases)
    return {verdict.value: tally[verdict] for verdict in Verdict}


def worst(cases: Iterable[CaseResult]) -> Verdict:
    """The verdict that a row for all of ``cases`` shows; unsupported only when all of them are."""
    found = {case.verdict for case in cases}
    judged = found - {Verdict.UNSUPPORTED} or found
    return next(verdict for verdict in WORST_FIRST if verdict in judged)


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


def by_check(cases: Iterable[CaseResult]) -> dict[str, list[CaseResult]]:
    """The cases of each check, both in the order of the run."""
    found: dict[str, list[CaseResult]] = {}
    for case in cases:
        found.setdefault(case.check, []).append(case)
    return found


def show(report: Report, console: Console) -> None:
    """A row a check, then the failing cases, then the verdict."""
    title = Text(f"port {one_line(report.port, 200)}, profile {report.profile}")
    table = Table(title=title, title_justify="left")
    table.add_column("check")
    table.add_column("verdict")
    table.add_column("passed", justify="right")
    table.add_column("seconds", justify="right")
    for check_id, cases in by_check(report.cases).items():
        verdict = worst(cases)
        passed = sum(case.verdict is Verdict.PASS for case in cases)
        table.add_row(
            Text(check_id),
            Text(verdict.value, style=STYLE[verdict]),
            f"{passed}/{len(cases)}",
            f"{sum(case.seconds for case in cases):.1f}",
        )
    console.print(table)
    failures = report.failures()
    for case in failures[:SHOWN_DETAILS]:
        console.print(Text(f"{case.verdict.value} {case.id} [{case.clause}]", style="bold red"))
        console.print(Text(f"  {visible(case.detail)}"))
    if len(failures) > SHOWN_DETAILS:
        console.print(f"... and {len(failures) - SHOWN_DETAILS} more")
    for reason in report.reasons:
        console.print(Text(f"note: {one_line(reason)}", style="yellow"))
    console.print(
        Text.assemble(
            "verdict: ",
            (report.verdict.value, STYLE[report.verdict]),
            f" ({', '.join(f'{n} {v}' for v, n in report.counts.items() if n)})",
        )
    )
