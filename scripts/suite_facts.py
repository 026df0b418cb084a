"""Writes `conformance/data/suite_facts.json`: what every conformant port executes at least.

    python scripts/suite_facts.py          checks that are new, or that make fewer or more cases
    python scripts/suite_facts.py --all    all of them, some minutes

Runs the benign variants that can do least (no optional feature; a dtype in which fewer inputs
exist) through the profiles they claim and counts the cases that were executed; also, with the
reference, which can do all, what each check takes its expected numbers from. Run it after checks or
their cases have changed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from conformance import runner
from conformance.case import Case, Check
from conformance.checks.registry import CHECKS
from conformance.formulas.case import Op
from conformance.oracle import Oracle
from conformance.reporting.floors import ALL_CLAUSES, FILE, facts
from conformance.reporting.rendering.files import put
from conformance.resolve import resolve
from conformance.verdicts import EXECUTED

LEAST = (
    "benign:no-optional-features",
    "benign:math-float16-only",
    "benign:math-bfloat16-only",
)
"""No conformant port executes less than all of these do."""
REFERENCE = "reference-derived (float64)"
OWN = {"analytic": "analytic", "float64": "independent float64"}
RELATION = "relation: the specification's tables, or the port's own answers to related questions"


class AskedOracle(Oracle):
    """An oracle that knows whether it was asked for numbers."""

    asked = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("truth", "codec", "record"):
            self.asked = True
        return super().__getattribute__(name)


def measured(chosen: Sequence[Check]) -> dict[str, Any]:
    """The rows of the ``chosen`` checks."""
    oracle = AskedOracle(resolve(runner.ORACLE))
    floors: dict[str, Counter[str]] = {}
    oracles: dict[str, set[str]] = {check.id: set() for check in chosen}
    made: Counter[str] = Counter()
    for port in (*LEAST, runner.ORACLE):
        found: dict[str, Counter[str]] = {}
        plan = runner.plan(resolve(port), oracle, chosen, None, None, "*")
        if port == LEAST[0]:
            made.update(check.id for check, case in plan.todo if not case.brief)
        for number, (check, case) in enumerate(plan.todo, start=1):
            oracle.asked = False
            result = runner.judge(check, case, None, port)
            ops = [a for a in getattr(case.judge, "args", ()) if isinstance(a, Op)]
            counts = found.setdefault(check.id, Counter())
            if result.verdict in EXECUTED:
                counts.update(counted(check, case))
                oracles[check.id] |= {OWN[op.oracle] for op in ops} or {
                    REFERENCE if oracle.asked else RELATION
                }
            print(f"\r{port} {number}/{len(plan.todo)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        for check_id, counts in found.items() if port in LEAST else ():
            floors[check_id] = floors.get(check_id, counts) & counts
    return {
        check.id: {
            "oracle": "; ".join(sorted(oracles[check.id])),
            "made": made[check.id],
            "floors": dict(sorted(floors.get(check.id, Counter()).items())),
        }
        for check in chosen
    }


def counted(check: Check, case: Case) -> tuple[str, ...]:
    """In which floors of its check a case counts."""
    by_clause = () if case.further else case.clauses or check.clauses
    return by_clause if case.brief else (ALL_CLAUSES, *by_clause)


def outdated() -> tuple[Check, ...]:
    """Checks that are new, or whose floors were counted on other cases."""
    oracle = Oracle(resolve(runner.ORACLE))
    plan = runner.plan(resolve(LEAST[0]), oracle, tuple(CHECKS.values()), None, None, "*")
    made: dict[str, Counter[str]] = {check: Counter() for check in CHECKS}
    for check, case in plan.todo:
        made[check.id].update(counted(check, case))
    known = facts()
    return tuple(
        check
        for check in CHECKS.values()
        if check.id not in known
        or known[check.id].made != made[check.id][ALL_CLAUSES]
        # Cases that say otherwise what they are about.
        or any(floor > made[check.id][c] for c, floor in known[check.id].floors.items())
    )


def main() -> None:
    chosen = tuple(CHECKS.values()) if "--all" in sys.argv[1:] else outdated()
    new = measured(chosen) if chosen else {}
    old = json.loads(FILE.read_text(encoding="utf-8"))
    rows = {check: new.get(check) or old[check] for check in CHECKS}
    put(FILE, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
