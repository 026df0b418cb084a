"""Puts a port through the checks and adds up a verdict (WS-CONFORMANCE-10,
WS-CONFORMANCE-11)."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from conformance.case import Check
from conformance.checks.registry import CHECKS, CLAUSES
from conformance.files.kept import kept_in
from conformance.guard import PortFault
from conformance.judging import Plan, id_of, judge, plan
from conformance.oracle import Oracle
from conformance.protocol import PROFILES, Port, Profile, Refusal, Unsupported
from conformance.reporting import floors, waivers
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
from conformance.second_judge import LOG as SECOND_LOG
from conformance.second_judge import SecondJudge, Step, Task, fingerprint, side_by_side
from conformance.stdio.port import StdioPort
from conformance.stdio.untrusted import clipped
from conformance.verdicts import CaseResult, Verdict, exit_status, overall, too_few, wanted
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
    jobs: int | None = None,
    case: str | None = None,
) -> Report:
    """What ``wanstreamer check`` does: the port by name against the reference.

    Args:
        profile: one of `PROFILES`; None for all that the port claims.
        clause: judge this clause only.
        report_dir: where the log and the reports are written.
        waiver_file: failures that are accepted for a while (WS-CONFORMANCE-20).
        jobs: how many processes judge, 1 or 2 (WS-CONFORMANCE-23); None for what is quicker.
        case: judge this case only, or those that match it as a pattern with ``*``.

    Raises:
        PortError: the port cannot be loaded, or the folder cannot be written.
        ConfigError: no such profile, clause or case, or a bad waiver file.
    """
    selected = select(profile, clause)
    accepted = () if waiver_file is None else waivers.read(waiver_file)
    both = jobs if jobs is not None else usual_jobs(selected, clause or case)
    with nullcontext() if both == 1 else SecondJudge(ORACLE) as second:
        port, oracle = resolve(port_name), Oracle(resolve(ORACLE))
        todo = (port, oracle, port_name, selected, profile, clause, progress, False)
        try:
            if report_dir is None:
                return run(*todo, accepted=accepted, second=second, only=case)
            files.clear(report_dir)
            (report_dir / SECOND_LOG).unlink(missing_ok=True)
            with kept_in(report_dir / FAILING), LogFile(report_dir / LOG) as log:
                report = run(
                    *todo,
                    listener=log,
                    accepted=accepted,
                    second=second,
                    report_dir=report_dir,
                    only=case,
                )
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


def usual_jobs(selected: Sequence[Check], part: str | None) -> int:
    """Two processes where there are processors for them and enough to judge: formulas, single
    clauses and cases are done before a second one has started."""
    long = part is None and any(c.profile in ("codec", "session") for c in selected)
    return 2 if long and (os.cpu_count() or 1) > 1 else 1


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
    second: SecondJudge | None = None,
    report_dir: Path | None = None,
    only: str | None = None,
) -> Report:
    """Judge ``port`` by the ``selected`` checks, expected numbers from ``oracle``.

    Args:
        listener: told every event as it happens (WS-CONFORMANCE-19).
        accepted: failures that are waived (WS-CONFORMANCE-20).
        second: another process that judges, too, if ``name`` gives the same port again.
        report_dir: where a second process keeps what it finds worth keeping.
        only: a pattern with ``*`` that ids of cases must match.

    Raises:
        ConfigError: no case matches.
    """
    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if listener is not None:
            listener(event)

    tell(run_started(name, profile, clause, only))
    try:
        planned = plan(port, oracle, selected, profile, clause, only)
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
        tell(_sum((failed,), (), clause, only))
        return Report.of(events)
    checks, todo = tuple(c.id for c in planned.checks), planned.todo
    if only is not None and not todo:
        raise ConfigError("case", only, "the id of a case of this port, or a pattern of some")
    everything = profile is None and clause is None and only is None
    nothing = everything and all(c.profile is None for c in planned.checks)
    idle = nothing and any(c.profile is not None for c in selected)
    tell(port_introduced(planned.context.hello, checks, len(todo)))
    today = dt.datetime.now(dt.UTC).date()
    clauses_of = {id_of(*pair): pair[1].clauses or pair[0].clauses for pair in todo}
    results: list[CaseResult] = []
    if second is None:
        steps = one_by_one(planned, clause, name, profile)
    else:
        task = _task(planned, name, profile, clause, only, report_dir)
        steps = side_by_side(planned, task, second)
    for step in steps:
        if isinstance(step, CaseStarted):
            if progress is not None:
                progress(len(results), len(todo), step.id)
            tell(step)
            continue
        clauses = clauses_of[step.result.id]
        results.append(waivers.waived(step.result, clauses, accepted, today))
        tell(CaseJudged(result=results[-1]))
        if stop_at_failure and results[-1].verdict is Verdict.FAIL:
            break
    else:
        for waiver in in_scope(accepted, selected, clause):
            covered = [r for r in results if waiver.covers(r.id, clauses_of.get(r.id, ()))]
            if only is not None and not covered:
                continue
            results.append(waivers.judged(waiver, covered, today))
            tell(CaseJudged(result=results[-1]))
    tell(_sum(tuple(results), checks, clause, only, idle))
    return Report.of(events)


def one_by_one(planned: Plan, clause: str | None, name: str, profile: str | None) -> Iterator[Step]:
    """Every case of the plan to its verdict, in order."""
    for owner, case in planned.todo:
        yield CaseStarted(id=id_of(owner, case))
        yield CaseJudged(result=judge(owner, case, clause, name, profile))


def _task(
    planned: Plan,
    name: str,
    profile: str | None,
    clause: str | None,
    only: str | None,
    report_dir: Path | None,
) -> Task:
    return Task(
        port=name,
        checks=tuple(check.id for check in planned.checks),
        profile=profile,
        clause=clause,
        only=only,
        agreed=fingerprint(planned),
        kept=None if report_dir is None else report_dir / FAILING,
        report_dir=report_dir,
    )


def in_scope(
    accepted: Sequence[Waiver], selected: Sequence[Check], clause: str | None
) -> tuple[Waiver, ...]:
    """The waivers that a run must need: those of a clause that it was asked to judge."""
    judged = {c for check in selected for c in check.clauses} if clause is None else {clause}
    return tuple(waiver for waiver in accepted if waiver.clause in judged)


def _sum(
    cases: tuple[CaseResult, ...],
    checks: Sequence[str],
    clause: str | None,
    only: str | None,
    idle: bool = False,
) -> RunEnded:
    required = wanted(checks, cases)
    # Whoever picks cases knows that they are few.
    needed = {} if only is not None else floors.floors(required, clause)
    verdict = overall(cases, required, needed)
    reasons = too_few(cases, required, needed) if verdict is Verdict.INCONCLUSIVE else ()
    if idle:
        # That a port is honest about itself is not yet something that it can do.
        verdict = Verdict.INCONCLUSIVE if verdict is Verdict.PASS else verdict
        reasons = ("the port claims no profile that has checks", *reasons)
    return RunEnded(
        verdict=verdict, counts=counted(cases), exit=exit_status(verdict, cases), reasons=reasons
    )


__all__ = ["PROFILES", "Profile", "Report", "check", "judge", "listing", "plan", "run", "select"]
