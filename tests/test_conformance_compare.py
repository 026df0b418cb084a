"""Reports side by side: what differs comes first, and what became worse is counted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import attrs
import pytest
from report_samples import EVERY, HOSTILE
from rich.console import Console
from test_report_browser import Page

from conformance.reporting.compare import Comparison, as_json, compare, show, write
from conformance.reporting.rendering.files import put
from conformance.reporting.report import Report
from conformance.reporting.report import as_json as report_json
from conformance.verdicts import CaseResult, Verdict
from spec.errors import PortError
from wanstreamer.cli import register, status_of

PASS, FAIL = Verdict.PASS, Verdict.FAIL


def written(folder: Path, *verdicts: Verdict, port: str = "p") -> Path:
    """A report of cases a, b, ... of a clause each."""
    cases = tuple(
        CaseResult(id=f"x/y:{name}", clause=f"WS-{name.upper()}-1", verdict=verdict, detail=name)
        for name, verdict in zip("abcdef", verdicts, strict=False)
    )
    report = Report(port=port, profile="all", verdict=PASS, exit_status=0, cases=cases)
    put(folder / "report.json", json.dumps(report_json(report)))
    return folder


def names(comparison: Comparison) -> list[str]:
    return [row.name for row in comparison.cases if row.differs]


def test_differences_come_first_and_regressions_before_them(tmp_path: Path) -> None:
    """a: alike; b: better; c: worse; d: judged in one only."""
    base = written(tmp_path / "1", PASS, FAIL, PASS)
    other = written(tmp_path / "2", PASS, PASS, Verdict.ERROR, PASS)
    comparison = compare([base, other])
    assert [row.name for row in comparison.cases] == ["x/y:c", "x/y:b", "x/y:d", "x/y:a"]
    assert comparison.clauses[0].name == "WS-C-1"
    assert [row.name for row in comparison.regressions] == ["x/y:c"]
    assert comparison.cases[2].verdicts == (None, PASS)


def test_three_reports_and_the_worst_of_a_clause(tmp_path: Path) -> None:
    folders = [written(tmp_path / str(n), PASS, verdict) for n, verdict in enumerate([PASS] * 3)]
    assert names(compare(folders)) == []
    folders[2] = written(tmp_path / "2", PASS, FAIL)
    comparison = compare(folders)
    assert comparison.cases[0].verdicts == (PASS, PASS, FAIL)
    assert json.loads(json.dumps(as_json(comparison)))["regressions"] == 1


def test_the_terminal_shows_what_differs(tmp_path: Path) -> None:
    comparison = compare([written(tmp_path / "1", PASS, FAIL), written(tmp_path / "2", FAIL, FAIL)])
    stream = io.StringIO()
    show(comparison, Console(file=stream, width=120, no_color=True))
    text = stream.getvalue()
    assert "1 of 2 clauses differ" in text
    assert "1 of 2 cases differ" in text
    assert "1 cases ended worse than in A" in text
    assert "x/y:b" not in text


def test_the_page_is_whole_safe_and_has_every_difference(tmp_path: Path) -> None:
    put(tmp_path / "1/report.json", json.dumps(report_json(EVERY)))
    put(tmp_path / "2/report.json", json.dumps(report_json(HOSTILE)))
    html, data = write(compare([tmp_path / "1", tmp_path / "2"]), tmp_path / "out")
    page = Page(html.read_text(encoding="utf-8"))
    assert page.unbalanced == []
    assert not {tag for tag, _, _ in page.elements} & {"script", "img", "iframe", "link"}
    assert all("scroll" in above for tag, _, above in page.elements if tag == "table")
    ids = {found["id"] for _, found, _ in page.elements if "id" in found}
    hrefs = {found["href"] for _, found, _ in page.elements if "href" in found}
    assert {href.removeprefix("#") for href in hrefs} <= ids
    text = "".join(page.text)
    assert all(case.id in text for case in EVERY.cases)
    assert "<script>alert(1)</script>" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"compare.html", "compare.json"}
    assert json.loads(data.read_text())["reports"][0]["port"] == EVERY.port


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("nonsense", "a report.json of"),
        ("[]", "a report.json of"),
        ('{"port": "p"}', "a report.json of"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    tmp_path: Path, text: str | None, says: str
) -> None:
    base = written(tmp_path / "1", PASS)
    if text is not None:
        put(tmp_path / "2/report.json", text)
    with pytest.raises(PortError, match=says) as error:
        compare([base, tmp_path / "2"])
    assert "\n" not in str(error.value)
    with pytest.raises(PortError, match="two folders or more"):
        compare([base])


def test_the_commands_and_their_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register()
    base, worse = written(tmp_path / "1", PASS), written(tmp_path / "2", FAIL)
    assert status_of(["compare", str(base), str(base), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == []
    out = str(tmp_path / "out")
    assert status_of(["compare", str(base), str(worse), "--report", out]) == 1
    assert (tmp_path / "out/compare.html").is_file()
    assert status_of(["compare", str(base)]) == 2
    assert status_of(["report", str(base)]) == 2
    assert "a log of a run" in capsys.readouterr().err


def test_a_report_in_another_order_is_the_same(tmp_path: Path) -> None:
    """Cases are matched by id, not by place."""
    report = attrs.evolve(EVERY, cases=EVERY.cases[::-1])
    put(tmp_path / "1/report.json", json.dumps(report_json(EVERY)))
    put(tmp_path / "2/report.json", json.dumps(report_json(report)))
    assert names(compare([tmp_path / "1", tmp_path / "2"])) == []
