"""One oracle for all tests of a process, and the shortest way to put a port through some checks."""

from __future__ import annotations

from functools import cache

from conformance import runner
from conformance.mutants.patching import Mutant
from conformance.oracle import Oracle
from conformance.protocol import DType, Port
from conformance.recording import Form, Recording, Script
from conformance.reporting.report import Report
from conformance.resolve import resolve


@cache
def oracle() -> Oracle:
    """The reference, with everything it was asked before."""
    return Oracle(resolve("reference"))


class NotingOracle(Oracle):
    """An oracle of its own that notes each run its port is asked for: dtype, form, units."""

    def __init__(self, *, thorough: bool = False) -> None:
        super().__init__(resolve("reference"), thorough=thorough)
        self.asked: list[tuple[DType, Form, int]] = []
        make = self.record.anew

        def noted(script: Script, form: Form = "stream") -> Recording:
            self.asked.append((script.open.dtype, form, len(script.units)))
            return make(script, form)

        self.record.anew = noted  # type: ignore[method-assign]


def judged(port: Port, *checks: str, clause: str | None = None) -> Report:
    """``port`` through the named checks, or through those of a clause until one fails."""
    selected = [c for c in runner.select(None, clause) if not checks or c.id in checks]
    return runner.run(
        port, oracle(), "test", selected, clause=clause, stop_at_failure=clause is not None
    )


def assert_killed(mutant: Mutant) -> None:
    """A check of the mutant's own clause fails; nothing crashes on the way."""
    report = judged(mutant.factory(), clause=mutant.clause)
    assert report.exit_status == 1, report.cases
    found = [case for case in report.cases if case.verdict.value != "pass"]
    assert [case.verdict.value for case in found] == ["fail"], found
    assert found[0].clause == mutant.clause
