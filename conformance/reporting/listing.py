"""What the suite consists of: clauses, checks, mutants and benign variants (WS-CONFORMANCE-13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.checks.registry import CHECKS, CLAUSES
from conformance.resolve import catalogue


def listing() -> Mapping[str, Any]:
    """The object of ``check --list --json`` (WS-CONFORMANCE-13)."""
    return {
        "clauses": sorted(CLAUSES),
        "checks": [
            {
                "id": c.id,
                "clauses": list(c.clauses),
                "profile": c.profile or "all",
                "tolerance": c.tolerance,
            }
            for c in CHECKS.values()
        ],
        "mutants": [
            {"name": m.name, "clause": m.clause, "description": m.description}
            for m in catalogue("mutant").values()
        ],
        "benign": [
            {"name": b.name, "description": b.description} for b in catalogue("benign").values()
        ],
    }
