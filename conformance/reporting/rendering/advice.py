"""What a porter does best after a run: the next step of the order in which a port is built."""

from __future__ import annotations

from typing import Final

from conformance.checks.registry import CHECKS
from conformance.protocol import PROFILES
from conformance.reporting.report import Report
from conformance.reporting.reproduce import command
from conformance.verdicts import CaseResult, Verdict

STEPS: Final = 6


def next_steps(report: Report) -> list[str]:
    """Sentences, most useful first. A command in them stands between backquotes."""
    steps = [f"{reason[:1].upper()}{reason[1:]}." for reason in report.reasons]
    failures = report.failures()
    ours = [case for case in failures if case.blame == "suite"]
    if ours:
        steps.append(
            f"{len(ours)} cases ended in an error of the suite itself, not of the port;"
            " they say nothing about the port until that is mended."
        )
    theirs = sorted((c for c in failures if c.blame != "suite"), key=_order)
    if theirs:
        first = theirs[0]
        same = sum(case.clause == first.clause for case in theirs)
        profile = None if report.profile == "all" else report.profile
        steps.append(
            f"Start with {first.clause}, the first in the order in which a port is built"
            f" ({same} of {len(theirs)} failing cases): run"
            f" `{command(report.port, first.clause, profile)}`."
        )
        if any(case.verdict is Verdict.ERROR for case in theirs):
            steps.append(
                "An error is a crash, a hang or an ill-formed reply: mend errors before failures,"
                " since later cases of the same session may fail for no other reason."
            )
    if report.verdict is Verdict.PASS:
        steps.append(_beyond(report))
    missing = sorted({case.detail for case in report.cases if case.verdict is Verdict.UNSUPPORTED})
    if missing:
        steps.append(f"Optional features that were not judged: {', '.join(missing)}.")
    return steps[:STEPS]


def _order(case: CaseResult) -> int:
    check = CHECKS.get(case.check)
    profile = None if check is None else check.profile
    return -1 if profile is None else PROFILES.index(profile)


def _beyond(report: Report) -> str:
    claimed = report.hello.get("profiles") or ()
    judged = {check.profile for check in CHECKS.values()}
    missing = [p for p in PROFILES if p in judged and p not in claimed]
    if report.case is not None:
        return f"{report.case} holds; judge all that the port claims by leaving out `--case`."
    if report.clause is not None:
        return f"{report.clause} holds; judge all that the port claims by leaving out `--clause`."
    if missing:
        return f"Everything that the port claims holds. The next profile to build: {missing[0]}."
    return "Everything holds. Keep it so: see docs/ci.md for the run in CI."
