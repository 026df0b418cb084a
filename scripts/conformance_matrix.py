"""Writes `docs/conformance-matrix.md`: each clause with its code, checks, mutants and oracle.

Run it after clauses, checks, the kill table or the suite's facts have changed.
"""

from __future__ import annotations

from pathlib import Path

from conformance.checks.registry import CHECKS
from conformance.reporting.rendering.files import put
from conformance.reporting.trace_matrix import Row, exempt, kill_table, rows

PAGE = Path(__file__).resolve().parents[1] / "docs/conformance-matrix.md"
SHOWN = 4

HEAD = """# Who judges which clause

From each clause to the code that implements it, the checks that judge it, the known-bad ports
(mutants) that they find, and what the expected numbers come from. This page is made by
`scripts/conformance_matrix.py` out of the docstrings, the registry of checks, and the tables
`kill_table.json` and `suite_facts.json` in `conformance/data/`; do not edit it.
`tests/test_conformance_matrix.py` fails when a MUST clause lacks code, a check or a mutant and is
not listed under "What is not judged".
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *summary(), *matrix(), *not_judged(), *kills()]) + "\n"


def summary() -> list[str]:
    """The numbers."""
    must = [row for row in rows() if row.clause.level == "MUST"]
    judged = [row for row in must if row.checks]
    killing = [row for row in judged if row.mutants]
    says = (
        f"{len(rows())} clauses, {len(must)} of them MUST: {len(judged)} are judged by"
        f" {len(CHECKS)} checks, {len(killing)} of these kill at least one of"
        f" {len(kill_table())} mutants."
    )
    return [says, ""]


def matrix() -> list[str]:
    """A row a judged clause."""
    head = (
        "| clause | level | code | checks | kills | expected numbers |\n|---|---|---|---|---|---|"
    )
    return ["## Clauses that are judged", "", head, *(line(r) for r in rows() if r.checks), ""]


def line(row: Row) -> str:
    clause = row.clause
    code = "<br>".join(str(c) for c in row.code[:2])
    checks = "<br>".join(f"`{c}`" for c in short(row.checks))
    own = [name for name in row.mutants if kill_table()[name].clause == clause.id]
    others = len(row.mutants) - len(own)
    kills = short(own) + ([f"and {others} of other clauses"] if others else [])
    link = f"[{clause.id}](../{clause.file}#{clause.id.lower()})"
    return (
        f"| {link} | {clause.level} | {code} | {checks} | {'<br>'.join(kills)}"
        f" | {'<br>'.join(row.oracles)} |"
    )


def short(names: list[str] | tuple[str, ...]) -> list[str]:
    """The first few of ``names``, and how many more there are."""
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return [*names[:SHOWN], *more]


def not_judged() -> list[str]:
    """What no black-box check judges, or no mutant breaks, with the reason."""
    lines = [
        "## What is not judged",
        "",
        "From `conformance/data/not_judged.toml`, reviewed by hand.",
        "",
    ]
    for group in exempt():
        found = [row.clause.id for row in rows() if row.excuse == group.reason]
        if found:
            lines.append(f"- {', '.join(found)}: {group.reason}")
    return [*lines, ""]


def kills() -> list[str]:
    """A row a mutant."""
    head = "| mutant | what is wrong with it | its clause | found by the case | of other clauses |"
    return [
        "## Kill table",
        "",
        head,
        "|---|---|---|---|---:|",
        *(
            f"| {name} | {row.description.replace('|', '¦')} | {row.clause}"
            f" | `{row.killed_by[row.clause]}` | {len(row.killed_by) - 1} |"
            for name, row in kill_table().items()
            if row.clause in row.killed_by
        ),
    ]


if __name__ == "__main__":
    put(PAGE, page())
