"""Small scopes, all of them: what N units and M faults can do, in every order (WS-FAULTS-9)."""

from __future__ import annotations

import attrs
import pytest

from simulator.seeded_defects import SEEDED_DEFECTS
from simulator.seeded_drivers import DRIVER_DEFECTS
from simulator.world.machines import Machines
from simulator.world.orders import PERFORMER_FAULTS, THINKER_FAULTS, Scope, enumerate_scope
from simulator.world.small import Violated

ANY = ("drop", "duplicate", "corrupt")


@pytest.mark.parametrize(
    ("scope", "worlds"),
    [
        (Scope(schedule="overlapped", units=0, faults=1), 8_798),
        (Scope(schedule="overlapped", units=0, faults=2, kinds=ANY), 1_826),
        (Scope(schedule="sequential", units=2, faults=0), 2_796),
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


@pytest.mark.parametrize("side", ["thinker", "performer"])
def test_a_thinker_that_starts_again_mixes_no_sessions(side: str) -> None:
    """WS-FAULTS-9, WS-FAULTS-4: what the lost session still sends must not reach the next one;
    only the loss of a thinker shows a machine that takes it."""
    machines, _ = SEEDED_DEFECTS[f"WS-EXCHANGE-2 {side} takes other sessions"]
    others = Scope(schedule="overlapped", units=0, faults=1, kinds=(*ANY, *PERFORMER_FAULTS))
    assert enumerate_scope(machines, others) == 3_254
    with pytest.raises(Violated, match=f"{side} fails"):
        enumerate_scope(machines, attrs.evolve(others, kinds=THINKER_FAULTS))


def test_a_performer_that_outlives_its_thinker_is_found() -> None:
    """WS-EXCHANGE-10: it stays for ever, and the worlds that it is in never finish."""
    machines = DRIVER_DEFECTS["WS-EXCHANGE-10 outlives a lost thinker"]
    with pytest.raises(Violated, match="can never finish"):
        enumerate_scope(
            machines, Scope(schedule="overlapped", units=0, faults=1, kinds=THINKER_FAULTS)
        )
