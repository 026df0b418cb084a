"""WS-CONFORMANCE-14: each mutant fails in a check of its own clause (response, session).

Among them those that break WS-CONFORMANCE-2, WS-CONFORMANCE-3, WS-CONFORMANCE-4.
"""

from __future__ import annotations

import pytest
from port_judging import assert_killed

from conformance.mutants import response, session
from conformance.mutants.patching import Mutant

# The job that writes the kill table runs this one, too; it takes a minute to find.
MUTANTS = [m for m in (*response.MUTANTS, *session.MUTANTS) if m.name != "text-one-slot-early"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)
