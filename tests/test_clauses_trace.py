"""The trace from clause to code to proof, walked in both directions (WS-CLAUSES-1)."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance.checks.registry import CHECKS
from spec.clauses import ID_PATTERN, registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("spec", "reference", "optimized", "simulator", "conformance", "wanstreamer")

RANGE = re.compile(ID_PATTERN.pattern + r"\s+to\s+" + ID_PATTERN.pattern)

# These show that a clause holds or breaks it on purpose; citing it there implements nothing.
JUDGES = ("tests", "conformance/checks", "conformance/mutants")


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def ids_in(text: str) -> Iterator[str]:
    """Clause ids in a text; a range, first to last, names those between them too."""
    for match in ID_PATTERN.finditer(text):
        yield match.group()
    for topic, first, other, last in RANGE.findall(text):
        if topic == other:
            yield from (f"WS-{topic}-{n}" for n in range(int(first) + 1, int(last)))


@functools.cache
def ids_in_docstrings(path: Path) -> frozenset[str]:
    """Clause ids in the strings that stand as statements: docstrings, of attributes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for name in ids_in(node.value.value)
    )


@functools.cache
def ids_in_text(path: Path) -> frozenset[str]:
    return frozenset(
        match.group() for match in ID_PATTERN.finditer(path.read_text(encoding="utf-8"))
    )


def none(broken: Iterable[str]) -> None:
    """Fail with every broken link, each on its own line."""
    listed = sorted(broken)
    assert not listed, "\n".join(["", *listed])


def test_every_cited_clause_exists() -> None:
    """WS-CLAUSES-1: no docstring points at a clause that nobody wrote."""
    unknown = {
        f"{path.relative_to(ROOT)}: {clause_id}"
        for path in python_files(*PACKAGES, "tests")
        for clause_id in ids_in_docstrings(path) - registry().keys()
    }
    none(unknown)


def test_every_clause_is_implemented() -> None:
    """WS-CLAUSES-1: each clause is cited by a docstring of the code it binds."""
    cited = {
        clause_id
        for path in python_files(*PACKAGES)
        if not str(path.relative_to(ROOT)).startswith(JUDGES)
        for clause_id in ids_in_docstrings(path)
    }
    none(registry().keys() - cited)


def test_every_clause_is_verified() -> None:
    """WS-CLAUSES-1: each clause is cited by a test's docstring or by a conformance check."""
    cited = {i for path in python_files("tests") for i in ids_in_docstrings(path)} | {
        i for path in python_files("conformance/checks") for i in ids_in_text(path)
    }
    none(registry().keys() - cited)


def test_every_named_test_cites_its_clause() -> None:
    """WS-CLAUSES-1: a `test:` verifier exists and says which clause it verifies."""
    broken = [
        f"{clause.file}:{clause.line}: {clause.id}: {path}"
        for clause in registry().values()
        for kind, _, path in (entry.partition(":") for entry in clause.verified_by)
        if kind == "test"
        and not ((ROOT / path).is_file() and clause.id in ids_in_docstrings(ROOT / path))
    ]
    none(broken)


def test_every_named_check_exists() -> None:
    """WS-CLAUSES-1: a `check:` verifier is a check of the conformance suite."""
    named = {
        name
        for clause in registry().values()
        for kind, _, name in (entry.partition(":") for entry in clause.verified_by)
        if kind == "check"
    }
    none(named - set(CHECKS))
