"""Seeded defects: the exchange machines, each time with one thing wrong (WS-FAULTS-8).

Every name begins with the clause that the defect breaks. "search" defects show under random faults
or in some order of a small session; "script" defects need a peer that breaks the rules, which only
a script or a tampered message does. Source: CHOICE (design §12, §13: a check that no defect can
fail is no check).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import attrs

from simulator.world.machines import Machines
from spec import exchange_performer as at_performer
from spec import exchange_thinker as at_thinker
from spec.exchange import PERFORMER, THINKER
from spec.exchange_events import Action, Event, Phase
from spec.exchange_machine import Machine, other_session, stale_epoch

Caught = Literal["search", "script"]

A, E, P = Action, Event, Phase


def _without_guard(machine: Machine[Any], *guards: Callable[..., bool]) -> Machine[Any]:
    kept = {
        kind: tuple(pair for pair in pairs if pair[0] not in guards)
        for kind, pairs in machine.guards.items()
    }
    return attrs.evolve(machine, guards=kept)


def _with_row(
    machine: Machine[Any], event: Event, after: Phase | None, *actions: Action
) -> Machine[Any]:
    """The row changed in STREAMING and GAP; ``after`` None keeps the next phase."""
    changed = {
        (phase, event): (machine.transitions[phase, event][0] if after is None else after, actions)
        for phase in (P.STREAMING, P.GAP)
    }
    return attrs.evolve(machine, transitions={**machine.transitions, **changed})


def _without_row(machine: Machine[Any], event: Event) -> Machine[Any]:
    kept = {key: row for key, row in machine.transitions.items() if key[1] is not event}
    return attrs.evolve(machine, transitions=kept)


def _with_action(machine: Machine[Any], action: Action, does: Callable[..., Any]) -> Machine[Any]:
    return attrs.evolve(machine, actions={**machine.actions, action: does})


def _then(machine: Machine[Any], action: Action, change: Callable[[Any], Any]) -> Machine[Any]:
    """The action, and ``change`` to the state it leaves."""

    def does(state: Any, given: Any) -> Any:
        state, effects = machine.actions[action](state, given)
        return change(state), effects

    return _with_action(machine, action, does)


def _performer(machine: Machine[Any]) -> Machines:
    return Machines(performer=machine)


def _thinker(machine: Machine[Any]) -> Machines:
    return Machines(thinker=machine)


SEEDED_DEFECTS: Final[Mapping[str, tuple[Machines, Caught]]] = {
    "WS-EXCHANGE-1 takes any terms": (
        _performer(_without_guard(PERFORMER, at_performer.open_misfit)),
        "script",
    ),
    "WS-EXCHANGE-2 performer takes other sessions": (
        _performer(_without_guard(PERFORMER, other_session)),
        "script",
    ),
    "WS-EXCHANGE-2 thinker takes other sessions": (
        _thinker(_without_guard(THINKER, other_session)),
        "script",
    ),
    "WS-EXCHANGE-3 takes any header": (
        _performer(_without_guard(PERFORMER, at_performer.slice_misfit)),
        "script",
    ),
    "WS-EXCHANGE-5 seals with a layer missing": (
        _performer(_without_guard(PERFORMER, at_performer.incomplete)),
        "search",
    ),
    "WS-EXCHANGE-5 counts a part twice": (
        _performer(
            _without_guard(PERFORMER, at_performer.held_before, at_performer.differs_from_held)
        ),
        "search",
    ),
    "WS-EXCHANGE-7 appends a copy": (
        _performer(_with_row(PERFORMER, E.SLICE_AGAIN, P.STREAMING, A.HOLD, A.APPEND, A.SEND_ACK)),
        "search",
    ),
    "WS-EXCHANGE-7 does not acknowledge a copy": (
        _performer(_with_row(PERFORMER, E.SLICE_AGAIN, None, A.DROP)),
        "script",
    ),
    "WS-EXCHANGE-7 takes another digest for a copy": (
        _performer(_without_guard(PERFORMER, at_performer.differs_from_appended)),
        "script",
    ),
    "WS-EXCHANGE-7 ignores kv_len_before": (
        _performer(_without_guard(PERFORMER, at_performer.miscounted)),
        "script",
    ),
    "WS-EXCHANGE-7 a late acknowledgement is fatal": (
        _thinker(_without_row(THINKER, E.ACK_LATE)),
        "search",
    ),
    "WS-EXCHANGE-7 does not compare what is acknowledged": (
        _thinker(_without_guard(THINKER, at_thinker.acks_other)),
        "script",
    ),
    "WS-EXCHANGE-8 appends over a gap": (
        _performer(_without_guard(PERFORMER, at_performer.slice_gap)),
        "search",
    ),
    "WS-EXCHANGE-8 a late request is fatal": (
        _thinker(_without_row(THINKER, E.NACK_LATE)),
        "search",
    ),
    "WS-EXCHANGE-8 a request for a slice not made yet is fatal": (
        _thinker(_without_row(THINKER, E.NACK_EARLY)),
        "search",
    ),
    "WS-EXCHANGE-8 asks for every gap again": (
        _performer(_with_row(PERFORMER, E.SLICE_GAP, P.GAP, A.DROP, A.SEND_NACK)),
        "script",
    ),
    "WS-EXCHANGE-9 accepts latents of another slice": (
        _thinker(_without_guard(THINKER, at_thinker.latents_foreign)),
        "script",
    ),
    "WS-EXCHANGE-9 decodes twice": (
        _thinker(
            _with_row(THINKER, E.LATENTS_AGAIN, P.STREAMING, A.TAKE_LATENTS, A.SEND_LATENTS_ACK)
        ),
        "search",
    ),
    "WS-EXCHANGE-9 decodes over a gap": (
        _thinker(_without_guard(THINKER, at_thinker.latents_gap)),
        "search",
    ),
    "WS-EXCHANGE-9 does not acknowledge latents again": (
        _thinker(_with_row(THINKER, E.LATENTS_AGAIN, None, A.DROP)),
        "script",
    ),
    "WS-EXCHANGE-9 takes other latents for a copy": (
        _thinker(_without_guard(THINKER, at_thinker.latents_conflict)),
        "script",
    ),
    "WS-EXCHANGE-9 forgets latents when they are sent": (
        _performer(_then(PERFORMER, A.SEND_LATENTS, lambda s: attrs.evolve(s, kept=()))),
        "search",
    ),
    "WS-EXCHANGE-9 a late acknowledgement of latents is fatal": (
        _performer(_without_row(PERFORMER, E.LATENTS_ACK_LATE)),
        "search",
    ),
    "WS-EXCHANGE-10 performer takes a stale epoch": (
        _performer(_without_guard(PERFORMER, stale_epoch)),
        "search",
    ),
    "WS-EXCHANGE-10 thinker takes a stale epoch": (
        _thinker(_without_guard(THINKER, stale_epoch)),
        "search",
    ),
    "WS-EXCHANGE-10 takes the epoch of another incarnation": (
        _performer(_without_guard(PERFORMER, at_performer.for_other_incarnation)),
        "script",
    ),
    "WS-EXCHANGE-10 keeps the epoch for a new performer": (
        _thinker(_then(THINKER, A.NEW_EPOCH, lambda s: attrs.evolve(s, epoch=max(0, s.epoch - 1)))),
        "search",
    ),
    "WS-EXCHANGE-10 keeps old parts in a new epoch": (
        _performer(
            _with_action(
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
        _thinker(_without_guard(THINKER, at_thinker.old_export)),
        "search",
    ),
    "WS-EXCHANGE-10 solves the snapshot's own unit": (
        _performer(_without_guard(PERFORMER, at_performer.begins_epoch)),
        "search",
    ),
    "WS-EXCHANGE-10 keeps the solve of an old epoch": (
        _performer(_without_guard(PERFORMER, at_performer.old_solve)),
        "search",
    ),
    "WS-EXCHANGE-11 forgets a slice when it is acknowledged": (
        _thinker(
            _then(
                THINKER,
                A.MARK_ACKED,
                lambda s: attrs.evolve(s, ring=tuple(x for x in s.ring if x.unit > s.acked)),
            )
        ),
        "search",
    ),
    "WS-EXCHANGE-11 has no window": (
        _thinker(_without_guard(THINKER, at_thinker.window_full)),
        "search",
    ),
    "WS-EXCHANGE-11 takes any slice ahead": (
        _performer(_without_guard(PERFORMER, at_performer.beyond_window)),
        "script",
    ),
    "WS-EXCHANGE-11 keeps latents whose acknowledgement was lost": (
        _performer(
            _with_action(
                PERFORMER,
                A.APPEND,
                lambda s, g: (
                    attrs.evolve(PERFORMER.actions[A.APPEND](s, g)[0], kept=s.kept),
                    PERFORMER.actions[A.APPEND](s, g)[1],
                ),
            )
        ),
        "script",
    ),
    "WS-EXCHANGE-12 closes before the last response": (
        _thinker(_with_row(THINKER, E.FINISH, P.CLOSING, A.SEND_CLOSE)),
        "search",
    ),
    "WS-EXCHANGE-12 answers a close once": (
        _performer(
            attrs.evolve(
                PERFORMER,
                transitions={**PERFORMER.transitions, (P.CLOSED, E.CLOSE): (P.CLOSED, ())},
            )
        ),
        "search",
    ),
    "WS-EXCHANGE-13 thinker never resends": (
        _thinker(_with_row(THINKER, E.TIMER, None)),
        "search",
    ),
    "WS-EXCHANGE-13 performer never resends": (
        _performer(_with_row(PERFORMER, E.TIMER, None)),
        "search",
    ),
}
"""Defects by name; how each shows in `tests/test_exchange_mutants.py`."""
