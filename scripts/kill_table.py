"""Writes `conformance/kill_table.json`: every known-bad port is run, and what found it is kept.

    python scripts/kill_table.py           mutants that are new, changed or not yet killed
    python scripts/kill_table.py --all     all of them, some minutes on two cores

Each mutant is judged by all cases of the clause it names; a failing case counts for every clause it
is about. Then, for each MUST clause that is judged but was not seen to kill, mutants of the same
topic are tried on that clause alone. Run it after mutants or checks have changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from typing import Any

from conformance import runner
from conformance.checks.registry import CHECKS, CLAUSES
from conformance.mutants import MUTANTS
from conformance.oracle import Oracle
from conformance.rendering.files import put
from conformance.resolve import resolve
from conformance.trace_matrix import KILL_TABLE, exempt_reason
from conformance.verdicts import Verdict
from spec.clauses import registry

PROCESSES = 2
Table = dict[str, dict[str, Any]]


@cache
def oracle() -> Oracle:
    """One for all mutants of a process: it is asked the same again and again."""
    return Oracle(resolve(runner.ORACLE))


def killers(name: str, clause: str) -> dict[str, str]:
    """The clauses whose checks find mutant ``name`` when ``clause`` alone is judged, each with the
    first case that did."""
    selected = runner.select(None, clause)
    plan = runner.plan(MUTANTS[name].factory(), oracle(), selected, None, clause)
    found: dict[str, str] = {}
    for owner, case in plan.todo:
        result = runner.judge(owner, case, clause, f"mutant:{name}")
        if result.verdict is Verdict.FAIL:
            for about in (clause, *(case.clauses or owner.clauses)):
                if about in owner.clauses:
                    found.setdefault(about, result.id)
    return found


def rows(old: Table, everything: bool) -> Table:
    """The new table; what is still true of the ``old`` one is kept unless ``everything`` is run."""
    table: Table = {}
    todo = []
    for name, mutant in MUTANTS.items():
        kept = old.get(name, {"killed_by": {}})
        known = {c: case for c, case in kept["killed_by"].items() if c in registry()}
        if everything or kept.get("clause") != mutant.clause or mutant.clause not in known:
            known = {}
            todo.append(name)
        table[name] = {
            "clause": mutant.clause,
            "description": mutant.description,
            "killed_by": {c: case for c, case in known.items() if _still(c, case)},
        }
    fill(table, [(name, table[name]["clause"]) for name in todo])
    killed = {clause for row in table.values() for clause in row["killed_by"]}
    open_ = [c for c in CLAUSES if c not in killed and registry()[c].level == "MUST"]
    topics = {
        clause: [n for n, row in table.items() if topic(row["clause"]) == topic(clause)]
        for clause in open_
        if not exempt_reason(clause)
    }
    fill(table, [(name, clause) for clause, names in topics.items() for name in names])
    return table


def topic(clause: str) -> str:
    return clause.rsplit("-", 1)[0]


def _still(clause: str, case: str) -> bool:
    check = CHECKS.get(case.partition(":")[0])
    return check is not None and clause in check.clauses


def fill(table: Table, jobs: Sequence[tuple[str, str]]) -> None:
    """Run the (mutant, clause) jobs and enter what they find."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(killers, *job): job for job in jobs}
        for done, future in enumerate(as_completed(running), start=1):
            name, clause = running[future]
            found = future.result()
            table[name]["killed_by"] = dict(sorted({**found, **table[name]["killed_by"]}.items()))
            verdict = "killed" if clause in found else "NOT KILLED"
            print(f"{done}/{len(jobs)} {name} by {clause}: {verdict}", file=sys.stderr, flush=True)


def main() -> int:
    old = json.loads(KILL_TABLE.read_text(encoding="utf-8"))
    table = rows(old, "--all" in sys.argv[1:])
    put(KILL_TABLE, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    alive = [name for name, row in table.items() if row["clause"] not in row["killed_by"]]
    for name in alive:
        print(f"{name} is not killed by {table[name]['clause']}", file=sys.stderr)
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main())
