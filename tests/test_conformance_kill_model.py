"""WS-CONFORMANCE-14: each mutant fails in a check of its own clause (visibility, backbone).

Those that take long to find are left to the job that writes the kill table, which runs all.
"""

from __future__ import annotations

import pytest
from port_judging import assert_killed

from conformance.mutants import backbone, visibility
from conformance.mutants.patching import Mutant

LEFT_TO_THE_TABLE = (
    "observation-sees-next-unit",
    "observation-blind-to-words",
    "last-word-unseen",
)
MUTANTS = [
    mutant
    for mutant in (*visibility.MUTANTS, *backbone.MUTANTS)
    if mutant.name not in LEFT_TO_THE_TABLE
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)
