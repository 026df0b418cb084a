"""Small scopes, all of them: what N units and M faults can do, in every order (WS-FAULTS-9)."""

from __future__ import annotations

import pytest

from simulator.seeded_defects import SEEDED_DEFECTS
from simulator.world.machines import Machines
from simulator.world.orders import Scope, enumerate_scope
from simulator.world.small import Violated

ANY = ("drop", "duplicate", "corrupt")


@pytest.mark.parametrize(
    ("scope", "worlds"),
    [
        (Scope(schedule="overlapped", units=0, faults=1), 2_387),
        (Scope(schedule="overlapped", units=0, faults=2, kinds=ANY), 1_410),
        (Scope(schedule="sequential", units=2, faults=0), 2_552),
    ],
)
def test_no_order_breaks_the_exchange(scope: Scope, worlds: int) -> None:
    """WS-FAULTS-9: and the scope is as large as it was."""
    assert enumerate_scope(Machines(), scope) == worlds


def test_a_defect_is_found_for_certain() -> None:
    """WS-FAULTS-9"""
    machines, _ = SEEDED_DEFECTS["WS-EXCHANGE-9 decodes over a gap"]
    with pytest.raises(Violated):
        enumerate_scope(machines, Scope(schedule="overlapped", units=2, faults=0, kinds=()))
