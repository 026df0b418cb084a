"""Verdicts, how they add up, and the exit status they give (WS-CONFORMANCE-10,
WS-CONFORMANCE-11)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Literal

import attrs


class Verdict(StrEnum):
    """What became of one case, or of a whole run (WS-CONFORMANCE-10)."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    UNSUPPORTED = "unsupported"
    WAIVED = "waived"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"


@attrs.frozen(kw_only=True)
class CaseResult:
    """One judged case. ``blame`` says whose error an ERROR is: the port's or the suite's."""

    id: str
    clause: str
    verdict: Verdict
    detail: str = ""
    blame: Literal["", "port", "suite"] = ""


EXECUTED: Final = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.WAIVED})
"""A case counts as executed only when it ended in one of these (WS-CONFORMANCE-11)."""


def overall(cases: Sequence[CaseResult], required: Sequence[str]) -> Verdict:
    """The verdict of a run (WS-CONFORMANCE-11).

    Args:
        cases: all judged cases.
        required: ids of checks of which at least one case must have been executed; a case
            belongs to the check whose id stands before the ``:`` in its own.
    """
    verdicts = {case.verdict for case in cases}
    for decisive in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        if decisive in verdicts:
            return decisive
    if verdicts == {Verdict.UNSUPPORTED}:
        return Verdict.UNSUPPORTED
    executed = {case.id.split(":")[0] for case in cases if case.verdict in EXECUTED}
    if not executed or not executed.issuperset(required):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def exit_status(verdict: Verdict, cases: Sequence[CaseResult]) -> int:
    """0 conformant, 1 not, 2 usage or environment, 3 inconclusive (WS-CONFORMANCE-11)."""
    if verdict is Verdict.ERROR:
        # An error of the suite itself says nothing about the port.
        return 1 if any(case.blame == "port" for case in cases) else 2
    return {Verdict.PASS: 0, Verdict.FAIL: 1}.get(verdict, 3)
