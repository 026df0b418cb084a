"""WS-CONFORMANCE-14, WS-CONFORMANCE-16: each mutant of a formula fails in a check of its clause."""

from __future__ import annotations

import pytest
from port_judging import assert_killed

from conformance.formulas.ops import OPS, questions
from conformance.mutants import math_bytes, math_numbers, math_plans, math_signals, math_tables
from conformance.mutants.patching import Mutant

MODULES = (math_tables, math_numbers, math_signals, math_bytes, math_plans)
MUTANTS = tuple(mutant for module in MODULES for mutant in module.MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)


def test_every_clause_of_a_formula_has_a_mutant() -> None:
    asked = {
        clause
        for op in OPS.values()
        for _, question in questions(op, ("float32", "float64"))
        for clause in question.clauses
    }
    assert sorted(asked - {mutant.clause for mutant in MUTANTS}) == []
