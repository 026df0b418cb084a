"""WS-CONFORMANCE-13: the report as JSON, as a file and as a table, and the listing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from conformance import runner
from conformance.reporting.rendering.files import RENDERERS, write
from conformance.reporting.report import Report, as_json, by_check, show, worst
from conformance.verdicts import CaseResult, Verdict
from spec.errors import PortError

REPORT = Report(
    port="some",
    profile="all",
    verdict=Verdict.FAIL,
    exit_status=1,
    cases=(
        CaseResult(id="a/b:c", clause="WS-A-1", verdict=Verdict.PASS),
        CaseResult(id="a/b:d", clause="WS-A-2", verdict=Verdict.FAIL, detail="off [by] one"),
    ),
)


def test_ws_conformance_13_keys() -> None:
    data = json.loads(json.dumps(as_json(REPORT)))
    assert list(data) == ["port", "profile", "verdict", "counts", "cases"]
    assert data["counts"] == {
        "pass": 1, "fail": 1, "unsupported": 0, "waived": 0, "error": 0, "inconclusive": 0,
    }  # fmt: skip
    assert data["cases"][1] == {
        "id": "a/b:d", "clause": "WS-A-2", "verdict": "fail", "detail": "off [by] one",
    }  # fmt: skip


def test_ws_conformance_13_files_are_whole_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write(REPORT, folder)
    assert json.loads((folder / "report.json").read_text()) == as_json(REPORT)
    assert {p.name for p in folder.iterdir()} == set(RENDERERS)
    (tmp_path / "file").write_text("")
    with pytest.raises(PortError, match="a writable folder"):
        write(REPORT, tmp_path / "file")
    # A file that cannot take its place leaves neither half a file nor a trace.
    (tmp_path / "taken" / "report.json").mkdir(parents=True)
    with pytest.raises(PortError, match="a writable folder"):
        write(REPORT, tmp_path / "taken")
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["report.json"]


def shown(report: Report) -> str:
    stream = io.StringIO()
    show(report, Console(file=stream, width=100, no_color=True))
    return stream.getvalue()


def test_table_shows_the_failure_as_it_is() -> None:
    text = shown(REPORT)
    assert "fail a/b:d [WS-A-2]" in text
    assert "off [by] one" in text
    assert "verdict: fail (1 pass, 1 fail)" in text


def test_table_cannot_be_steered_by_a_port() -> None:
    """A name and a detail that would move the cursor, colour the screen or turn the line round."""
    evil = "\x1b[2J\x1b]0;owned\x07[bold]x\u202egnp\r\x08"
    case = CaseResult(id="a/b:c", clause="WS-A-1", verdict=Verdict.ERROR, detail=evil, blame="port")
    text = shown(attrs.evolve(REPORT, port=evil, cases=(case,), reasons=(evil,)))
    assert not [c for c in text if c in "\x1b\x07\x08\r\u202e"]
    assert "\\x1b[2J\\x1b]0;owned\\x07[bold]x\\u202egnp" in text


def test_a_row_is_unsupported_only_when_all_its_cases_are() -> None:
    lacking = CaseResult(id="a/b:e", clause="WS-A-1", verdict=Verdict.UNSUPPORTED)
    assert worst([REPORT.cases[0], lacking]) is Verdict.PASS
    assert worst([*REPORT.cases, lacking]) is Verdict.FAIL
    assert worst([lacking]) is Verdict.UNSUPPORTED


def test_table_says_why_a_run_without_a_failure_is_no_pass() -> None:
    assert "note: too few" in shown(attrs.evolve(REPORT, reasons=("too few",)))


def test_ws_conformance_13_listing() -> None:
    listing = json.loads(json.dumps(runner.listing()))
    assert list(listing) == ["clauses", "checks", "mutants", "benign"]
    assert {"name", "clause", "description"} == set(listing["mutants"][0])
    assert set(listing["checks"][0]["clauses"]) <= set(listing["clauses"])


def test_check_writes_its_report(tmp_path: Path) -> None:
    report = runner.check("reference", clause="WS-EXCHANGE-7", report_dir=tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == as_json(report)
    assert report.exit_status == 0
    # No profile was chosen.
    assert as_json(report)["profile"] == "all"


def test_ws_conformance_13_the_check_of_a_case_stands_before_the_first_colon() -> None:
    """A case may have colons in its name; a row of the table is a check."""
    case = CaseResult(id="a/b:c:d", clause="WS-A-1", verdict=Verdict.PASS)
    assert case.check == "a/b"
    assert list(by_check((case, *REPORT.cases))) == ["a/b"]
