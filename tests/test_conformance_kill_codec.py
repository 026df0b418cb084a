"""WS-CONFORMANCE-14: each mutant fails in a check of its own clause (codec, exchange)."""

from __future__ import annotations

import pytest
from port_judging import assert_killed

from conformance.mutants import codec, exchange
from conformance.mutants.patching import Mutant


@pytest.mark.parametrize("mutant", [*codec.MUTANTS, *exchange.MUTANTS], ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)
