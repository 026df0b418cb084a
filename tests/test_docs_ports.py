"""The pages for implementers say what is true: their example runs, and their commands exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest
from port_judging import judged

from conformance.reporting.waivers import read
from spec.clauses import ID_PATTERN, registry
from wanstreamer.cli import commands, register

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/ci.md", "docs/port-it-in-a-day.md")
COMMAND = re.compile(r"^ {4,}(wanstreamer .*)$|`(wanstreamer [^`\n]+)`", re.MULTILINE)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def block(page: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found.group(1)


def test_the_example_port_is_honest_and_its_formula_passes() -> None:
    """Run as it stands on the page."""
    module = ModuleType("myport")
    exec(block("docs/port-it-in-a-day.md", "python"), vars(module))  # noqa: S102 - our own page
    for clause in ("WS-CONFORMANCE-2", "WS-FLOW-1"):
        report = judged(module.Port(), clause=clause)
        assert report.exit_status == 0, report.cases
    # What it claims and lacks is a failure, as the page says.
    assert judged(module.Port(), clause="WS-RECIPE-1").exit_status == 1


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_exists_with_its_options(page: str) -> None:
    register()
    found = [a or b for a, b in COMMAND.findall(text(page))]
    assert found
    for line in found:
        command: click.Command = commands
        words = shlex.split(line)[1:]
        while isinstance(command, click.Group):
            assert words, line
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        command.make_parser(click.Context(command, resilient_parsing=True)).parse_args(words)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_clause_of_the_page_exists(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        if target != "badge.svg":
            assert (ROOT / "docs" / target).is_file(), target
    assert {m.group() for m in ID_PATTERN.finditer(text(page))} <= registry().keys()


def test_the_waiver_on_the_page_is_one(tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(block("docs/ci.md", "toml"))
    (waiver,) = read(path)
    assert waiver.clause == tomllib.loads(path.read_text())["waiver"][0]["clause"]


def test_the_mutants_of_the_page_are_there() -> None:
    from conformance.mutants import MUTANTS

    named = set(re.findall(r"mutant:([a-z0-9-]+)", "".join(map(text, PAGES))))
    assert named
    assert named <= set(MUTANTS)
