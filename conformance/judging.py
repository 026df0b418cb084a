"""What a port will be asked, and how one case comes to its verdict (WS-CONFORMANCE-10)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase

import attrs

from conformance.case import Case, Check, Context, Inconclusive
from conformance.checks.registry import LONG
from conformance.guard import Guard, PortFault
from conformance.oracle import Oracle
from conformance.protocol import OPTIONAL_FEATURES, Port, Refusal, Unsupported
from conformance.reporting import measure
from conformance.reporting.reproduce import command
from conformance.stdio.untrusted import clipped
from conformance.verdicts import Blame, CaseResult, Verdict


@attrs.frozen(kw_only=True)
class Plan:
    """What one port will be asked: the checks of the profiles it claims, and their cases."""

    context: Context
    checks: tuple[Check, ...]
    todo: tuple[tuple[Check, Case], ...]


def plan(
    port: Port,
    oracle: Oracle,
    selected: Sequence[Check],
    profile: str | None,
    clause: str | None,
    only: str | None = None,
) -> Plan:
    """The cases for ``port``, none of them judged yet.

    Args:
        clause: only cases about it, without those that go further than one clause needs; without
            a clause, those that no other case goes further than.
        only: a pattern with ``*`` that ids of cases must match.

    Raises:
        PortFault, Unsupported, Refusal: the port does not answer ``hello``.
    """
    context = Context(Guard(port), oracle)
    # A profile that nobody asked for is judged only when the port claims it.
    claimed = (None, *context.hello.profiles)
    checks = tuple(c for c in selected if profile is not None or c.profile in claimed)
    made = [(c, case) for c in checks for case in cases_of(c, context) if about(case, clause)]
    if only is not None:
        todo = [(c, case) for c, case in made if fnmatchcase(id_of(c, case), only)]
        checks = tuple(dict.fromkeys(c for c, _ in todo))
    else:
        todo = [
            (c, case) for c, case in made if not (case.brief if clause is None else case.further)
        ]
        # Of some checks every case goes further.
        left_out = {c.id for c, _ in made} - {c.id for c, _ in todo}
        checks = tuple(c for c in checks if c.id not in left_out)
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


def id_of(owner: Check, case: Case) -> str:
    """The id of a case: its check's, and its name."""
    return f"{owner.id}:{case.name}"


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
        again = command(port_name, named, profile, id_of(owner, case))
        detail = f"{clipped(detail)}; reproduce: {again}"
    return CaseResult(
        id=id_of(owner, case),
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
