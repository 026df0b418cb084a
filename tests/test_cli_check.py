"""``wanstreamer check`` as it is typed: what it prints, what it leaves behind, how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.reporting import events
from conformance.reporting.rendering.files import RENDERERS
from spec.clauses import registry
from wanstreamer.cli import register, status_of

CLAUSE = "WS-RECIPE-2"
WAIVER = f"""\
[[waiver]]
clause = "{CLAUSE}"
reason = "known"
issue = "https://example.org/7"
expires = 2099-12-31
"""


@pytest.fixture(autouse=True, scope="module")
def commands() -> None:
    register()


def test_one_clause_is_shown_with_its_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["check", "--clause", CLAUSE, "--report", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{CLAUSE} (MUST), spec/recipe.md:" in said
    assert " ".join(registry()[CLAUSE].statement.split()) in said
    assert {p.name for p in tmp_path.iterdir()} == {events.LOG, *RENDERERS}


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["check", "--clause", CLAUSE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "pass"


def test_a_waiver_that_is_not_needed_fails_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "waivers.toml"
    file.write_text(WAIVER)
    assert status_of(["check", "--clause", CLAUSE, "--waivers", str(file)]) == 1
    assert "is not needed" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--waivers", "no-such.toml"], "--waivers: got 'no-such.toml'"),
        (["--profile", "maths"], "profile: got 'maths'"),
        (["--clause", "WS-X-1"], "clause: got 'WS-X-1'"),
        (["--port", "nobody"], "port: got 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["check", *arguments]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_folder_that_cannot_be_written_is_found_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert status_of(["check", "--report", str(tmp_path / "file")]) == 2
    assert "a writable folder" in capsys.readouterr().err


def test_a_cut_off_run_is_told_by_the_report_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = events.run_started("p", None, None)
    lines: list[events.Event] = [first, events.CaseStarted(id="a/b:c")]
    (tmp_path / events.LOG).write_text("".join(events.as_line(e) + "\n" for e in lines))
    assert status_of(["report", str(tmp_path)]) == 3
    assert "cut off in a/b:c" in capsys.readouterr().out


def test_the_listing_names_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["check", "--list"]) == 0
    said = capsys.readouterr().out
    for title in ("checks, in the order", "mutants: known-bad", "benign variants"):
        assert title in said
    assert "clauses have a check" in said
