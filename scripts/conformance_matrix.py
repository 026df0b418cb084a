"""Writes `docs/conformance-matrix.md`: each clause with its code, checks, mutants and oracle.

Run it after clauses, checks, the kill table or the suite's facts have changed.
"""

from __future__ import annotations

from pathlib import Path

from conformance.checks.registry import CHECKS
from conformance.reporting.own_mutants import own_kills, verifiers_of
from conformance.reporting.rendering.files import put
from conformance.reporting.trace_matrix import Row, exempt, kill_table, rows

PAGE = Path(__file__).resolve().parents[1] / "docs/conformance-matrix.md"
SHOWN = 4

HEAD = """# Who judges which clause

From each clause to the code that implements it, the checks that judge it, the known-bad ports
(mutants) that they find, and what the expected numbers come from. This page is made by
`scripts/conformance_matrix.py` out of the docstrings, the registry of checks, and the tables
`kill_table.json`, `own_kill_table.json` and `suite_facts.json` in `conformance/data/`; do not edit
it. `tests/test_conformance_matrix.py` fails when a MUST clause lacks code, a check or a mutant.
"""

OWN = """The reasons are those of `conformance/data/not_judged.toml`, reviewed by hand. The check of
such a clause is the tests that it names, and its mutants are defects of our own code
(`tests/own_mutants/`), each of which makes these tests fail (`scripts/own_kill_table.py`).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *summary(), *matrix(), *not_judged(), *kills()]) + "\n"


def summary() -> list[str]:
    """The numbers."""
    must = [row for row in rows() if row.clause.level == "MUST"]
    judged = [row for row in must if row.checks]
    killing = [row for row in judged if row.mutants]
    own = [row for row in must if not row.checks and row.own]
    says = (
        f"{len(rows())} clauses, {len(must)} of them MUST: {len(judged)} are judged in a port by"
        f" {len(CHECKS)} checks, {len(killing)} of these kill at least one of"
        f" {len(kill_table())} mutants; {len(own)}, about which no port can be asked, are verified"
        f" by our tests, which notice {len(own_kills())} defects of our own code."
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
    """What no port can be asked about: the reason, our tests, and the defects they notice."""
    lines = ["## Clauses that no port can be asked about", "", OWN]
    for group in exempt():
        found = [row for row in rows() if row.excuse == group.reason]
        if found:
            lines += [f"{group.reason[0].upper()}{group.reason[1:]}:", ""]
            lines += ["| clause | code | tests | defects that they notice |", "|---|---|---|---|"]
            lines += [*(own_line(row) for row in found), ""]
    return lines


def own_line(row: Row) -> str:
    clause = row.clause
    code = "<br>".join(str(c) for c in row.code[:2])
    tests = "<br>".join(f"`{path.removeprefix('tests/')}`" for path in verifiers_of(clause.id))
    noticed = "<br>".join(own_kills()[name].breaks.replace("|", "¦") for name in row.own)
    link = f"[{clause.id}](../{clause.file}#{clause.id.lower()})"
    return f"| {link} | {code} | {tests} | {noticed} |"


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
