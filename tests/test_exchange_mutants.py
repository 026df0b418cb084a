"""Seeded defects of the tables, guards and actions: each must be caught, and by what it says.

"search" defects show under random faults or in some order of a small session; "script" defects
need a peer that breaks the rules, which only a script does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

import attrs
import exchange_world as net
import pytest
from exchange_scripts import PERFORMER_SCRIPTS, Script, play_performer
from exchange_search import MESSAGE_FAULTS, every_order, random_session
from exchange_thinker_scripts import THINKER_SCRIPTS, play_thinker
from exchange_world import Machines

from spec import exchange_performer as at_performer
from spec import exchange_thinker as at_thinker
from spec.errors import ExchangeError
from spec.exchange import PERFORMER, THINKER
from spec.exchange_events import Action, Event, Phase
from spec.exchange_machine import Machine, other_session, stale_epoch

Caught = Literal["search", "script"]

A, E, P = Action, Event, Phase


def without_guard(machine: Machine[Any], *guards: Callable[..., bool]) -> Machine[Any]:
    kept = {
        kind: tuple(pair for pair in pairs if pair[0] not in guards)
        for kind, pairs in machine.guards.items()
    }
    return attrs.evolve(machine, guards=kept)


def with_row(
    machine: Machine[Any], event: Event, after: Phase | None, *actions: Action
) -> Machine[Any]:
    """The row changed in STREAMING and GAP; ``after`` None keeps the next phase."""
    changed = {
        (phase, event): (machine.transitions[phase, event][0] if after is None else after, actions)
        for phase in (P.STREAMING, P.GAP)
    }
    return attrs.evolve(machine, transitions={**machine.transitions, **changed})


def without_row(machine: Machine[Any], event: Event) -> Machine[Any]:
    kept = {key: row for key, row in machine.transitions.items() if key[1] is not event}
    return attrs.evolve(machine, transitions=kept)


def with_action(machine: Machine[Any], action: Action, does: Callable[..., Any]) -> Machine[Any]:
    return attrs.evolve(machine, actions={**machine.actions, action: does})


def then(machine: Machine[Any], action: Action, change: Callable[[Any], Any]) -> Machine[Any]:
    """The action, and ``change`` to the state it leaves."""

    def does(state: Any, given: Any) -> Any:
        state, effects = machine.actions[action](state, given)
        return change(state), effects

    return with_action(machine, action, does)


def performer_is(machine: Machine[Any]) -> Machines:
    return Machines(performer=machine)


def thinker_is(machine: Machine[Any]) -> Machines:
    return Machines(thinker=machine)


MUTANTS: dict[str, tuple[Machines, Caught]] = {
    "WS-EXCHANGE-1 takes any terms": (
        performer_is(without_guard(PERFORMER, at_performer.open_misfit)),
        "script",
    ),
    "WS-EXCHANGE-2 performer takes other sessions": (
        performer_is(without_guard(PERFORMER, other_session)),
        "script",
    ),
    "WS-EXCHANGE-2 thinker takes other sessions": (
        thinker_is(without_guard(THINKER, other_session)),
        "script",
    ),
    "WS-EXCHANGE-3 takes any header": (
        performer_is(without_guard(PERFORMER, at_performer.slice_misfit)),
        "script",
    ),
    "WS-EXCHANGE-5 seals with a layer missing": (
        performer_is(without_guard(PERFORMER, at_performer.incomplete)),
        "search",
    ),
    "WS-EXCHANGE-5 counts a part twice": (
        performer_is(
            without_guard(PERFORMER, at_performer.held_before, at_performer.differs_from_held)
        ),
        "search",
    ),
    "WS-EXCHANGE-7 appends a copy": (
        performer_is(with_row(PERFORMER, E.SLICE_AGAIN, P.STREAMING, A.HOLD, A.APPEND, A.SEND_ACK)),
        "search",
    ),
    "WS-EXCHANGE-7 does not acknowledge a copy": (
        performer_is(with_row(PERFORMER, E.SLICE_AGAIN, None, A.DROP)),
        "script",
    ),
    "WS-EXCHANGE-7 takes another digest for a copy": (
        performer_is(without_guard(PERFORMER, at_performer.differs_from_appended)),
        "script",
    ),
    "WS-EXCHANGE-7 ignores kv_len_before": (
        performer_is(without_guard(PERFORMER, at_performer.miscounted)),
        "script",
    ),
    "WS-EXCHANGE-7 a late acknowledgement is fatal": (
        thinker_is(without_row(THINKER, E.ACK_LATE)),
        "search",
    ),
    "WS-EXCHANGE-7 does not compare what is acknowledged": (
        thinker_is(without_guard(THINKER, at_thinker.acks_other)),
        "script",
    ),
    "WS-EXCHANGE-8 appends over a gap": (
        performer_is(without_guard(PERFORMER, at_performer.slice_gap)),
        "search",
    ),
    "WS-EXCHANGE-8 a late request is fatal": (
        thinker_is(without_row(THINKER, E.NACK_LATE)),
        "search",
    ),
    "WS-EXCHANGE-8 a request for a slice not made yet is fatal": (
        thinker_is(without_row(THINKER, E.NACK_EARLY)),
        "search",
    ),
    "WS-EXCHANGE-8 asks for every gap again": (
        performer_is(with_row(PERFORMER, E.SLICE_GAP, P.GAP, A.DROP, A.SEND_NACK)),
        "script",
    ),
    "WS-EXCHANGE-9 accepts latents of another slice": (
        thinker_is(without_guard(THINKER, at_thinker.latents_foreign)),
        "script",
    ),
    "WS-EXCHANGE-9 decodes twice": (
        thinker_is(
            with_row(THINKER, E.LATENTS_AGAIN, P.STREAMING, A.TAKE_LATENTS, A.SEND_LATENTS_ACK)
        ),
        "search",
    ),
    "WS-EXCHANGE-9 decodes over a gap": (
        thinker_is(without_guard(THINKER, at_thinker.latents_gap)),
        "search",
    ),
    "WS-EXCHANGE-9 does not acknowledge latents again": (
        thinker_is(with_row(THINKER, E.LATENTS_AGAIN, None, A.DROP)),
        "script",
    ),
    "WS-EXCHANGE-9 takes other latents for a copy": (
        thinker_is(without_guard(THINKER, at_thinker.latents_conflict)),
        "script",
    ),
    "WS-EXCHANGE-9 forgets latents when they are sent": (
        performer_is(then(PERFORMER, A.SEND_LATENTS, lambda s: attrs.evolve(s, kept=()))),
        "search",
    ),
    "WS-EXCHANGE-9 a late acknowledgement of latents is fatal": (
        performer_is(without_row(PERFORMER, E.LATENTS_ACK_LATE)),
        "search",
    ),
    "WS-EXCHANGE-10 performer takes a stale epoch": (
        performer_is(without_guard(PERFORMER, stale_epoch)),
        "search",
    ),
    "WS-EXCHANGE-10 thinker takes a stale epoch": (
        thinker_is(without_guard(THINKER, stale_epoch)),
        "search",
    ),
    "WS-EXCHANGE-10 takes the epoch of another incarnation": (
        performer_is(without_guard(PERFORMER, at_performer.for_other_incarnation)),
        "script",
    ),
    "WS-EXCHANGE-10 keeps the epoch for a new performer": (
        thinker_is(
            then(THINKER, A.NEW_EPOCH, lambda s: attrs.evolve(s, epoch=max(0, s.epoch - 1)))
        ),
        "search",
    ),
    "WS-EXCHANGE-10 keeps old parts in a new epoch": (
        performer_is(
            with_action(
                PERFORMER,
                A.ADOPT_EPOCH,
                lambda s, g: (
                    attrs.evolve(PERFORMER.actions[A.ADOPT_EPOCH](s, g)[0], held=s.held),
                    PERFORMER.actions[A.ADOPT_EPOCH](s, g)[1],
                ),
            )
        ),
        "search",
    ),
    "WS-EXCHANGE-10 takes a snapshot of an old epoch": (
        thinker_is(without_guard(THINKER, at_thinker.old_export)),
        "search",
    ),
    "WS-EXCHANGE-10 solves the snapshot's own unit": (
        performer_is(without_guard(PERFORMER, at_performer.begins_epoch)),
        "search",
    ),
    "WS-EXCHANGE-10 keeps the solve of an old epoch": (
        performer_is(without_guard(PERFORMER, at_performer.old_solve)),
        "search",
    ),
    "WS-EXCHANGE-11 forgets a slice when it is acknowledged": (
        thinker_is(
            then(
                THINKER,
                A.MARK_ACKED,
                lambda s: attrs.evolve(s, ring=tuple(x for x in s.ring if x.unit > s.acked)),
            )
        ),
        "search",
    ),
    "WS-EXCHANGE-11 has no window": (
        thinker_is(without_guard(THINKER, at_thinker.window_full)),
        "search",
    ),
    "WS-EXCHANGE-11 takes any slice ahead": (
        performer_is(without_guard(PERFORMER, at_performer.beyond_window)),
        "script",
    ),
    "WS-EXCHANGE-12 closes before the last response": (
        thinker_is(with_row(THINKER, E.FINISH, P.CLOSING, A.SEND_CLOSE)),
        "search",
    ),
    "WS-EXCHANGE-12 answers a close once": (
        performer_is(
            attrs.evolve(
                PERFORMER,
                transitions={**PERFORMER.transitions, (P.CLOSED, E.CLOSE): (P.CLOSED, ())},
            )
        ),
        "search",
    ),
    "WS-EXCHANGE-13 thinker never resends": (
        thinker_is(with_row(THINKER, E.TIMER, None)),
        "search",
    ),
    "WS-EXCHANGE-13 performer never resends": (
        performer_is(with_row(PERFORMER, E.TIMER, None)),
        "search",
    ),
}

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


@pytest.mark.parametrize("name", MUTANTS)
def test_defect_is_caught(name: str) -> None:
    """The clause broken, WS-EXCHANGE-2 to WS-EXCHANGE-13, is in the defect's name."""
    machines, caught = MUTANTS[name]
    with pytest.raises(BROKEN):
        (search if caught == "search" else scripts)(machines)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_script_of_the_same_clause_catches_it(name: str) -> None:
    """So a conformance suite that sends scripts can name what is broken."""
    machines, _ = MUTANTS[name]
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
