"""Defects of our own code: each fits, and was noticed by a test of its clause.

These tests verify no clause by themselves: with a defect in place they fail whatever it breaks.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from conformance.reporting.own_mutants import own_kills, own_mutants, verifiers_of
from spec.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def test_each_defect_of_ours_fits_its_file_and_was_noticed() -> None:
    """Run scripts/own_kill_table.py when a defect is new or another one."""
    mutants = own_mutants()
    assert {n: row.sha256 for n, row in own_kills().items()} == {
        n: mutant.sha256 for n, mutant in mutants.items()
    }
    for name, mutant in mutants.items():
        broken = mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
        if mutant.file.endswith(".py"):
            ast.parse(broken, mutant.file)
        assert not mutant.file.startswith("tests/"), name


def test_a_defect_of_ours_is_noticed_by_a_test_of_its_clause() -> None:
    for name, row in own_kills().items():
        file, _, test = row.killed_by.partition("::")
        assert file in verifiers_of(row.clause), name
        function = test.partition("[")[0].rpartition("::")[2]
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_a_defect_that_no_longer_fits_is_one_line() -> None:
    mutant = next(iter(own_mutants().values()))
    with pytest.raises(ConfigError, match=r"how often `old` stands .*: got 0; allowed: once"):
        mutant.applied("another text")


def test_a_name_that_stands_twice_is_one_line(tmp_path: Path) -> None:
    entry = '[[mutant]]\nname = "a"\nclause = "c"\nbreaks = "b"\nfile = "f"\nold = "o"\nnew = "n"\n'
    (tmp_path / "topic.toml").write_text(entry * 2, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"topic\.toml: got 'a'"):
        own_mutants(tmp_path)
    (tmp_path / "topic.toml").write_text(entry.replace("breaks", "brakes"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own mutants of topic\.toml"):
        own_mutants(tmp_path)
