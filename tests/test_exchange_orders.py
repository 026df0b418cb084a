"""Small sessions, every order: no world is wrong, and each can finish.

WS-EXCHANGE-13, WS-FAULTS-9.
"""

from __future__ import annotations

import pytest

from simulator.world import small as net
from simulator.world.machines import Machines
from simulator.world.orders import MESSAGE_FAULTS, every_order, faulty_moves, run_of
from spec.sizes import Schedule


@pytest.mark.parametrize("schedule", ["sequential", "overlapped"])
def test_one_lost_copied_or_corrupt_message(schedule: Schedule) -> None:
    """WS-EXCHANGE-7 to WS-EXCHANGE-9: one message fault anywhere, all orders, one unit."""
    start = net.world(Machines(), net.terms(schedule), units=1)
    assert every_order(Machines(), [start], MESSAGE_FAULTS, faults=1) > 5_000


def test_two_sequential_units() -> None:
    """WS-EXCHANGE-11: a window of one, all orders."""
    start = net.world(Machines(), net.terms("sequential"), units=2)
    assert every_order(Machines(), [start]) > 2_000


@pytest.mark.parametrize("kind", ["crash", "suspect"])
def test_the_performer_lost_at_any_point(kind: str) -> None:
    """WS-EXCHANGE-10: a crash or a false suspicion at each point of a run, then all orders of what
    is still under way from the old epoch and of the new one."""
    units = 1 if kind == "suspect" else 0
    run = run_of(Machines(), net.world(Machines(), net.terms("overlapped"), units))
    starts = [w for before in run[:-1] for w in faulty_moves(Machines(), before, (kind,))]
    assert every_order(Machines(), starts) > 500


@pytest.mark.parametrize("kind", ["crash", "thinker-crash"])
def test_a_crash_with_a_slice_and_a_response_under_way(kind: str) -> None:
    """WS-EXCHANGE-10: the hardest moment, with two incarnations' or two sessions' messages under
    way."""
    run = run_of(Machines(), net.world(Machines(), net.terms("overlapped"), 1))
    solving = next(w for w in run if w.thinker.offered == 0 and w.performer.appended == 0)
    starts = list(faulty_moves(Machines(), solving, (kind,)))
    assert every_order(Machines(), starts) > 500
