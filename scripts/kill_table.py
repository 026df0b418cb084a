"""Writes `conformance/data/kill_table.json`: every known-bad port is run, what found it is kept.

    python scripts/kill_table.py           mutants that are new, changed or not yet killed
    python scripts/kill_table.py --all     all of them, some minutes on two cores

Each mutant is judged by the clause it names alone, until a case fails; that case counts for every
clause it is about. Then, for each MUST clause that is judged but was not seen to kill, mutants of
the same topic are tried on that clause alone until one is found. The table is written after every
step, so a run that is cut off goes on where it was. Run it after mutants or checks have changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from typing import Any

from conformance import runner
from conformance.checks.registry import CLAUSES
from conformance.mutants import MUTANTS
from conformance.oracle import Oracle
from conformance.protocol import PROFILES
from conformance.reporting.rendering.files import put
from conformance.reporting.trace_matrix import KILL_TABLE, exempt_reason
from conformance.resolve import resolve
from conformance.verdicts import Verdict
from spec.clauses import registry

PROCESSES = 2
Table = dict[str, dict[str, Any]]


@cache
def oracle() -> Oracle:
    """One for all mutants of a process: it is asked the same again and again."""
    return Oracle(resolve(runner.ORACLE))


def killers(name: str, clause: str) -> dict[str, str]:
    """The clauses that the first failing case of ``clause`` is about, each with that case; none if
    mutant ``name`` passes."""
    selected = runner.select(None, clause)
    plan = runner.plan(MUTANTS[name].factory(), oracle(), selected, None, clause)
    for owner, case in plan.todo:
        result = runner.judge(owner, case, clause, f"mutant:{name}")
        if result.verdict is Verdict.FAIL:
            about = (clause, *(case.clauses or owner.clauses))
            return {c: result.id for c in about if c in owner.clauses}
    return {}


def first_killed(names: Sequence[str], clause: str) -> tuple[str, dict[str, str]]:
    """The first of ``names`` that ``clause`` finds, as `killers` has it."""
    for name in names:
        found = killers(name, clause)
        if found:
            return name, found
    return "", {}


def kept(old: Table, everything: bool) -> Table:
    """A row for each mutant of today, with what is still true of the ``old`` table."""
    table: Table = {}
    for name, mutant in MUTANTS.items():
        row = old.get(name, {"clause": "", "killed_by": {}})
        same = row["clause"] == mutant.clause and not everything
        table[name] = {
            "clause": mutant.clause,
            "description": mutant.description,
            "killed_by": {c: i for c, i in row["killed_by"].items() if same and _still(c, i)},
        }
    return table


def _still(clause: str, case: str) -> bool:
    """Is there such a case, and is it about that clause today?"""
    return clause in cases_about().get(case, ()) and clause in registry()


@cache
def cases_about() -> dict[str, tuple[str, ...]]:
    """What each case of our ports is about in a run of one clause, in all profiles."""
    plans = (
        runner.plan(resolve(port), oracle(), runner.select(profile, None), profile, None, "*")
        for port in (runner.ORACLE, "split")
        for profile in PROFILES
    )
    return {
        f"{owner.id}:{case.name}": case.clauses or owner.clauses
        for planned in plans
        for owner, case in planned.todo
        if not case.further
    }


def fill(table: Table) -> None:
    """Run what is missing in ``table`` and enter it, first by the mutants' own clauses."""
    own = [(n, row["clause"]) for n, row in table.items() if row["clause"] not in row["killed_by"]]
    with ProcessPoolExecutor(PROCESSES) as pool:
        running = {pool.submit(killers, *job): job for job in own}
        for done, future in enumerate(as_completed(running), start=1):
            name, clause = running[future]
            enter(table, name, future.result(), f"{done}/{len(own)} {name} by {clause}")
        killed = {clause for row in table.values() for clause in row["killed_by"]}
        open_ = [c for c in CLAUSES if c not in killed and registry()[c].level == "MUST"]
        others = {
            pool.submit(first_killed, names, clause): clause
            for clause in open_
            if not exempt_reason(clause)
            and (names := [n for n, row in table.items() if topic(row["clause"]) == topic(clause)])
        }
        for other in as_completed(others):
            name, found = other.result()
            enter(table, name, found, f"{others[other]} finds {name or 'none of its topic'}")


def enter(table: Table, name: str, found: dict[str, str], says: str) -> None:
    """Write down what one run has found."""
    if found:
        table[name]["killed_by"] = dict(sorted({**found, **table[name]["killed_by"]}.items()))
        put(KILL_TABLE, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    print(f"{says}: {'killed' if found else 'NOT KILLED'}", file=sys.stderr, flush=True)


def topic(clause: str) -> str:
    return clause.rsplit("-", 1)[0]


def main() -> int:
    table = kept(json.loads(KILL_TABLE.read_text(encoding="utf-8")), "--all" in sys.argv[1:])
    put(KILL_TABLE, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    fill(table)
    alive = [name for name, row in table.items() if row["clause"] not in row["killed_by"]]
    for name in alive:
        print(f"{name} is not killed by {table[name]['clause']}", file=sys.stderr)
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main())
