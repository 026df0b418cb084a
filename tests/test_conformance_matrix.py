"""WS-CONFORMANCE-22: no clause lacks code, check or mutant, and no text moved under its checks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from conformance.checks.registry import CHECKS, CLAUSES
from conformance.mutants import MUTANTS
from conformance.reporting import trace_matrix
from conformance.reporting.trace_matrix import Exempt, Row, changed, exempt, gaps, kill_table, rows
from spec.citations import Citation
from spec.clauses import registry

ROOT = Path(__file__).resolve().parents[1]


def listed(found: tuple[str, ...]) -> None:
    """Fail with every gap, each on its own line."""
    assert not found, "\n".join(["", *found])


def test_ws_conformance_22_no_clause_lacks_code_check_or_mutant() -> None:
    """Fill a gap with a check and a mutant, after which scripts/kill_table.py is run; or say in
    conformance/data/not_judged.toml why no port can be asked, and fill it with a defect of ours in
    tests/own_mutants/, after which scripts/own_kill_table.py is run."""
    listed(gaps(rows()))


def test_ws_conformance_22_every_text_is_the_one_that_was_approved() -> None:
    """WS-CLAUSES-2: read the clause and its checks again, then scripts/approve_clauses.py."""
    listed(changed())


def test_ws_conformance_14_the_kill_table_is_of_the_mutants_that_there_are() -> None:
    """Run scripts/kill_table.py when a mutant is new, gone or names another clause."""
    assert {n: row.clause for n, row in kill_table().items()} == {
        n: mutant.clause for n, mutant in MUTANTS.items()
    }
    assert [n for n, row in kill_table().items() if row.clause not in row.killed_by] == []


def test_the_kill_table_names_checks_that_judge_those_clauses() -> None:
    for name, row in kill_table().items():
        for clause, case in row.killed_by.items():
            assert clause in CHECKS[case.partition(":")[0]].clauses, (name, clause, case)


def test_the_page_is_up_to_date() -> None:
    """Run scripts/conformance_matrix.py when clauses, checks, code or the tables have moved."""
    page = script("conformance_matrix").page()
    assert (ROOT / "docs/conformance-matrix.md").read_text(encoding="utf-8") == page


def script(name: str) -> ModuleType:
    """A script as a module, though scripts are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_reason_is_still_needed_and_every_topic_exists() -> None:
    topics = {clause.topic for clause in registry().values()}
    named = {topic for group in exempt() for topic in group.topics}
    assert named - topics == set()
    assert all(group.reason and (group.topics or group.clauses) for group in exempt())


WHOLE = Row(
    clause=registry()["WS-CLOCK-2"],
    code=(Citation(file="spec/clock.py", name="f"),),
    checks=("codec/geometry",),
    mutants=("some",),
    oracles=(),
    own=(),
    exempt="",
)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ()),
        ({"code": ()}, ("WS-CLOCK-2: no docstring of the code cites it",)),
        ({"mutants": ()}, ("WS-CLOCK-2: no killing mutant",)),
        ({"checks": (), "mutants": ()}, ("WS-CLOCK-2: no check", "WS-CLOCK-2: no killing mutant")),
        ({"checks": (), "mutants": (), "exempt": "a reason", "own": ("some",)}, ()),
        (
            {"checks": (), "mutants": (), "exempt": "a reason"},
            ("WS-CLOCK-2: exempt, and no defect of ours that its tests notice",),
        ),
        ({"clause": attrs.evolve(registry()["WS-CLOCK-2"], level="MAY"), "checks": ()}, ()),
    ],
    ids=["whole", "no code", "no mutant", "no check", "exempt", "exempt, no defect", "no MUST"],
)
def test_each_kind_of_gap_is_seen(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: tuple[str, ...]
) -> None:
    monkeypatch.setattr(trace_matrix, "exempt", lambda: ())
    assert gaps([attrs.evolve(WHOLE, **change)]) == says


def test_an_exemption_without_need_or_clause_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Exempt(reason="a reason", clauses=("WS-CLOCK-2", "WS-NOWHERE-1"))
    monkeypatch.setattr(trace_matrix, "exempt", lambda: (group,))
    assert gaps([attrs.evolve(WHOLE, exempt="a reason")]) == (
        "WS-NOWHERE-1: exempt, but not written",
        "WS-CLOCK-2: is judged and killed; take it off not_judged.toml",
    )


def test_an_exempt_topic_without_need_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-CONFORMANCE-22: a topic needs it as long as one of its clauses does."""
    group = Exempt(reason="a reason", topics=("CLOCK",))
    monkeypatch.setattr(trace_matrix, "exempt", lambda: (group,))
    whole = attrs.evolve(WHOLE, exempt="a reason")
    lacking = attrs.evolve(whole, mutants=(), own=("some",))
    needless = "CLOCK: each of its clauses is judged and killed; take it off not_judged.toml"
    assert gaps([whole, whole]) == (needless,)
    assert gaps([whole, lacking]) == ()


def test_a_changed_text_names_the_clause_and_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-CLAUSES-2: also a clause that is new, and one that is gone."""
    digests = {c: registry()[c].text_sha256 for c in CLAUSES} | {"WS-NOWHERE-1": ""}
    digests["WS-CLOCK-2"] = "0" * 64
    del digests["WS-CLOCK-3"]
    monkeypatch.setattr(trace_matrix, "approved", lambda: digests)
    first, second, third = sorted(changed())
    assert first.startswith("WS-CLOCK-2 has changed: read again codec/geometry")
    assert first.endswith("then run scripts/approve_clauses.py WS-CLOCK-2")
    assert second.startswith("WS-CLOCK-3 was never approved: read again ")
    assert third == "WS-NOWHERE-1 is approved but not written"


def test_approving_writes_the_present_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what was named is approved, and the rest stays."""
    approve = script("approve_clauses")
    file = tmp_path / "approved.toml"
    monkeypatch.setattr(approve, "APPROVED", file)
    monkeypatch.setattr(approve, "approved", lambda: {"WS-CLOCK-2": "old", "WS-CLOCK-3": "old"})
    assert approve.main(["WS-CLOCK-2"]) == 0
    assert f'WS-CLOCK-2 = "{registry()["WS-CLOCK-2"].text_sha256}"\n' in file.read_text()
    assert 'WS-CLOCK-3 = "old"\n' in file.read_text()
    assert approve.main(["WS-NOWHERE-1"]) == 2
    assert "no check judges WS-NOWHERE-1" in capsys.readouterr().err
