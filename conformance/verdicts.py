"""Verdicts, how they add up, and the exit status they give (WS-CONFORMANCE-10,
WS-CONFORMANCE-11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal

import attrs

from conformance.reporting.measure import Measurements


class Verdict(StrEnum):
    """What became of one case, or of a whole run (WS-CONFORMANCE-10)."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    UNSUPPORTED = "unsupported"
    WAIVED = "waived"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"


Blame = Literal["", "port", "suite"]


@attrs.frozen(kw_only=True)
class CaseResult:
    """One judged case. ``blame`` says whose error an ERROR is: the port's or the suite's.

    ``seconds`` is what judging took, ``measurements`` what its comparisons noted; a case that
    waited for an earlier one's recording is cheaper than the same case alone.
    """

    id: str
    clause: str
    verdict: Verdict
    detail: str = ""
    blame: Blame = ""
    seconds: float = 0.0
    measurements: Measurements = Measurements()

    @property
    def check(self) -> str:
        """The id of its check: what stands before the first colon."""
        return self.id.split(":")[0]


EXECUTED: Final = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.WAIVED})
"""A case counts as executed only when it ended in one of these (WS-CONFORMANCE-11)."""


def overall(
    cases: Sequence[CaseResult], required: Sequence[str], floors: Mapping[str, int] | None = None
) -> Verdict:
    """The verdict of a run (WS-CONFORMANCE-11).

    Args:
        cases: all judged cases.
        required: ids of checks of which at least one case must have been executed.
        floors: how many cases of a check must have been executed, where it is more than one.
    """
    verdicts = {case.verdict for case in cases}
    for decisive in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        if decisive in verdicts:
            return decisive
    if verdicts == {Verdict.UNSUPPORTED}:
        return Verdict.UNSUPPORTED
    return Verdict.INCONCLUSIVE if too_few(cases, required, floors) else Verdict.PASS


def too_few(
    cases: Sequence[CaseResult], required: Sequence[str], floors: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """What keeps a run from counting, a line a check: too little was executed
    (WS-CONFORMANCE-11)."""
    executed = Counter(case.check for case in cases if case.verdict in EXECUTED)
    if not executed:
        return ("no case was executed",)
    return tuple(
        f"{check}: {executed[check]} cases executed, at least {needed} are needed"
        for check in required
        if executed[check] < (needed := max(1, (floors or {}).get(check, 1)))
    )


def wanted(checks: Sequence[str], cases: Sequence[CaseResult]) -> list[str]:
    """Those of ``checks`` of which something must have been executed: not those that need an
    optional feature in every case, when the port has not got it (WS-CONFORMANCE-21)."""
    found: dict[str, set[Verdict]] = {}
    for case in cases:
        found.setdefault(case.check, set()).add(case.verdict)
    return [check for check in checks if found.get(check) != {Verdict.UNSUPPORTED}]


def exit_status(verdict: Verdict, cases: Sequence[CaseResult]) -> int:
    """0 conformant, 1 not, 2 usage or environment, 3 inconclusive (WS-CONFORMANCE-11)."""
    if verdict is Verdict.ERROR:
        # An error of the suite itself says nothing about the port.
        return 1 if any(case.blame == "port" for case in cases) else 2
    return {Verdict.PASS: 0, Verdict.FAIL: 1}.get(verdict, 3)
