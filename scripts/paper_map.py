"""Writes `spec/README.md`: from each statement of the paper to its clauses, code and proof.

The statements are in `spec/paper.toml`; where a clause lives and what verifies it is read from the
docstrings and the clauses themselves. Run it after clauses or their code have moved.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import attrs
import cattrs

from spec.citations import code_of_clauses
from spec.clauses import registry

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "spec/README.md"
PACKAGES = ("reference", "spec", "optimized", "simulator", "wanstreamer")

HEAD = """# The specification

One page a topic, numbered clauses `WS-TOPIC-n`, each with its level, its source (PAPER, DERIVED or
CHOICE with its reason) and what verifies it. The text of the pages is the source; `spec.clauses`
reads it. This page is made by `scripts/paper_map.py`; do not edit it.

## From the paper to the code

| paper | statement | clause | code | verified by |
|---|---|---|---|---|
"""


@attrs.frozen(kw_only=True)
class Statement:
    """One statement of the paper, in our words, and the clauses that take it up."""

    where: str
    says: str
    clauses: tuple[str, ...]


def statements() -> tuple[Statement, ...]:
    """The statements of `spec/paper.toml`, in the paper's order."""
    data = tomllib.loads((ROOT / "spec/paper.toml").read_text(encoding="utf-8"))
    return cattrs.structure(data["statement"], tuple[Statement, ...])


def page() -> str:
    """The whole page."""
    clauses, places = registry(), code_of_clauses(PACKAGES)
    rows = []
    for statement in statements():
        where, says = statement.where, statement.says
        for name in statement.clauses:
            clause = clauses[name]
            link = f"[{name}]({Path(clause.file).name}#{name.lower()})"
            named = [str(place) for place in places.get(name, []) if place.name]
            code = "<br>".join((named or ["(a rule of the pages)"])[:2])
            proof = "<br>".join(v.partition(":")[2] for v in clause.verified_by)
            rows.append(f"| {where} | {says} | {link} | {code} | {proof} |")
            where, says = "", ""
    return HEAD + "\n".join(rows) + "\n\n" + choices()


def choices() -> str:
    """Where the paper is silent: every clause that is our choice, with its reason."""
    rows = [
        f"| [{c.id}]({Path(c.file).name}#{c.id.lower()})"
        f" | {c.provenance.removeprefix('CHOICE: ')} |"
        for c in registry().values()
        if c.provenance.startswith("CHOICE")
    ]
    head = "## Where the paper is silent\n\n| clause | reason and alternatives |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
