"""WS-CONFORMANCE-13: the report as JSON, as a file and as a table, and the listing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from conformance import runner
from conformance.report import Report, as_json, show, write
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


def test_ws_conformance_13_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = write(REPORT, tmp_path / "new" / "folder")
    assert json.loads(path.read_text()) == as_json(REPORT)
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(PortError, match="a writable folder"):
        write(REPORT, tmp_path / "file")


def test_table_shows_the_failure_as_it_is() -> None:
    stream = io.StringIO()
    show(REPORT, Console(file=stream, width=100, no_color=True))
    text = stream.getvalue()
    assert "fail a/b:d [WS-A-2]" in text
    assert "off [by] one" in text
    assert "verdict: fail (1 pass, 1 fail)" in text


def test_ws_conformance_13_listing() -> None:
    listing = json.loads(json.dumps(runner.listing()))
    assert list(listing) == ["clauses", "checks", "mutants", "benign"]
    assert {"name", "clause", "description"} == set(listing["mutants"][0])
    assert set(listing["checks"][0]["clauses"]) <= set(listing["clauses"])


def test_check_writes_its_report(tmp_path: Path) -> None:
    report = runner.check("reference", clause="WS-EXCHANGE-7", report_dir=tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == as_json(report)
    assert report.exit_status == 0
