"""Which code cites which clause, read from docstrings (WS-CLAUSES-1).

Source: CHOICE (design §12: the id of a clause is repeated in the docstring of what implements it).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from spec.clauses import ID_PATTERN

ROOT: Final = Path(__file__).resolve().parents[1]
RANGE: Final = re.compile(ID_PATTERN.pattern + r"\s+to\s+" + ID_PATTERN.pattern)


@attrs.frozen(kw_only=True)
class Citation:
    """A file, relative to the checkout, and the function or class in it whose docstring cites;
    ``name`` is empty where another docstring of the file does."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"`{self.file}` {self.name}".rstrip()


def ids_in(text: str) -> Iterator[str]:
    """Clause ids in a text; a range, first to last, names those between them too."""
    for match in ID_PATTERN.finditer(text):
        yield match.group()
    for topic, first, other, last in RANGE.findall(text):
        if topic == other:
            yield from (f"WS-{topic}-{n}" for n in range(int(first) + 1, int(last)))


def cited_in(path: Path) -> Iterator[tuple[str, str]]:
    """(clause id, name of the function or class whose docstring cites it) in one file; without a
    name, the clauses that only the strings of the module and of its attributes cite."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for match in ID_PATTERN.finditer(ast.get_docstring(node) or ""):
                named.add(match.group())
                yield match.group(), node.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for clause in ids_in(str(node.value.value)):
                if clause not in named:
                    named.add(clause)
                    yield clause, ""


def code_of_clauses(
    folders: Sequence[str], leave_out: tuple[str, ...] = ()
) -> dict[str, list[Citation]]:
    """Places that cite each clause: first the file that has the topic's name.

    Args:
        folders: packages of the checkout.
        leave_out: how the paths begin that only judge a clause.
    """
    places: dict[str, list[tuple[bool, Citation]]] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = str(path.relative_to(ROOT))
            if file.startswith(leave_out):
                continue
            for clause, name in cited_in(path):
                elsewhere = path.stem.upper() != clause.split("-")[1]
                place = (elsewhere, Citation(file=file, name=name))
                if place not in places.setdefault(clause, []):
                    places[clause].append(place)
    return {
        clause: [place for _, place in sorted(found, key=lambda pair: pair[0])]
        for clause, found in places.items()
    }
