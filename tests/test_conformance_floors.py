"""WS-CONFORMANCE-21: a run that executed too little is no pass, and says so."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from port_judging import oracle

from conformance import runner
from conformance.case import Case, Check, Inconclusive
from conformance.checks.registry import CHECKS
from conformance.ports.reference import ReferencePort
from conformance.protocol import PROFILES, Hello, Unsupported
from conformance.reporting import floors
from conformance.reporting.floors import ALL_CLAUSES, CheckFacts, facts
from conformance.resolve import resolve
from conformance.verdicts import Verdict
from spec.errors import ConfigError


def good() -> str | None:
    return None


def lacking() -> str | None:
    raise Unsupported("offline")


def unsure() -> str | None:
    raise Inconclusive("too short")


def check_of(*cases: Case) -> Check:
    return Check(
        id="x/y", clauses=("WS-CLOCK-1",), profile=None, tolerance="A", cases=lambda _: cases
    )


def made(*judges: object) -> Check:
    return check_of(*(Case(name=str(i), judge=j) for i, j in enumerate(judges)))  # type: ignore[arg-type]


@pytest.fixture
def floor_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """`x/y` must execute three cases in all, two of WS-CLOCK-1."""
    known = {"x/y": CheckFacts(oracle="", made=3, floors={ALL_CLAUSES: 3, "WS-CLOCK-1": 2})}
    monkeypatch.setattr(floors, "facts", lambda: known)


@pytest.mark.usefixtures("floor_of_three")
@pytest.mark.parametrize(
    ("judges", "clause", "verdict"),
    [
        ((good,) * 3, None, "pass"),
        ((good,) * 2, None, "inconclusive"),
        ((good, good, lacking), None, "inconclusive"),
        ((lacking,) * 2, None, "unsupported"),
        ((), None, "inconclusive"),
        ((good,) * 2, "WS-CLOCK-1", "pass"),
        ((good,), "WS-CLOCK-1", "inconclusive"),
    ],
)
def test_ws_conformance_21_fewer_than_the_floor_is_inconclusive(
    judges: tuple[object, ...], clause: str | None, verdict: str
) -> None:
    report = runner.run(ReferencePort(), oracle(), "some", [made(*judges)], clause=clause)
    assert report.verdict.value == verdict
    assert report.exit_status == {"pass": 0}.get(verdict, 3)
    if verdict == "inconclusive":
        executed, needed = judges.count(good), 3 if clause is None else 2
        too_few = f"x/y: {executed} cases executed, at least {needed} are needed"
        assert report.reasons == (too_few if judges else "no case was executed",)


def test_ws_conformance_21_nothing_executed_is_never_0() -> None:
    for checks in ([], [made()], [made(unsure)], [made(lacking)]):
        report = runner.run(ReferencePort(), oracle(), "some", checks)
        assert report.exit_status == 3, report
        assert report.verdict is not Verdict.PASS


def test_ws_conformance_21_a_port_that_claims_nothing_is_no_pass() -> None:
    """It is honest, and that is all that could be judged."""

    class Idle(ReferencePort):
        def hello(self) -> Hello:
            return attrs.evolve(super().hello(), profiles=("latency",))

    honest, real = made(good), attrs.evolve(made(good), id="z/z", profile="session")
    report = runner.run(Idle(), oracle(), "idle", [honest, real])
    assert (report.verdict, report.exit_status) == (Verdict.INCONCLUSIVE, 3)
    assert report.reasons == ("the port claims no profile that has checks",)
    assert runner.run(ReferencePort(), oracle(), "some", [honest, real]).exit_status == 0


def test_ws_conformance_21_a_profile_without_checks_cannot_be_chosen() -> None:
    judged = {check.profile for check in CHECKS.values()}
    for profile in PROFILES:
        if profile in judged:
            assert runner.select(profile, None)
        else:
            with pytest.raises(ConfigError, match=f"profile: got '{profile}'"):
                runner.select(profile, None)


def test_a_check_that_nobody_has_counted_needs_one_case() -> None:
    assert floors.floors(["no/such"], None) == {}
    assert runner.run(ReferencePort(), oracle(), "some", [made(good)]).exit_status == 0


def test_ws_conformance_21_the_facts_fit_the_checks() -> None:
    """Run scripts/suite_facts.py after checks have changed: a check is new, gone, or makes another
    number of cases for a port without optional features, in all or about some clause, than when its
    floors were counted."""
    least = resolve("benign:no-optional-features")
    plan = runner.plan(least, oracle(), tuple(CHECKS.values()), None, None, "*")
    assert set(facts()) == set(CHECKS)
    for check_id, known in facts().items():
        own = [(owner, case) for owner, case in plan.todo if owner.id == check_id]
        assert known.made == sum(not case.brief for _, case in own), check_id
        about = Counter(clause for owner, case in own for clause in case.clauses or owner.clauses)
        floors = {c: n for c, n in known.floors.items() if c != ALL_CLAUSES}
        assert all(n <= about[clause] for clause, n in floors.items()), check_id
