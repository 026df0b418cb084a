"""The table from the paper to the code is complete and up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from spec.clauses import registry

ROOT = Path(__file__).resolve().parents[1]


def paper_map() -> ModuleType:
    """`scripts/paper_map.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("paper_map", ROOT / "scripts/paper_map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_statement_names_clauses_that_exist() -> None:
    """A statement of the paper without a clause, or with a wrong one, is a gap."""
    for statement in paper_map().statements():
        assert statement.clauses, statement.says
        assert set(statement.clauses) <= registry().keys(), statement.says


def test_every_clause_from_the_paper_is_in_the_table() -> None:
    """What a clause takes from the paper, a reviewer finds in the table."""
    listed = {name for s in paper_map().statements() for name in s.clauses}
    from_paper = {c.id for c in registry().values() if c.provenance.startswith("PAPER")}
    assert from_paper <= listed, sorted(from_paper - listed)


def test_the_page_is_up_to_date() -> None:
    """Run `python scripts/paper_map.py` when clauses or their code have moved."""
    assert (ROOT / "spec/README.md").read_text(encoding="utf-8") == paper_map().page()
