"""WS-CONFORMANCE-19: the log of a run, written as it happens, and every report worked out of it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from port_judging import oracle

from conformance import runner
from conformance.case import Case, Check
from conformance.ports.reference import ReferencePort
from conformance.protocol import Hello
from conformance.reporting import events
from conformance.reporting.events import (
    CaseJudged,
    CaseStarted,
    Event,
    PortIntroduced,
    RunEnded,
    RunStarted,
)
from conformance.reporting.measure import Closeness, Drift, Measurements, Point
from conformance.reporting.rendering import files
from conformance.reporting.report import Report
from conformance.verdicts import CaseResult, Verdict
from spec.errors import PortError

TEXT = st.text(max_size=12)
FIRST = RunStarted(
    port="p", profile="all", clause=None, suite="0", started="2030-01-01T00:00:00+00:00", machine={}
)
PASSED = CaseResult(id="a/b:c", clause="WS-CLOCK-1", verdict=Verdict.PASS)
MEASURED = Measurements(
    closeness=(
        Closeness(
            tensor="logits",
            dtype="float32",
            rms=0.25,
            rms_budget=0.5,
            max=inf,
            max_budget=1.0,
            worst=(1, 2),
            actual=inf,
            expected=3.0,
        ),
    ),
    drift=(Drift(tensor="audio", points=(Point(unit=7, error=0.1, budget=0.2),)),),
)
EVENTS = st.one_of(
    st.builds(
        RunStarted,
        port=TEXT,
        profile=TEXT,
        clause=st.none() | TEXT,
        suite=TEXT,
        started=TEXT,
        machine=st.dictionaries(TEXT, TEXT, max_size=2),
    ),
    st.builds(
        PortIntroduced,
        hello=st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=2), max_size=2),
        checks=st.lists(TEXT, max_size=2).map(tuple),
        cases=st.integers(0, 9),
    ),
    st.builds(CaseStarted, id=TEXT),
    st.builds(
        CaseJudged,
        result=st.builds(
            CaseResult,
            id=TEXT,
            clause=TEXT,
            verdict=st.sampled_from(Verdict),
            detail=TEXT,
            blame=st.sampled_from(["", "port", "suite"]),
            seconds=st.floats(0, 9),
            measurements=st.sampled_from([Measurements(), MEASURED]),
        ),
    ),
    st.builds(
        RunEnded,
        verdict=st.sampled_from(Verdict),
        counts=st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
        exit=st.integers(0, 3),
        reasons=st.lists(TEXT, max_size=2).map(tuple),
    ),
)


@given(EVENTS)
def test_ws_conformance_19_an_event_is_one_line_and_is_read_back(event: Event) -> None:
    line = events.as_line(event)
    assert line.isascii()
    assert "\n" not in line
    assert events.from_line(line) == event


def said(reason: str | None) -> str | None:
    return reason


def check_of(*reasons: str | None) -> Check:
    cases = tuple(Case(name=str(i), judge=partial(said, r)) for i, r in enumerate(reasons))
    return Check(
        id="x/y", clauses=("WS-CLOCK-1",), profile="session", tolerance="A", cases=lambda _: cases
    )


def test_ws_conformance_19_reports_are_a_function_of_the_log(tmp_path: Path) -> None:
    """Written, read and rendered again: the same report and the same files, byte for byte."""
    with events.LogFile(tmp_path / events.LOG) as log:
        report = runner.run(
            ReferencePort(), oracle(), "some", [check_of(None, "differs")], listener=log
        )
    files.write(report, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(before) == {events.LOG, *files.RENDERERS}
    assert files.rewrite(tmp_path) == report
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_ws_conformance_19_events_come_in_order_and_as_they_happen() -> None:
    seen: list[Event] = []

    def during() -> str | None:
        assert isinstance(seen[-1], CaseStarted)
        return None

    cases = (Case(name="0", judge=during), Case(name="1", judge=during))
    check = Check(
        id="x/y", clauses=("WS-CLOCK-1",), profile=None, tolerance="A", cases=lambda _: cases
    )
    runner.run(ReferencePort(), oracle(), "some", [check], listener=seen.append)
    kinds = [type(event) for event in seen]
    assert kinds == [
        RunStarted, PortIntroduced, CaseStarted, CaseJudged, CaseStarted, CaseJudged, RunEnded
    ]  # fmt: skip
    ended = seen[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.verdict, ended.exit, ended.counts["pass"]) == (Verdict.PASS, 0, 2)


KILLED = """
import os, sys
from pathlib import Path
from conformance.reporting.events import CaseJudged, CaseStarted, LogFile, run_started
from conformance.verdicts import CaseResult, Verdict

with LogFile(Path(sys.argv[1])) as log:
    log(run_started("p", None, None))
    log(CaseJudged(result=CaseResult(id="a/b:c", clause="WS-CLOCK-1", verdict=Verdict.PASS)))
    log(CaseStarted(id="a/b:d"))
    os.kill(os.getpid(), 9)
"""


def test_ws_conformance_19_a_killed_run_has_a_log(tmp_path: Path) -> None:
    """Killed inside a case, without a chance to tidy up: the report says in which one."""
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path / events.LOG], check=False)
    assert run.returncode == -9
    report = files.rewrite(tmp_path)
    assert report.cases == (PASSED,)
    assert (report.verdict, report.exit_status) == (Verdict.INCONCLUSIVE, 3)
    assert report.reasons == ("the run was cut off in a/b:d, after 1 cases",)
    assert "cut off in a/b:d" in (tmp_path / "report.html").read_text()


def test_a_failure_stands_however_the_run_ended() -> None:
    failed = CaseResult(id="a/b:c", clause="WS-CLOCK-1", verdict=Verdict.FAIL)
    report = Report.of([FIRST, CaseJudged(result=failed)])
    assert (report.verdict, report.exit_status) == (Verdict.FAIL, 1)


def test_a_line_cut_off_in_the_middle_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / events.LOG
    lines = [events.as_line(FIRST), events.as_line(CaseJudged(result=PASSED))]
    path.write_text(lines[0] + "\n" + lines[1][:-5])
    assert events.read(path) == (FIRST,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with run-started"),
        ('{"event": "case-started", "id": "x"}\n', "begins with run-started"),
        ("nonsense\n", "log.ndjson:1: .*an event of a run"),
        ('{"event": "case-started", "id": "x", "more": 1}\n', "log.ndjson:1"),
        ('{"event": "party"}\n', "log.ndjson:1"),
        ("[]\n", "log.ndjson:1"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / events.LOG
    path.write_text(text)
    with pytest.raises(PortError, match=says) as error:
        events.read(path)
    assert "\n" not in str(error.value)


def test_a_new_run_removes_the_reports_of_the_last(tmp_path: Path) -> None:
    """They would be taken for those of a run that was killed."""
    for name in (*files.RENDERERS, "mine.txt"):
        (tmp_path / name).write_text("old")
    files.clear(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_hello_that_is_no_json_is_logged_all_the_same() -> None:
    class Odd(ReferencePort):
        def hello(self) -> Hello:
            given = {
                "name": "\ud800",
                "version": float("nan"),
                "profiles": (),
                "dtypes": ("float32",),
            }
            return Hello(deterministic=True, features=(), **given)  # type: ignore[arg-type]

    seen: list[Event] = []
    runner.run(Odd(), oracle(), "odd", [check_of(None)], listener=seen.append)
    introduced = events.from_line(events.as_line(seen[1]))
    assert isinstance(introduced, PortIntroduced)
    assert introduced.hello["version"] == "NaN"


def test_a_check_that_cannot_make_its_cases_is_an_error_of_the_suite() -> None:
    """Its other cases, and the other checks, are judged all the same."""

    def broken(_: object) -> tuple[Case, ...]:
        raise ZeroDivisionError("no cases")

    check = Check(id="z/z", clauses=("WS-CLOCK-1",), profile="session", tolerance="A", cases=broken)
    report = runner.run(ReferencePort(), oracle(), "some", [check, check_of(None)])
    assert [case.verdict.value for case in report.cases] == ["error", "pass"]
    assert report.cases[0].detail.startswith("in the check: ZeroDivisionError: no cases")
    assert report.exit_status == 2


def test_a_port_that_ends_the_process_does_not() -> None:
    def leave() -> str | None:
        sys.exit(0)

    cases = (Case(name="0", judge=leave),)
    check = Check(
        id="x/y", clauses=("WS-CLOCK-1",), profile=None, tolerance="A", cases=lambda _: cases
    )
    report = runner.run(ReferencePort(), oracle(), "some", [check])
    assert (report.cases[0].verdict, report.cases[0].blame) == (Verdict.ERROR, "port")
    assert "ended the process: exit 0" in report.cases[0].detail


def test_a_run_without_reports_does_not_wait_for_the_plots() -> None:
    """Nor does any other command: matplotlib takes a second to load, torch three."""
    code = (
        "import sys, conformance.runner; sys.exit(bool({'matplotlib', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
