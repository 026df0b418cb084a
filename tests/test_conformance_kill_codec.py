"""WS-CONFORMANCE-14: each mutant fails in a check of its own clause (codec, exchange,
and what a port claims)."""

from __future__ import annotations

import pytest
from port_judging import assert_killed

from conformance.mutants import claims, codec, codec_memory, exchange, exchange_history
from conformance.mutants.patching import Mutant

MODULES = (codec, codec_memory, claims, exchange, exchange_history)
MUTANTS = [mutant for module in MODULES for mutant in module.MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)
