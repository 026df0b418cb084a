"""The cases of one port, judged one by one and each once: what the pytest plugin runs.

Source: CHOICE (design §12; a porter's own test run is where a verdict is seen first).
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from conformance import runner
from conformance.guard import PortFault
from conformance.oracle import Oracle
from conformance.protocol import Refusal, Unsupported
from conformance.reporting import waivers
from conformance.resolve import resolve
from conformance.verdicts import CaseResult
from spec.errors import ConfigError, PortError


class Port:
    """One port and what it will be asked; a result is worked out when it is first wanted.

    Raises:
        PortError: the port cannot be loaded, or does not say ``hello``.
        ConfigError: no such profile or clause, a bad waiver file, or nothing to judge.
    """

    def __init__(
        self, name: str, profile: str | None, clause: str | None, waiver_file: Path | None
    ) -> None:
        selected = runner.select(profile, clause)
        accepted = () if waiver_file is None else waivers.read(waiver_file)
        self._name, self._profile, self._clause = name, profile, clause
        try:
            plan = runner.plan(
                resolve(name), Oracle(resolve(runner.ORACLE)), selected, profile, clause
            )
        except (PortFault, Unsupported, Refusal) as fault:
            raise PortError("port", name, f"one that answers hello; this one: {fault}") from fault
        if not plan.todo:
            # As in `wanstreamer check`: a run that judged nothing is no pass.
            raise ConfigError("port", name, "one with at least one case to judge")
        self._cases = {f"{owner.id}:{case.name}": (owner, case) for owner, case in plan.todo}
        self._waivers = {w.id: w for w in runner.in_scope(accepted, selected, clause)}
        self._today = dt.datetime.now(dt.UTC).date()
        self._results: dict[str, CaseResult] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """All cases in the order of the run, and after them the waivers."""
        return (*self._cases, *self._waivers)

    def clause_of(self, case_id: str) -> str:
        """The clause that a case is told under."""
        if case_id in self._waivers:
            return self._waivers[case_id].clause
        owner, case = self._cases[case_id]
        return self._clause or (case.clauses or owner.clauses)[0]

    def result(self, case_id: str) -> CaseResult:
        """The verdict of one case or waiver; a waiver judges the cases that it covers first."""
        if case_id not in self._results:
            waiver = self._waivers.get(case_id)
            self._results[case_id] = (
                self._judged(case_id)
                if waiver is None
                else waivers.judged(
                    waiver,
                    [self.result(c) for c in self._cases if waiver.covers(c, self._clauses(c))],
                    self._today,
                )
            )
        return self._results[case_id]

    def _clauses(self, case_id: str) -> tuple[str, ...]:
        owner, case = self._cases[case_id]
        return case.clauses or owner.clauses

    def _judged(self, case_id: str) -> CaseResult:
        owner, case = self._cases[case_id]
        result = runner.judge(owner, case, self._clause, self._name, self._profile)
        accepted = tuple(self._waivers.values())
        return waivers.waived(result, self._clauses(case_id), accepted, self._today)
