"""Seeded defects of the tables, guards and actions: each must be caught, and by what it says.

"search" defects show under random faults or in some order of a small session; "script" defects
need a peer that breaks the rules, which only a script does.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from exchange_scripts import PERFORMER_SCRIPTS, Script, play_performer
from exchange_search import random_session
from exchange_thinker_scripts import THINKER_SCRIPTS, play_thinker

from simulator.seeded_defects import SEEDED_DEFECTS
from simulator.world import small as net
from simulator.world.machines import Machines
from simulator.world.orders import MESSAGE_FAULTS, every_order
from spec.errors import ExchangeError
from spec.exchange import PERFORMER

BROKEN = (AssertionError, ExchangeError, IndexError, StopIteration)
"""How a defect shows: a violation, a machine that refuses its own driver's work, a crash."""


def search(machines: Machines) -> None:
    rng = random.Random(11)
    for shards in (net.BY_LAYER, net.UNSHARDED) * 25:
        for schedule in ("sequential", "overlapped"):
            terms = net.terms(schedule)
            random_session(machines, terms, shards, rng, units=5, moves=120)
    every_order(machines, [net.world(machines, net.terms(), 1)], MESSAGE_FAULTS, faults=1)


def scripts(machines: Machines) -> None:
    for script in PERFORMER_SCRIPTS.values():
        play_performer(machines, script)
    for script in THINKER_SCRIPTS.values():
        play_thinker(machines, script)


def test_the_true_tables_pass() -> None:
    """Otherwise the kills below would mean nothing."""
    search(Machines())
    scripts(Machines())


@pytest.mark.parametrize("name", SEEDED_DEFECTS)
def test_defect_is_caught(name: str) -> None:
    """The clause broken, WS-EXCHANGE-2 to WS-EXCHANGE-13, is in the defect's name."""
    machines, caught = SEEDED_DEFECTS[name]
    with pytest.raises(BROKEN):
        (search if caught == "search" else scripts)(machines)


@pytest.mark.parametrize("name", SEEDED_DEFECTS)
def test_a_script_of_the_same_clause_catches_it(name: str) -> None:
    """So a conformance suite that sends scripts can name what is broken."""
    machines, _ = SEEDED_DEFECTS[name]
    clause = name.split(maxsplit=1)[0]
    mine = machines.performer is not PERFORMER
    cases = PERFORMER_SCRIPTS if mine else THINKER_SCRIPTS
    play = play_performer if mine else play_thinker
    with pytest.raises(BROKEN):
        play_all(machines, play, [case for case in cases.items() if case[0].split()[0] == clause])


def play_all(
    machines: Machines, play: Callable[[Machines, Script], None], cases: list[tuple[str, Script]]
) -> None:
    for _, script in cases:
        play(machines, script)
