"""Puts a port through the checks and adds up a verdict (WS-CONFORMANCE-10,
WS-CONFORMANCE-11)."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from conformance.case import Case, Check, Context, Inconclusive
from conformance.checks.registry import CHECKS, CLAUSES, LONG
from conformance.files.kept import kept_in
from conformance.guard import Guard, PortFault
from conformance.oracle import Oracle
from conformance.protocol import OPTIONAL_FEATURES, PROFILES, Port, Profile, Refusal, Unsupported
from conformance.reporting import floors, measure, waivers
from conformance.reporting.events import (
    LOG,
    CaseJudged,
    CaseStarted,
    Event,
    Listener,
    LogFile,
    RunEnded,
    port_introduced,
    run_started,
)
from conformance.reporting.listing import listing
from conformance.reporting.rendering import files
from conformance.reporting.report import Report, counted
from conformance.reporting.reproduce import command
from conformance.reporting.waivers import Waiver
from conformance.resolve import resolve
from conformance.stdio.port import StdioPort
from conformance.stdio.untrusted import clipped
from conformance.verdicts import Blame, CaseResult, Verdict, exit_status, overall, too_few
from spec.errors import ConfigError

ORACLE: Final = "reference"
FAILING: Final = "failing"
"""Folder of the reports in which scripts that the suite found by itself are kept."""
Progress = Callable[[int, int, str], None]
"""Called before each case: cases done, cases in all, id of the next."""


def check(
    port_name: str,
    profile: str | None = None,
    clause: str | None = None,
    report_dir: Path | None = None,
    progress: Progress | None = None,
    waiver_file: Path | None = None,
) -> Report:
    """What ``wanstreamer check`` does: the port by name against the reference.

    Args:
        profile: one of `PROFILES`; None for all that the port claims.
        clause: judge this clause only.
        report_dir: where the log and the reports are written.
        waiver_file: failures that are accepted for a while (WS-CONFORMANCE-20).

    Raises:
        PortError: the port cannot be loaded, or the folder cannot be written.
        ConfigError: no such profile or clause, or a bad waiver file.
    """
    selected = select(profile, clause)
    accepted = () if waiver_file is None else waivers.read(waiver_file)
    port, oracle = resolve(port_name), Oracle(resolve(ORACLE))
    todo = (port, oracle, port_name, selected, profile, clause, progress, False)
    try:
        if report_dir is None:
            return run(*todo, accepted=accepted)
        files.clear(report_dir)
        with kept_in(report_dir / FAILING), LogFile(report_dir / LOG) as log:
            report = run(*todo, listener=log, accepted=accepted)
        files.write(report, report_dir)
        return report
    finally:
        if isinstance(port, StdioPort):
            port.stop(report_dir)


def select(profile: str | None, clause: str | None) -> tuple[Check, ...]:
    """The checks of a profile, of a clause, of both.

    Raises:
        ConfigError: an unknown profile or clause, or none left: nothing to judge is no pass.
    """
    if profile is not None and profile not in PROFILES:
        raise ConfigError("profile", profile, ", ".join(PROFILES))
    judged = {c.profile for c in CHECKS.values()}
    if profile is not None and profile not in judged:
        there = ", ".join(p for p in PROFILES if p in judged)
        raise ConfigError("profile", profile, f"one that this version has checks of: {there}")
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


@attrs.frozen(kw_only=True)
class Plan:
    """What one port will be asked: the checks of the profiles it claims, and their cases."""

    context: Context
    checks: tuple[Check, ...]
    todo: tuple[tuple[Check, Case], ...]


def plan(
    port: Port, oracle: Oracle, selected: Sequence[Check], profile: str | None, clause: str | None
) -> Plan:
    """The cases for ``port``, none of them judged yet.

    Raises:
        PortFault, Unsupported, Refusal: the port does not answer ``hello``.
    """
    context = Context(Guard(port), oracle)
    # A profile that nobody asked for is judged only when the port claims it.
    claimed = (None, *context.hello.profiles)
    checks = tuple(c for c in selected if profile is not None or c.profile in claimed)
    todo = [(c, case) for c in checks for case in cases_of(c, context) if about(case, clause)]
    if clause is not None:
        # Cases about this clause alone come before those about it among others; long ones last.
        todo.sort(key=lambda pair: (pair[0].id in LONG, not pair[1].clauses))
    return Plan(context=context, checks=checks, todo=tuple(todo))


def cases_of(owner: Check, context: Context) -> tuple[Case, ...]:
    """The cases of a check; if it cannot make them all, one more that says so."""
    made: list[Case] = []
    try:
        made.extend(owner.cases(context))
    except Exception as error:  # noqa: BLE001 - one broken check must not end the run
        problem = error

        def judge() -> str | None:
            raise problem

        made.append(Case(name="making-the-cases", judge=judge))
    return tuple(made)


def run(
    port: Port,
    oracle: Oracle,
    name: str,
    selected: Sequence[Check],
    profile: str | None = None,
    clause: str | None = None,
    progress: Progress | None = None,
    stop_at_failure: bool = False,
    *,
    listener: Listener | None = None,
    accepted: Sequence[Waiver] = (),
) -> Report:
    """Judge ``port`` by the ``selected`` checks, expected numbers from ``oracle``.

    Args:
        listener: told every event as it happens (WS-CONFORMANCE-19).
        accepted: failures that are waived (WS-CONFORMANCE-20).
    """
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if listener is not None:
            listener(event)

    tell(run_started(name, profile, clause))
    try:
        planned = plan(port, oracle, selected, profile, clause)
    except (PortFault, Unsupported, Refusal) as fault:
        again = command(name, "WS-CONFORMANCE-2", profile)
        failed = CaseResult(
            id="port/honest:hello",
            clause="WS-CONFORMANCE-2",
            verdict=Verdict.ERROR,
            detail=f"{clipped(str(fault))}; reproduce: {again}",
            blame="port",
        )
        tell(CaseJudged(result=failed))
        tell(_sum((failed,), (), clause))
        return Report.of(events)
    checks, todo = tuple(c.id for c in planned.checks), planned.todo
    everything = profile is None and clause is None
    nothing = everything and all(c.profile is None for c in planned.checks)
    idle = nothing and any(c.profile is not None for c in selected)
    tell(port_introduced(planned.context.hello, checks, len(todo)))
    today = dt.datetime.now(dt.UTC).date()
    results: list[CaseResult] = []
    for done, (owner, case) in enumerate(todo):
        case_id = f"{owner.id}:{case.name}"
        if progress is not None:
            progress(done, len(todo), case_id)
        tell(CaseStarted(id=case_id))
        result = judge(owner, case, clause, name, profile)
        results.append(waivers.waived(result, case.clauses or owner.clauses, accepted, today))
        tell(CaseJudged(result=results[-1]))
        if stop_at_failure and results[-1].verdict is Verdict.FAIL:
            break
    else:
        for waiver in in_scope(accepted, selected, clause):
            covered = [
                result
                for (owner, case), result in zip(todo, results, strict=False)
                if waiver.covers(result.id, case.clauses or owner.clauses)
            ]
            results.append(waivers.judged(waiver, covered, today))
            tell(CaseJudged(result=results[-1]))
    tell(_sum(tuple(results), checks, clause, idle))
    return Report.of(events)


def in_scope(
    accepted: Sequence[Waiver], selected: Sequence[Check], clause: str | None
) -> tuple[Waiver, ...]:
    """The waivers that a run must need: those of a clause that it was asked to judge."""
    judged = {c for check in selected for c in check.clauses} if clause is None else {clause}
    return tuple(waiver for waiver in accepted if waiver.clause in judged)


def about(case: Case, clause: str | None) -> bool:
    """Does ``case`` judge ``clause``? A case that names no clauses judges all of its check's."""
    return clause is None or not case.clauses or clause in case.clauses


def judge(
    owner: Check, case: Case, clause: str | None, port_name: str, profile: str | None = None
) -> CaseResult:
    """One case to its verdict; whatever happens in it, it becomes one line."""
    named = clause or (case.clauses or owner.clauses)[0]
    start = time.perf_counter()
    with measure.recording() as notes:
        verdict, detail, blame = _verdict_of(case)
    if verdict in (Verdict.FAIL, Verdict.ERROR):
        detail = f"{clipped(detail)}; reproduce: {command(port_name, named, profile)}"
    return CaseResult(
        id=f"{owner.id}:{case.name}",
        clause=named,
        verdict=verdict,
        detail=detail,
        blame=blame,
        seconds=round(time.perf_counter() - start, 4),
        measurements=notes.measurements(),
    )


def _verdict_of(case: Case) -> tuple[Verdict, str, Blame]:
    try:
        reason = case.judge()
    except Unsupported as unsupported:
        if unsupported.feature in OPTIONAL_FEATURES:
            return Verdict.UNSUPPORTED, f"no {unsupported.feature}", ""
        claimed = f"{unsupported.feature} is claimed by the profile but missing"
        return Verdict.FAIL, claimed, ""
    except Inconclusive as inconclusive:
        return Verdict.INCONCLUSIVE, str(inconclusive), ""
    except Refusal as refusal:
        return Verdict.FAIL, f"a good request was refused: {refusal}", ""
    except PortFault as fault:
        return Verdict.ERROR, str(fault), "port"
    except SystemExit as end:
        # Only a port in this process can do that.
        return Verdict.ERROR, f"the port ended the process: exit {end.code!r}", "port"
    except Exception as error:  # noqa: BLE001 - a check that raises must not end the run
        line = " ".join(str(error).split())
        return Verdict.ERROR, f"in the check: {type(error).__name__}: {line}", "suite"
    return (Verdict.PASS, "", "") if reason is None else (Verdict.FAIL, reason, "")


def _sum(
    cases: tuple[CaseResult, ...], checks: Sequence[str], clause: str | None, idle: bool = False
) -> RunEnded:
    # A check of which every case needs an optional feature may stay unexecuted.
    required = [c for c in checks if not _all_unsupported(c, cases)]
    needed = floors.floors(required, clause)
    verdict = overall(cases, required, needed)
    reasons = too_few(cases, required, needed) if verdict is Verdict.INCONCLUSIVE else ()
    if idle:
        # That a port is honest about itself is not yet something that it can do.
        verdict = Verdict.INCONCLUSIVE if verdict is Verdict.PASS else verdict
        reasons = ("the port claims no profile that has checks", *reasons)
    return RunEnded(
        verdict=verdict, counts=counted(cases), exit=exit_status(verdict, cases), reasons=reasons
    )


def _all_unsupported(check_id: str, cases: Sequence[CaseResult]) -> bool:
    own = [case.verdict for case in cases if case.check == check_id]
    return bool(own) and set(own) == {Verdict.UNSUPPORTED}


__all__ = ["PROFILES", "Profile", "Report", "check", "judge", "listing", "plan", "run", "select"]
