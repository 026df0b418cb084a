"""Writes `conformance/suite_facts.json`: what every conformant port executes at least.

Runs the benign variants that can do least (no optional feature; a dtype in which fewer inputs
exist) through the profiles they claim, which takes about a minute, and counts the cases that were
executed; also what each check takes its expected numbers from. Run it after checks or their cases
have changed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

from conformance import runner
from conformance.checks.registry import CHECKS
from conformance.floors import ALL_CLAUSES, FILE
from conformance.math_case import Op
from conformance.oracle import Oracle
from conformance.rendering.files import put
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


def measured() -> dict[str, Any]:
    """The content of the file."""
    oracle = AskedOracle(resolve(runner.ORACLE))
    floors: dict[str, Counter[str]] = {}
    oracles: dict[str, set[str]] = {check: set() for check in CHECKS}
    for port in LEAST:
        found: dict[str, Counter[str]] = {}
        plan = runner.plan(resolve(port), oracle, tuple(CHECKS.values()), None, None)
        for number, (check, case) in enumerate(plan.todo, start=1):
            oracle.asked = False
            result = runner.judge(check, case, None, port)
            ops = [a for a in getattr(case.judge, "args", ()) if isinstance(a, Op)]
            oracles[check.id] |= {OWN[op.oracle] for op in ops} or {
                REFERENCE if oracle.asked else RELATION
            }
            counts = found.setdefault(check.id, Counter())
            if result.verdict in EXECUTED:
                counts.update((ALL_CLAUSES, *(case.clauses or check.clauses)))
            print(f"\r{port} {number}/{len(plan.todo)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        for check_id, counts in found.items():
            floors[check_id] = floors.get(check_id, counts) & counts
    return {
        check: {
            "oracle": "; ".join(sorted(oracles[check])),
            "floors": dict(sorted(floors.get(check, Counter()).items())),
        }
        for check in CHECKS
    }


if __name__ == "__main__":
    put(FILE, json.dumps(measured(), indent=1) + "\n")
