"""Puts a port through the checks and adds up a verdict (WS-CONFORMANCE-10,
WS-CONFORMANCE-11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from conformance import report as reports
from conformance.case import Case, Check, Context, Inconclusive
from conformance.checks.registry import CHECKS, CLAUSES
from conformance.guard import Guard, PortFault
from conformance.oracle import Oracle
from conformance.protocol import OPTIONAL_FEATURES, PROFILES, Port, Profile, Refusal, Unsupported
from conformance.report import Report
from conformance.resolve import catalogue, resolve
from conformance.verdicts import CaseResult, Verdict, exit_status, overall
from spec.errors import ConfigError

ORACLE: Final = "reference"
Progress = Callable[[int, int, str], None]
"""Called before each case: cases done, cases in all, id of the next."""


def check(
    port_name: str,
    profile: str | None = None,
    clause: str | None = None,
    report_dir: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """What ``wanstreamer check`` does: the port by name against the reference.

    Args:
        profile: one of `PROFILES`; None for all that the port claims.
        clause: judge this clause only.
        report_dir: where ``report.json`` is written.

    Raises:
        PortError: the port cannot be loaded.
        ConfigError: no such profile or clause.
    """
    selected = select(profile, clause)
    port, oracle = resolve(port_name), Oracle(resolve(ORACLE))
    report = run(port, oracle, port_name, selected, profile, clause, progress)
    if report_dir is not None:
        reports.write(report, report_dir)
    return report


def select(profile: str | None, clause: str | None) -> tuple[Check, ...]:
    """The checks of a profile, of a clause, of both.

    Raises:
        ConfigError: an unknown profile or clause, or none left: nothing to judge is no pass.
    """
    if profile is not None and profile not in PROFILES:
        raise ConfigError("profile", profile, ", ".join(PROFILES))
    if clause is not None and clause not in CLAUSES:
        raise ConfigError("clause", clause, "a clause with a check; see `check --list`")
    chosen = tuple(
        c
        for c in CHECKS.values()
        if (profile is None or c.profile in (None, profile))
        and (clause is None or clause in c.clauses)
    )
    if not chosen:
        raise ConfigError("clause", clause, f"one that profile {profile} judges")
    if clause is not None:
        # A check names first the clause that it is most about.
        chosen = tuple(sorted(chosen, key=lambda c: c.clauses.index(clause)))
    return chosen


def run(
    port: Port,
    oracle: Oracle,
    name: str,
    selected: Sequence[Check],
    profile: str | None = None,
    clause: str | None = None,
    progress: Progress | None = None,
    stop_at_failure: bool = False,
) -> Report:
    """Judge ``port`` by the ``selected`` checks, expected numbers from ``oracle``."""
    try:
        context = Context(Guard(port), oracle)
    except (PortFault, Unsupported, Refusal) as fault:
        failed = CaseResult(
            id="port/honest:hello",
            clause="WS-CONFORMANCE-2",
            verdict=Verdict.ERROR,
            detail=f"{fault}; reproduce: {reproduce(name, 'WS-CONFORMANCE-2')}",
            blame="port",
        )
        return _report(name, profile, (failed,), ())
    # A profile that nobody asked for is judged only when the port claims it.
    claimed = (None, *context.hello.profiles)
    checks = [c for c in selected if profile is not None or c.profile in claimed]
    todo = [(c, case) for c in checks for case in c.cases(context) if about(case, clause)]
    if clause is not None:
        # Cases about this clause alone come before those about it among others.
        todo.sort(key=lambda pair: not pair[1].clauses)
    results = []
    for done, (owner, case) in enumerate(todo):
        if progress is not None:
            progress(done, len(todo), f"{owner.id}:{case.name}")
        results.append(judge(owner, case, clause, name))
        if stop_at_failure and results[-1].verdict is Verdict.FAIL:
            break
    return _report(name, profile, tuple(results), tuple(c.id for c in checks))


def about(case: Case, clause: str | None) -> bool:
    """Does ``case`` judge ``clause``? A case that names no clauses judges all of its check's."""
    return clause is None or not case.clauses or clause in case.clauses


def judge(owner: Check, case: Case, clause: str | None, port_name: str) -> CaseResult:
    """One case to its verdict; whatever happens in it, it becomes one line."""
    named = clause or (case.clauses or owner.clauses)[0]

    def result(verdict: Verdict, detail: str = "", blame: Any = "") -> CaseResult:
        if verdict in (Verdict.FAIL, Verdict.ERROR):
            detail = f"{detail}; reproduce: {reproduce(port_name, named)}"
        return CaseResult(
            id=f"{owner.id}:{case.name}", clause=named, verdict=verdict, detail=detail, blame=blame
        )

    try:
        reason = case.judge()
    except Unsupported as unsupported:
        if unsupported.feature in OPTIONAL_FEATURES:
            return result(Verdict.UNSUPPORTED, f"no {unsupported.feature}")
        return result(Verdict.FAIL, f"{unsupported.feature} is claimed by the profile but missing")
    except Inconclusive as inconclusive:
        return result(Verdict.INCONCLUSIVE, str(inconclusive))
    except Refusal as refusal:
        return result(Verdict.FAIL, f"a good request was refused: {refusal}")
    except PortFault as fault:
        return result(Verdict.ERROR, str(fault), "port")
    except Exception as error:  # noqa: BLE001 - a check that raises must not end the run
        line = " ".join(str(error).split())
        return result(Verdict.ERROR, f"in the check: {type(error).__name__}: {line}", "suite")
    return result(Verdict.PASS) if reason is None else result(Verdict.FAIL, reason)


def reproduce(port_name: str, clause: str) -> str:
    """The command that shows a failure again, alone."""
    return f"wanstreamer check --port {port_name} --clause {clause}"


def _report(
    name: str, profile: str | None, cases: tuple[CaseResult, ...], checks: tuple[str, ...]
) -> Report:
    # A check of which every case needs an optional feature may stay unexecuted.
    excused = {c for c in checks if _all_unsupported(c, cases)}
    verdict = overall(cases, [c for c in checks if c not in excused])
    return Report(
        port=name,
        profile=profile or "all",
        verdict=verdict,
        exit_status=exit_status(verdict, cases),
        cases=cases,
    )


def _all_unsupported(check_id: str, cases: Sequence[CaseResult]) -> bool:
    own = [case.verdict for case in cases if case.id.split(":")[0] == check_id]
    return bool(own) and set(own) == {Verdict.UNSUPPORTED}


def listing() -> Mapping[str, Any]:
    """The object of ``check --list --json`` (WS-CONFORMANCE-13)."""
    return {
        "clauses": sorted(CLAUSES),
        "checks": [
            {
                "id": c.id,
                "clauses": list(c.clauses),
                "profile": c.profile or "all",
                "tolerance": c.tolerance,
            }
            for c in CHECKS.values()
        ],
        "mutants": [
            {"name": m.name, "clause": m.clause, "description": m.description}
            for m in catalogue("mutant").values()
        ],
        "benign": [
            {"name": b.name, "description": b.description} for b in catalogue("benign").values()
        ],
    }


__all__ = ["PROFILES", "Profile", "Report", "check", "listing", "run", "select"]
