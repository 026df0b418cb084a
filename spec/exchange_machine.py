"""The interpreter of an exchange table: `state, effects = step(machine, state, given)`.

Pure: no clock, no I/O, no randomness; a timer is an input like any other (WS-EXCHANGE-6).
Source: CHOICE, a table in the manner of sans-IO protocol libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from spec.errors import ExchangeError
from spec.exchange_effects import Closed, Drop, Effect, Fail, Fault, Input, Send
from spec.exchange_events import LOCAL_EVENTS, Action, Event, Phase
from spec.exchange_message import Close
from spec.exchange_terms import Terms


@attrs.frozen(kw_only=True, slots=False)
class State:
    """What both sides hold: the terms, where they stand, and how much they dropped, by event.

    The counts are for reports: no decision depends on them, and they do not make states differ.
    """

    terms: Terms
    phase: Phase
    epoch: int = -1
    dropped: Mapping[Event, int] = attrs.field(factory=dict, eq=False)


S = TypeVar("S", bound=State)

if TYPE_CHECKING:
    from attrs import evolve as evolve  # noqa: PLC0414 - what a checker takes for exported
else:

    def evolve(state: State, **changes: object) -> State:
        """`attrs.evolve` for states: they check nothing when made, so fields are just copied.

        A step makes one or two states, so this decides what a million units cost. Type checkers
        see `attrs.evolve` and refuse what is not a field.
        """
        new = object.__new__(type(state))
        new.__dict__.update(state.__dict__, **changes)
        return new


Row = tuple[Phase, tuple[Action, ...]]
Table = Mapping[tuple[Phase, Event], Row]
Guards = tuple[tuple[Callable[[S, Any], bool], Event], ...]
Act = Callable[[S, Any], tuple[S, tuple[Effect, ...]]]


@attrs.frozen(kw_only=True, eq=False)
class Machine(Generic[S]):
    """One side of the protocol (WS-EXCHANGE-6).

    ``guards`` holds, for each type of input, predicates in order; the first that is true gives the
    event. ``transitions`` maps (phase, event) to the next phase and its actions.
    """

    name: str
    transitions: Table
    guards: Mapping[type, Guards[S]]
    actions: Mapping[Action, Act[S]]
    rows: Mapping[Phase, Mapping[Event, tuple[Phase, tuple[Act[S] | None, ...]]]] = attrs.field(
        init=False
    )
    """The transitions with their functions in place; None stands for dropping the input."""

    @rows.default
    def _rows_of_transitions(
        self,
    ) -> Mapping[Phase, Mapping[Event, tuple[Phase, tuple[Act[S] | None, ...]]]]:
        found: dict[Phase, dict[Event, tuple[Phase, tuple[Act[S] | None, ...]]]] = {}
        for (phase, event), (after, actions) in self.transitions.items():
            does = tuple(None if a is Action.DROP else self.actions[a] for a in actions)
            found.setdefault(phase, {})[event] = (after, does)
        return found


def classify(machine: Machine[S], state: S, given: Input) -> Event:
    """The event that ``given`` is to this machine in this state (WS-EXCHANGE-6).

    Raises:
        ExchangeError: an input of ours that this machine does not take.
    """
    guards = machine.guards.get(type(given))
    if guards is None:
        allowed = ", ".join(sorted(kind.__name__ for kind in machine.guards))
        raise ExchangeError(f"input of the {machine.name}", type(given).__name__, allowed)
    for guard, event in guards:
        if guard(state, given):
            return event
    raise AssertionError(f"the last guard of {type(given).__name__} is not `otherwise`")


def step(machine: Machine[S], state: S, given: Input) -> tuple[S, tuple[Effect, ...]]:
    """One transition (WS-EXCHANGE-6).

    A pair that is not in the table is a protocol error: the peer's fault ends the session with
    `Close` and `Fail`, our own raises and leaves the state as it was.

    Raises:
        ExchangeError: an input of ours that is out of place; fault ours.
    """
    event = classify(machine, state, given)
    row = machine.rows[state.phase].get(event)
    if row is None:
        return _protocol_error(machine, state, event)
    phase, actions = row
    effects: list[Effect] = []
    for act in actions:
        if act is None:
            state = _counted(state, event)
            effects.append(Drop(event))
        else:
            state, made = act(state, given)
            effects.extend(made)
    if state.phase is not phase:
        state = evolve(state, phase=phase)
    return state, tuple(effects)


def _counted(state: S, event: Event) -> S:
    count = state.dropped.get(event, 0) + 1
    return evolve(state, dropped={**state.dropped, event: count})


def _protocol_error(machine: Machine[S], state: S, event: Event) -> tuple[S, tuple[Effect, ...]]:
    if event in LOCAL_EVENTS:
        allowed = sorted(
            e for p, e in machine.transitions if p is state.phase and e in LOCAL_EVENTS
        )
        raise ExchangeError(f"{machine.name} while {state.phase}", event.value, ", ".join(allowed))
    reason = f"{event} while {state.phase}"
    close = Close(session=state.terms.session, epoch=state.epoch, reason=reason)
    failed = evolve(state, phase=Phase.FAILED)
    return failed, (Send(close), Fail(fault=Fault.PEER, reason=reason))


# Guards that both machines use.


def otherwise(_state: State, _given: object) -> bool:
    """None of the above."""
    return True


def other_session(state: State, message: Any) -> bool:
    """The message belongs to another session (WS-EXCHANGE-2)."""
    return bool(message.session != state.terms.session)


def stale_epoch(state: State, message: Any) -> bool:
    """The message's epoch is over (WS-EXCHANGE-10)."""
    return bool(message.epoch < state.epoch)


def future_epoch(state: State, message: Any) -> bool:
    """The message's epoch has not begun here (WS-EXCHANGE-10)."""
    return bool(message.epoch > state.epoch)


def closes_well(_state: State, message: Close) -> bool:
    """The peer closes without reporting an error (WS-EXCHANGE-12)."""
    return message.reason == ""


# Actions that both machines use.


def send_close(state: S, _given: object) -> tuple[S, tuple[Effect, ...]]:
    """Say, or say again, that the session is over (WS-EXCHANGE-12)."""
    return state, (Send(Close(session=state.terms.session, epoch=state.epoch, reason="")),)


def closed(state: S, _given: object) -> tuple[S, tuple[Effect, ...]]:
    """The session is over on this side (WS-EXCHANGE-12)."""
    return state, (Closed(),)


def report_failure(state: S, close: Close) -> tuple[S, tuple[Effect, ...]]:
    """The peer says that we broke the protocol (WS-EXCHANGE-12)."""
    return state, (Fail(fault=Fault.OURS, reason=f"the peer reports: {close.reason}"),)
