"""WS-CONFORMANCE-23: two processes judge what one would, and a port that cannot be there twice is
not accused of it."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter

import attrs
import pytest
from port_judging import oracle

from conformance import runner
from conformance.checks.registry import CHECKS
from conformance.judging import Plan, id_of, plan
from conformance.reporting.events import (
    CaseJudged,
    CaseStarted,
    Event,
    RunEnded,
    port_introduced,
    run_started,
)
from conformance.reporting.report import Report
from conformance.resolve import resolve
from conformance.second_judge import SecondJudge, Step, Task, fingerprint, shared, side_by_side
from conformance.verdicts import CaseResult, Verdict
from spec.errors import PortError

CHOSEN = ("port/honest", "codec/geometry", "exchange/exactly-once", "exchange/thinker")
LONGEST_S = 240


def left_alone() -> None:
    """A judge of the first process that waits until the second is done."""
    deadline = time.monotonic() + LONGEST_S
    while multiprocessing.active_children():
        assert time.monotonic() < deadline, "the second process has not ended"
        time.sleep(0.01)


def planned_for(port: str, waiting: bool = True) -> Plan:
    checks = tuple(CHECKS[check] for check in CHOSEN)
    planned = plan(resolve(port), oracle(), checks, None, None)
    (owner, first), *others = planned.todo
    todo = ((owner, attrs.evolve(first, judge=left_alone)), *others) if waiting else planned.todo
    return attrs.evolve(planned, todo=todo)


def task_for(port: str, planned: Plan) -> Task:
    return Task(
        port=port,
        checks=CHOSEN,
        profile=None,
        clause=None,
        only=None,
        agreed=fingerprint(planned),
        kept=None,
        report_dir=None,
    )


def steps_of(port: str) -> list[Step]:
    planned = planned_for(port)
    return list(side_by_side(planned, task_for(port, planned), SecondJudge(runner.ORACLE)))


def judged(steps: list[Step]) -> dict[str, CaseResult]:
    return {step.result.id: step.result for step in steps if isinstance(step, CaseJudged)}


@pytest.mark.parametrize("port", ["reference", "mutant:duplicate-appended"])
def test_ws_conformance_23_two_judge_as_one(port: str) -> None:
    alone = {
        id_of(*pair): runner.judge(*pair, None, port) for pair in planned_for(port, False).todo
    }
    steps = steps_of(port)
    together = judged(steps)
    assert Counter(type(step) for step in steps) == {
        CaseStarted: len(alone),
        CaseJudged: len(alone),
    }
    assert {case: r.verdict for case, r in together.items()} == {
        case: r.verdict for case, r in alone.items()
    }
    assert {case: r.detail for case, r in together.items()} == {
        case: r.detail for case, r in alone.items()
    }
    # All but the first check were judged there, while the first waited here.
    ends = [step.result.check for step in steps if isinstance(step, CaseJudged)]
    assert list(dict.fromkeys(ends)) == [CHOSEN[0], *reversed(CHOSEN[1:])]


def test_ws_conformance_23_a_port_that_ends_its_process_is_accused_in_one_case() -> None:
    cases = judged(steps_of("second_ports:Dying"))
    assert set(cases) == {id_of(*pair) for pair in planned_for("reference", False).todo}
    errors = [case for case in cases.values() if case.verdict is not Verdict.PASS]
    assert [(case.verdict, case.blame, case.check) for case in errors] == [
        (Verdict.ERROR, "port", "exchange/thinker")
    ]
    assert "ended: exit 7; reproduce: wanstreamer check" in errors[0].detail


@pytest.mark.parametrize("port", ["second_ports:absent", "second_ports:Other"])
def test_ws_conformance_23_a_port_that_is_there_once_is_judged_here(port: str) -> None:
    steps = steps_of(port)
    assert all(case.verdict is Verdict.PASS for case in judged(steps).values())
    # In the order of the plan: nothing came from elsewhere.
    checks = [step.result.check for step in steps if isinstance(step, CaseJudged)]
    assert tuple(dict.fromkeys(checks)) == CHOSEN


def test_ws_conformance_23_what_is_agreed_is_the_port_and_every_case() -> None:
    """A port that is asked one case more, or another, is not asked the same."""
    planned = planned_for("reference", False)
    ((owner, case), *others), hello = planned.todo, planned.context.hello
    renamed = attrs.evolve(planned, todo=((owner, attrs.evolve(case, name="other")), *others))
    fewer = attrs.evolve(planned, todo=tuple(others))
    backwards = attrs.evolve(planned, todo=planned.todo[::-1])
    agreed = {fingerprint(each) for each in (planned, renamed, fewer, backwards)}
    assert len(agreed) == 4
    again = planned_for("reference", False)
    assert (again.context.hello, fingerprint(again)) == (hello, fingerprint(planned))


def test_ws_conformance_23_an_error_here_ends_the_second_process() -> None:
    """In the middle of a case that never ends, and without being killed: its port is let go."""
    planned = planned_for("second_ports:Sleeping")
    second = SecondJudge(runner.ORACLE)
    second.begin(task_for("second_ports:Sleeping", planned), shared(planned))

    def interrupted() -> None:
        with second:
            deadline = time.monotonic() + LONGEST_S
            while not any(isinstance(step, CaseStarted) for step in second.arrived()):
                assert time.monotonic() < deadline, "the second process has begun no case"
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert second.end() == "exit 0"
    assert not multiprocessing.active_children()


def test_ws_conformance_23_a_process_that_was_told_nothing_ends(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A port that cannot be loaded: the second process, still loading or waiting, says nothing."""
    with pytest.raises(PortError, match="no_such_module"):
        runner.check("no_such_module:Port", jobs=2)
    with SecondJudge(runner.ORACLE) as waiting:
        time.sleep(0.5)
    assert waiting.end() in ("signal 15", "exit 0")
    assert not multiprocessing.active_children()
    assert "Traceback" not in capfd.readouterr().err


def test_ws_conformance_23_what_is_judged_by_the_clock_is_judged_alone() -> None:
    planned = planned_for("reference", False)
    assert shared(planned) == planned.checks
    latency = next(check for check in CHECKS.values() if check.profile == "latency")
    assert latency not in shared(attrs.evolve(planned, checks=(*planned.checks, latency)))


def test_ws_conformance_23_a_report_is_in_the_order_of_the_plan() -> None:
    """However the events came; the cases of a check in the order in which they were judged."""
    events: list[Event] = [
        run_started("some", None, None),
        port_introduced(resolve("reference").hello(), ("x/first", "x/second"), 3),
        *(
            CaseJudged(result=CaseResult(id=case, clause="WS-CLOCK-1", verdict=Verdict.PASS))
            for case in ("x/second:b", "x/first:z", "x/second:a")
        ),
        RunEnded(verdict=Verdict.PASS, counts={}, exit=0),
    ]
    assert [case.id for case in Report.of(events).cases] == [
        "x/first:z",
        "x/second:b",
        "x/second:a",
    ]


def test_ws_conformance_23_a_run_that_is_cut_off_names_both_cases() -> None:
    events: list[Event] = [
        run_started("some", None, None),
        CaseStarted(id="x/first:z"),
        CaseStarted(id="x/second:b"),
        CaseStarted(id="x/third:c"),
        CaseJudged(result=CaseResult(id="x/second:b", clause="", verdict=Verdict.PASS)),
    ]
    (reason,) = Report.of(events).reasons
    assert "in x/first:z and in x/third:c, after 1 cases" in reason
