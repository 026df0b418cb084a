"""The tables themselves: closed, pure, plain data, and drawn as they are (WS-EXCHANGE-6)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from exchange_scripts import PERFORMER_SCRIPTS, TERMS
from exchange_thinker_scripts import THINKER_SCRIPTS

from simulator.world import small as net
from simulator.world.machines import Machines
from simulator.world.orders import faulty_moves
from simulator.world.small import World
from spec.exchange import PERFORMER, THINKER, performer, step, thinker
from spec.exchange_document import document
from spec.exchange_effects import Fail
from spec.exchange_events import LOCAL_EVENTS, Action, Event, Phase
from spec.exchange_json import from_json, to_json
from spec.exchange_machine import Machine

MACHINES: list[Machine[Any]] = [THINKER, PERFORMER]


def events_of(machine: Machine[Any]) -> set[Event]:
    return {event for guards in machine.guards.values() for _, event in guards}


def phases_of(machine: Machine[Any]) -> set[Phase]:
    return {phase for phase, _ in machine.transitions}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_the_table_is_closed(machine: Machine[Any]) -> None:
    """WS-EXCHANGE-6: rows lead to phases that have rows, on events that a guard names, with
    actions that exist; nothing is left over."""
    phases = phases_of(machine)
    assert {after for after, _ in machine.transitions.values()} <= phases
    assert {event for _, event in machine.transitions} <= events_of(machine)
    used = {action for _, actions in machine.transitions.values() for action in actions}
    assert used == {*machine.actions, Action.DROP}
    assert all(guards[-1][0].__name__ == "otherwise" for guards in machine.guards.values())


def test_every_word_is_used() -> None:
    """WS-EXCHANGE-6: no event, action or phase without a place in a table."""
    assert events_of(THINKER) | events_of(PERFORMER) == set(Event)
    assert {Action.DROP, *THINKER.actions, *PERFORMER.actions} == set(Action)
    assert phases_of(THINKER) | phases_of(PERFORMER) == set(Phase)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_timer_and_corruption_have_a_row_everywhere(machine: Machine[Any]) -> None:
    """WS-EXCHANGE-8, WS-EXCHANGE-13: neither may ever be anybody's fault."""
    for phase in phases_of(machine):
        for event in (Event.TIMER, Event.CORRUPT, Event.PEER_LOST):
            assert (phase, event) in machine.transitions


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_an_ended_session_stays_ended(machine: Machine[Any]) -> None:
    """WS-EXCHANGE-12: no message moves a closed or failed machine."""
    for (phase, event), (after, _) in machine.transitions.items():
        if phase in (Phase.CLOSED, Phase.FAILED):
            assert after is phase, event
    for phase in (Phase.CLOSED, Phase.FAILED):
        for event in events_of(machine) - LOCAL_EVENTS:
            assert (phase, event) in machine.transitions


def test_the_drawing_is_the_table() -> None:
    """WS-EXCHANGE-6: regenerate with ``python -m spec.exchange_document > docs/exchange.md``."""
    committed = Path(__file__).parent.parent / "docs" / "exchange.md"
    assert committed.read_text(encoding="utf-8") == document()


def wander(moves: int) -> Iterator[World]:
    rng = random.Random(3)
    w = net.world(Machines(), net.terms("overlapped"), 3, net.BY_LAYER)
    for _ in range(moves):
        yield w
        choices = [*net.fair_moves(Machines(), w)] or [w]
        if rng.random() < 0.3:
            choices = [*faulty_moves(Machines(), w, ("drop", "duplicate", "corrupt", "crash"))]
        w = rng.choice(choices)


def test_states_and_messages_are_plain_data() -> None:
    """WS-EXCHANGE-2, WS-EXCHANGE-6: everything there is can be written as JSON and messages read
    back."""
    for w in wander(150):
        json.dumps([attrs.asdict(w.thinker), attrs.asdict(w.performer)])
        for _, message in w.flight:
            assert from_json(json.loads(json.dumps(to_json(message)))) == message


def test_effects_are_plain_data() -> None:
    """WS-EXCHANGE-6: so that a script of them can be kept and compared."""
    for script in PERFORMER_SCRIPTS.values():
        state = performer(TERMS, incarnation=1)
        for given, _ in script:
            state, effects = step(PERFORMER, state, given)
            json.dumps([attrs.asdict(effect) for effect in effects])


def test_a_step_is_a_function() -> None:
    """WS-EXCHANGE-6: the same state and input give the same state and effects, again and again,
    and the state that went in is untouched."""
    for script in THINKER_SCRIPTS.values():
        state = thinker(TERMS)
        for given, _ in script:
            before = attrs.asdict(state)
            first, second = step(THINKER, state, given), step(THINKER, state, given)
            assert first == second
            assert first[0].dropped == second[0].dropped
            assert attrs.asdict(state) == before
            state = first[0]


def test_state_does_not_grow() -> None:
    """WS-EXCHANGE-11: after a thousand units both states are as large as after ten."""
    w = net.world(Machines(), net.terms("overlapped"), 1000, net.BY_LAYER)
    sizes = dict[int, tuple[int, ...]]()
    while not w.done:
        w = next(net.fair_moves(Machines(), attrs.evolve(w, appended=w.appended[-1:], solving=())))
        state = w.thinker, w.performer
        sizes[w.decoded] = max(
            sizes.get(w.decoded, ()),
            (len(state[0].ring), len(state[0].taken), len(state[1].recent), len(state[1].kept)),
        )
    assert sizes[1000] <= sizes[10]
    assert max(max(sizes.values())) <= w.terms.window + 1


def test_a_fault_of_the_peer_ends_the_session_for_both() -> None:
    """WS-EXCHANGE-12: the one who finds it says so, and the other one hears whose it was."""
    state = performer(TERMS, incarnation=1)
    for given, _ in PERFORMER_SCRIPTS["WS-EXCHANGE-7 same unit, other digest"]:
        state, effects = step(PERFORMER, state, given)
    assert state.phase is Phase.FAILED
    other = net.run_to_streaming()
    told, effects = step(THINKER, other, effects[0].message)  # type: ignore[union-attr]
    assert told.phase is Phase.FAILED
    assert isinstance(effects[0], Fail)
    assert "slice-conflict while streaming" in effects[0].reason
