"""WS-CONFORMANCE-5: selection; WS-CONFORMANCE-10: one line a case; WS-CONFORMANCE-11: the exit
status."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import attrs
import pytest
from port_judging import oracle

from conformance import runner
from conformance.case import Case, Check, Context, Inconclusive
from conformance.checks.registry import CHECKS
from conformance.guard import Guard, PortFault
from conformance.judging import cases_of
from conformance.mutants import MUTANTS
from conformance.ports.reference import ReferencePort
from conformance.protocol import Hello, Unsupported
from conformance.reporting.report import Report
from conformance.reporting.trace_matrix import kill_table
from conformance.verdicts import CaseResult, Verdict, exit_status, overall
from spec.errors import ConfigError


def raising(error: Exception) -> Callable[[], str | None]:
    """A judge that does not come to an end."""

    def judge() -> str | None:
        raise error

    return judge


def check_of(*judges: Callable[[], str | None], name: str = "x/y") -> Check:
    cases = tuple(Case(name=str(i), judge=judge) for i, judge in enumerate(judges))
    return Check(
        id=name, clauses=("WS-X-1",), profile="session", tolerance="A", cases=lambda _: cases
    )


def run_of(*checks: Check, port: ReferencePort | None = None) -> Report:
    return runner.run(port or ReferencePort(), oracle(), "some", checks)


def good() -> None:
    """A judge with nothing to say."""


def bad() -> str:
    """A judge that saw a difference."""
    return "differs"


@pytest.mark.parametrize(
    ("judges", "verdict", "status"),
    [
        ((good,), "pass", 0),
        ((good, bad), "fail", 1),
        ((raising(PortFault("gone")), bad), "fail", 1),
        ((good, raising(PortFault("gone"))), "error", 1),
        ((good, raising(ZeroDivisionError("ours"))), "error", 2),
        ((good, raising(Inconclusive("too short"))), "inconclusive", 3),
        ((raising(Unsupported("offline")),), "unsupported", 3),
        ((good, raising(Unsupported("offline"))), "pass", 0),
        ((good, raising(Unsupported("session"))), "fail", 1),
        ((), "inconclusive", 3),
        ((raising(Inconclusive("too short")), raising(PortFault("gone"))), "error", 1),
        ((raising(ZeroDivisionError("ours")), raising(PortFault("gone"))), "error", 1),
    ],
)
def test_ws_conformance_11_verdict_and_exit_status(
    judges: tuple[Callable[[], str | None], ...], verdict: str, status: int
) -> None:
    report = run_of(check_of(*judges))
    assert (report.verdict.value, report.exit_status) == (verdict, status)


def test_ws_conformance_11_a_check_without_cases_is_no_pass() -> None:
    report = run_of(check_of(good), check_of(name="x/empty"))
    assert report.exit_status == 3


def test_ws_conformance_11_all_unsupported_check_is_excused() -> None:
    other = check_of(raising(Unsupported("kv_digest")), name="x/optional")
    assert run_of(check_of(good), other).exit_status == 0


def test_ws_conformance_10_every_case_is_judged_and_told_in_one_line() -> None:
    report = run_of(check_of(raising(ZeroDivisionError("a\nb")), bad, good))
    assert [case.verdict.value for case in report.cases] == ["error", "fail", "pass"]
    assert report.cases[0].detail.startswith("in the check: ZeroDivisionError: a b; reproduce: ")
    assert report.cases[1].detail == (
        "differs; reproduce: wanstreamer check --port some --clause WS-X-1 --case x/y:1"
    )
    assert report.cases[1].id == "x/y:1"


def test_ws_conformance_10_a_port_that_ends_the_process_ends_one_case() -> None:
    def leaves() -> None:
        raise SystemExit(0)

    report = run_of(check_of(leaves, good))
    assert [case.verdict.value for case in report.cases] == ["error", "pass"]
    assert report.exit_status == 1


def test_ws_conformance_10_the_command_of_a_failure_is_one_for_a_shell() -> None:
    """Also where the port's name and the case's have blanks and quotes in them."""
    name = "cmd:\"./a port\" --as 'it is'"
    odd = attrs.evolve(check_of(), cases=lambda _: (Case(name="a b", judge=bad),))
    (case,) = runner.run(ReferencePort(), oracle(), name, [odd], profile="session").cases
    again = case.detail.partition("; reproduce: ")[2]
    options = ["--port", name, "--profile", "session", "--clause", "WS-X-1", "--case", "x/y:a b"]
    assert shlex.split(again) == ["wanstreamer", "check", *options]


def test_ws_conformance_5_profiles_that_a_port_does_not_claim_are_left_out() -> None:
    class CodecOnly(ReferencePort):
        def hello(self) -> Hello:
            return Hello(
                name="c",
                version="1",
                profiles=("codec",),
                dtypes=("float32",),
                deterministic=True,
                features=("codec",),
            )

    assert run_of(check_of(bad), port=CodecOnly()).exit_status == 3
    of_all = attrs.evolve(check_of(good, name="x/all"), profile=None)
    report = run_of(check_of(bad), of_all, port=CodecOnly())
    assert [case.id for case in report.cases] == ["x/all:0"]


def test_a_port_without_hello_is_an_error_of_the_port() -> None:
    class Dumb(ReferencePort):
        def hello(self) -> Hello:
            raise RuntimeError("who?")

    report = run_of(check_of(good), port=Dumb())
    assert report.exit_status == 1
    assert "RuntimeError: who?" in report.cases[0].detail


def test_select_refuses_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match="profile"):
        runner.select("maths", None)
    with pytest.raises(ConfigError, match="clause"):
        runner.select(None, "WS-NOTHING-1")
    with pytest.raises(ConfigError, match="codec"):
        runner.select("codec", "WS-EXCHANGE-7")


def test_select_by_profile_and_clause() -> None:
    assert {c.profile for c in runner.select("codec", None)} == {"codec", None}
    chosen = runner.select(None, "WS-EXCHANGE-7")
    assert chosen[0].id == "exchange/exactly-once"
    assert all("WS-EXCHANGE-7" in check.clauses for check in chosen)


def test_ws_conformance_10_cases_of_one_clause_only() -> None:
    other = Case(name="other", judge=bad, clauses=("WS-EXCHANGE-7",))
    of_both = Case(name="both", judge=good)
    own = Case(name="own", judge=good, clauses=("WS-EXCHANGE-5",))
    check = Check(
        id="x/y",
        clauses=("WS-EXCHANGE-7", "WS-EXCHANGE-5"),
        profile="split",
        tolerance="A",
        cases=lambda _: (other, of_both, own),
    )
    report = runner.run(ReferencePort(), oracle(), "some", [check], clause="WS-EXCHANGE-5")
    # Those about this clause alone come first.
    assert [case.id for case in report.cases] == ["x/y:own", "x/y:both"]
    assert {case.clause for case in report.cases} == {"WS-EXCHANGE-5"}


def longer(*, alone: bool) -> Check:
    """A check of which the last case, or the only one, goes further, and faults every port."""
    cases = (Case(name="short", judge=good), Case(name="long", judge=bad, further=True))
    made = cases[1:] if alone else cases
    return Check(
        id="x/alone" if alone else "x/both",
        clauses=("WS-CLOCK-2",),
        profile="session",
        tolerance="A",
        cases=lambda _: made,
    )


def test_ws_conformance_11_a_run_of_one_clause_leaves_out_what_goes_further() -> None:
    """A check with nothing else is not missed; all is judged without a choice, or by its name."""

    def ids(clause: str | None, only: str | None = None) -> list[str]:
        checks = (longer(alone=False), longer(alone=True))
        report = runner.run(ReferencePort(), oracle(), "some", checks, clause=clause, only=only)
        assert report.verdict.value == (
            "pass" if (clause, only) == ("WS-CLOCK-2", None) else "fail"
        )
        return [case.id for case in report.cases]

    assert ids("WS-CLOCK-2") == ["x/both:short"]
    assert ids(None) == ["x/both:short", "x/both:long", "x/alone:long"]
    assert ids("WS-CLOCK-2", "*:long") == ["x/both:long", "x/alone:long"]
    none = check_of(name="x/none")
    report = runner.run(
        ReferencePort(), oracle(), "some", (longer(alone=False), none), clause="WS-CLOCK-2"
    )
    assert report.reasons == ("x/none: 0 cases executed, at least 1 are needed",)


def test_ws_conformance_11_a_run_without_a_choice_leaves_out_what_is_asked_further() -> None:
    """A short case that another one of its check goes further than."""
    cases = (
        Case(name="short", judge=good, brief=True),
        Case(name="long", judge=good, further=True),
        Case(name="other", judge=good),
    )
    check = Check(
        id="x/two", clauses=("WS-CLOCK-2",), profile="session", tolerance="A", cases=lambda _: cases
    )

    def ids(clause: str | None, only: str | None = None) -> list[str]:
        report = runner.run(ReferencePort(), oracle(), "some", (check,), clause=clause, only=only)
        return [case.id for case in report.cases]

    assert ids(None) == ["x/two:long", "x/two:other"]
    assert ids("WS-CLOCK-2") == ["x/two:short", "x/two:other"]
    assert ids(None, "*:short") == ["x/two:short"]


def test_ws_conformance_11_what_is_brief_is_asked_further_by_its_own_check() -> None:
    """About every clause of a brief case there is one that goes further and is never left out."""
    context = Context(Guard(ReferencePort()), oracle())
    briefs = 0
    for check in CHECKS.values():
        cases = cases_of(check, context)
        further = {c for case in cases if case.further for c in case.clauses or check.clauses}
        for case in cases:
            briefs += case.brief
            assert not case.brief or set(case.clauses or check.clauses) <= further, case.name
            assert not (case.brief and case.further)
    assert briefs > 0


def test_ws_conformance_11_what_a_brief_case_finds_is_found_without_it() -> None:
    """Its mutants fall in a run without a choice, too, and under their clause."""
    context = Context(Guard(ReferencePort()), oracle())
    brief = {f"{c.id}:{k.name}" for c in CHECKS.values() for k in cases_of(c, context) if k.brief}
    rows = [(n, row.clause, row.killed_by.get(row.clause, "")) for n, row in kill_table().items()]
    found = [(name, clause, case) for name, clause, case in rows if case in brief]
    assert {case for _, _, case in found} == brief
    for name, clause, case in found:
        check = CHECKS[case.partition(":")[0]]
        report = runner.run(MUTANTS[name].factory(), oracle(), name, (check,))
        failed = {c.clause for c in report.cases if c.verdict is Verdict.FAIL}
        assert clause in failed, name


def test_waived_counts_as_executed() -> None:
    waived = CaseResult(id="x/y:0", clause="WS-X-1", verdict=Verdict.WAIVED)
    assert overall([waived], ["x/y"]) is Verdict.PASS
    assert exit_status(Verdict.PASS, [waived]) == 0


def test_progress_is_told_before_each_case() -> None:
    seen: list[tuple[int, int, str]] = []
    runner.run(
        ReferencePort(),
        oracle(),
        "some",
        [check_of(good, good)],
        progress=lambda *step: seen.append(step),
    )
    assert seen == [(0, 2, "x/y:0"), (1, 2, "x/y:1")]


def test_context_has_the_ports_main_dtype() -> None:
    from conformance.guard import Guard

    assert Context(Guard(ReferencePort()), oracle()).dtype == "float32"


def test_one_case_is_judged_alone_by_its_id_or_by_a_pattern() -> None:
    check = check_of(good, bad, good)

    def ids(only: str) -> list[tuple[str, str]]:
        report = runner.run(ReferencePort(), oracle(), "some", [check, check_of(bad)], only=only)
        return [(case.id, case.verdict.value) for case in report.cases]

    assert ids("x/y:1") == [("x/y:1", "fail")]
    assert ids("x/*:2") == [("x/y:2", "pass")]
    with pytest.raises(ConfigError, match=r"case: got .x/z.; allowed: the id of a case"):
        ids("x/z")


def test_one_case_needs_no_floor_and_is_what_a_failure_says_how_to_see_again() -> None:
    """The command of a failed case runs that case and no other."""
    report = runner.check("mutant:duplicate-appended", clause="WS-EXCHANGE-7")
    failed = report.failures()[0]
    words = shlex.split(failed.detail.partition("; reproduce: ")[2])
    assert words[:2] == ["wanstreamer", "check"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    again = runner.check(given["--port"], clause=given["--clause"], case=given["--case"])
    assert [(c.id, c.verdict) for c in again.cases] == [(failed.id, Verdict.FAIL)]
    assert runner.check("reference", case=failed.id).exit_status == 0
