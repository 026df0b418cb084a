"""WS-CONFORMANCE-20: a waiver holds for failures only, and only as long as it is needed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from port_judging import oracle

from conformance import runner
from conformance.case import Case, Check
from conformance.guard import PortFault
from conformance.ports.reference import ReferencePort
from conformance.reporting.report import Report
from conformance.reporting.waivers import Waiver, read
from spec.errors import ConfigError

GOOD = """\
[[waiver]]
clause = "WS-CLOCK-1"
reason = "rounds the last unit"
issue = "https://example.org/issues/7"
expires = 2099-12-31
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    return path


def waiver(case: str = "*", expires: str = "2099-12-31", clause: str = "WS-CLOCK-1") -> Waiver:
    return Waiver(
        clause=clause,
        case=case,
        reason="known",
        issue="https://example.org/7",
        expires=dt.date.fromisoformat(expires),
    )


def fails() -> str | None:
    return "differs"


def passes() -> str | None:
    return None


def crashes() -> str | None:
    raise PortFault("gone")


def run(*waivers: Waiver, clause: str | None = None, **judges: Any) -> Report:
    """Cases of one check about two clauses; the case's name is the argument's."""
    cases = tuple(Case(name=name, judge=judge) for name, judge in judges.items())
    check = Check(
        id="x/y",
        clauses=("WS-CLOCK-1", "WS-CLOCK-2"),
        profile="session",
        tolerance="A",
        cases=lambda _: cases,
    )
    return runner.run(ReferencePort(), oracle(), "some", [check], clause=clause, accepted=waivers)


def verdicts(report: Report) -> list[str]:
    return [case.verdict.value for case in report.cases]


def test_ws_conformance_20_a_failure_that_is_waived_counts_as_waived() -> None:
    report = run(waiver(), a=fails, b=passes)
    assert verdicts(report) == ["waived", "pass", "pass"]
    assert report.exit_status == 0
    assert report.cases[0].detail.startswith(
        "waived until 2099-12-31: known (https://example.org/7); differs"
    )
    assert report.cases[-1].id == "waivers:WS-CLOCK-1:*"


def test_ws_conformance_20_a_pattern_limits_it_to_some_cases() -> None:
    report = run(waiver("x/y:a*"), a1=fails, b=fails)
    assert verdicts(report) == ["waived", "fail", "pass"]
    assert report.exit_status == 1


def test_ws_conformance_20_an_error_is_never_waived() -> None:
    report = run(waiver(), a=fails, b=crashes)
    assert verdicts(report) == ["waived", "error", "pass"]
    assert report.exit_status == 1


@pytest.mark.parametrize(
    ("given", "judges", "found", "says"),
    [
        (waiver(expires="2020-01-01"), {"a": fails}, ["fail", "fail"], "expired on 2020-01-01"),
        (waiver("x/y:z"), {"a": passes}, ["pass", "fail"], "matches no case"),
        (waiver(), {"a": passes, "b": passes}, ["pass", "pass", "fail"], "none of its 2 cases"),
        (waiver(), {"a": crashes}, ["error", "fail"], "none of its 1 cases"),
    ],
    ids=["expired", "unmatched", "unexpected pass", "only an error"],
)
def test_ws_conformance_20_a_waiver_that_is_not_needed_fails_the_run(
    given: Waiver, judges: dict[str, Any], found: list[str], says: str
) -> None:
    report = run(given, **judges)
    assert verdicts(report) == found
    assert report.exit_status == 1
    assert says in report.cases[-1].detail
    assert "https://example.org/7" in report.cases[-1].detail


def test_ws_conformance_20_a_case_about_several_clauses_is_covered_by_each() -> None:
    assert verdicts(run(waiver(clause="WS-CLOCK-2"), a=fails)) == ["waived", "pass"]


def test_ws_conformance_20_its_last_day_ends_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a machine where the next day has begun already does not count."""

    class Clock:
        @staticmethod
        def now(zone: dt.tzinfo | None = None) -> dt.datetime:
            utc = dt.datetime(2030, 1, 31, 23, 30, tzinfo=dt.UTC)
            return utc.astimezone(zone or dt.timezone(dt.timedelta(hours=9)))

    monkeypatch.setattr(runner, "dt", SimpleNamespace(datetime=Clock, UTC=dt.UTC))
    assert verdicts(run(waiver(expires="2030-01-31"), a=fails)) == ["waived", "pass"]
    assert verdicts(run(waiver(expires="2030-01-30"), a=fails)) == ["fail", "fail"]


def test_a_waiver_of_what_was_not_asked_is_left_alone() -> None:
    """A run of one clause does not accuse the waivers of the others."""
    assert verdicts(run(waiver(), clause="WS-CLOCK-2", a=passes)) == ["pass"]
    assert verdicts(run(waiver(clause="WS-CLOCK-3"), a=passes)) == ["pass"]


def test_a_waiver_holds_on_its_last_day() -> None:
    day = dt.date(2030, 1, 31)
    assert not waiver(expires="2030-01-31").expired(day)
    assert waiver(expires="2030-01-31").expired(day + dt.timedelta(days=1))


def test_a_file_is_read(tmp_path: Path) -> None:
    text = GOOD + '[[waiver]]\ncase = "x/y:*"' + GOOD.removeprefix("[[waiver]]")
    first, second = read(written(tmp_path, text))
    assert (first.clause, first.case, first.expires) == ("WS-CLOCK-1", "*", dt.date(2099, 12, 31))
    assert second.case == "x/y:*"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[[waiver]]", "[[waiver", "a TOML file"),
        ("[[waiver]]", "[waiver]", "tables"),
        ("[[waiver]]", "[[waver]]", "tables"),
        ('"WS-CLOCK-1"', '"WS-CLOCK-99"', "waiver 1: clause: got 'WS-CLOCK-99'"),
        ('clause = "WS-CLOCK-1"\n', "", "waiver 1: clause: got None"),
        ("rounds the last unit", "  ", "waiver 1: reason"),
        ("https://example.org/issues/7", "see chat", "waiver 1: issue"),
        ("2099-12-31", '"2099-12-31"', "waiver 1: expires"),
        ("2099-12-31", "2099-12-31T00:00:00", "waiver 1: expires"),
        ("expires = 2099-12-31\n", "", "waiver 1: expires: got None"),
        ("reason", "raeson", "a table of clause, case"),
        ("expires", 'case = ""\nexpires', "waiver 1: case"),
        ("2099-12-31\n", "2099-12-31\n" + GOOD, "waiver 2: .*each clause and case once"),
        (GOOD, "", "tables: got 'none'"),
        (GOOD, "waiver = [1]", "waiver 1: got 1"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    """WS-CONFORMANCE-20: where, what, and what is allowed."""
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError, match=says) as error:
        read(written(tmp_path, GOOD.replace(old, new)))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.toml")
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="a TOML file"):
        read(path)
