"""WS-CONFORMANCE-14: each mutant fails in a check of its own clause (response, session).

Among them those that break WS-CONFORMANCE-2, WS-CONFORMANCE-3, WS-CONFORMANCE-4.
"""

from __future__ import annotations

import pytest
from port_judging import assert_killed

from conformance.mutants import response, session
from conformance.mutants.patching import Mutant


@pytest.mark.parametrize("mutant", [*response.MUTANTS, *session.MUTANTS], ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)
