"""Ports whose machines are wrong after something else: a gap, an end, another epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from conformance.mutants.exchange import Reads
from conformance.mutants.patching import Mutant, by_class, patched
from conformance.ports.reference import ReferencePort
from conformance.protocol import Json
from spec import (
    exchange,
    exchange_headers,
    exchange_machine,
    exchange_performer,
    exchange_terms,
    exchange_thinker_actions,
)
from spec.exchange_effects import Effect, PeerLost
from spec.exchange_events import Action, Event, Phase
from spec.exchange_machine import Machine, State
from spec.exchange_message import Header, Hello, Open
from spec.exchange_performer import Performer
from spec.exchange_thinker import Thinker

PERFORMER: Final = exchange.PERFORMER
THINKER: Final = exchange.THINKER
SLICE_BYTES: Final = exchange_terms.slice_bytes
Effects = tuple[Effect, ...]
S = TypeVar("S", bound=State)


def acting(machine: Machine[S], changed: Mapping[Action, Any]) -> Machine[S]:
    """``machine`` with other functions for some actions."""
    return attrs.evolve(machine, actions={**machine.actions, **changed})


def reading(
    machine: Machine[S], kind: type, guard: Callable[..., bool], instead: Any
) -> Machine[S]:
    """``machine`` with another guard in the place of ``guard``."""
    rows = tuple((instead if g is guard else g, event) for g, event in machine.guards[kind])
    return attrs.evolve(machine, guards={**machine.guards, kind: rows})


def in_phase(phase: Phase, event: Event, to: Phase, *actions: Action) -> Machine[Performer]:
    """The performer with another row."""
    rows = {**PERFORMER.transitions, (phase, event): (to, actions)}
    return attrs.evolve(PERFORMER, transitions=rows)


class GapSurvives(ReferencePort):
    """An epoch that begins in a gap leaves the performer in it: what is lost first is not asked
    for."""

    name = "gap-survives-open"
    performer = in_phase(Phase.GAP, Event.OPEN_NEW, Phase.GAP, Action.ADOPT_EPOCH)


class SolvesWhenClosed(ReferencePort):
    """A solve that ends after the session was closed still sends its latents."""

    name = "solve-after-close"
    performer = in_phase(
        Phase.CLOSED, Event.SOLVED, Phase.CLOSED, Action.KEEP_LATENTS, Action.SEND_LATENTS,
        Action.COMMIT,
    )  # fmt: skip


@attrs.frozen(kw_only=True, slots=False)
class Bereaved(Performer):
    """A performer whose thinker was lost."""


def _bereaved(state: Performer, given: object) -> tuple[Performer, Effects]:
    if isinstance(given, PeerLost):
        fields = {f.name: getattr(state, f.name) for f in attrs.fields(Performer)}
        state = Bereaved(**fields)
    return exchange_machine.closed(state, given)


def _mute(state: Performer, given: object) -> tuple[Performer, Effects]:
    if isinstance(state, Bereaved):
        return state, ()
    return exchange_machine.send_close(state, given)


class LostThenMute(ReferencePort):
    """A performer that was told that its thinker is lost does not answer a close that comes."""

    name = "lost-then-mute"
    performer = acting(PERFORMER, {Action.CLOSED: _bereaved, Action.SEND_CLOSE: _mute})


class TermsFirst(ReferencePort):
    """The terms of an open for another performer are compared, and fail this one."""

    name = "terms-before-incarnation"
    performer = reading(
        PERFORMER,
        Open,
        exchange_performer.for_other_incarnation,
        lambda state, m: m.incarnation != state.incarnation and m.terms == state.terms,
    )


def _first_part_misfit(state: Performer, header: Header) -> bool:
    if state.held and header.unit == state.appended + 1:
        return header.layers[1] > state.terms.layers or header.heads[1] > state.terms.kv_heads
    return exchange_performer.slice_misfit(state, header)


class LaterPartsUnchecked(ReferencePort):
    """Only the first part of a slice is compared with the terms."""

    name = "later-parts-unchecked"
    performer = reading(PERFORMER, Header, exchange_performer.slice_misfit, _first_part_misfit)


def _differs_from_three(state: Performer, header: Header) -> bool:
    return any(
        known.unit == header.unit and header.part not in known.parts for known in state.recent[-3:]
    )


class RemembersThree(ReferencePort):
    """The digests of three slices are known, however wide the window is."""

    name = "remembers-three"
    performer = reading(
        PERFORMER, Header, exchange_performer.differs_from_appended, _differs_from_three
    )


def _unfinished(state: Thinker, given: Hello | PeerLost) -> tuple[Thinker, Effects]:
    state, effects = exchange_thinker_actions.new_epoch(state, given)
    return attrs.evolve(state, finishing=False), effects


class ResyncForgetsFinish(ReferencePort):
    """A new epoch forgets that no slice will follow: the thinker never closes."""

    name = "resync-forgets-finish"
    thinker = acting(THINKER, {Action.NEW_EPOCH: _unfinished})


class LineEndsIgnored(Reads):
    """A line feed behind a session's name is no part of it, as `$` has it in a pattern."""

    name = "session-name-with-line-feed"

    def read(self, message: Json) -> Json:
        name = message.get("session")
        if not isinstance(name, str) or not name.endswith("\n"):
            return message
        return {**message, "session": f"{name[:-1]}-other"}


def _in_32_bits(*arguments: Any) -> int:
    return SLICE_BYTES(*arguments) & 0xFFFF_FFFF


MUTANTS: Final[tuple[Mutant, ...]] = (
    by_class("WS-EXCHANGE-10", GapSurvives),
    by_class("WS-EXCHANGE-12", SolvesWhenClosed),
    by_class("WS-EXCHANGE-12", LostThenMute),
    by_class("WS-EXCHANGE-10", TermsFirst),
    by_class("WS-EXCHANGE-3", LaterPartsUnchecked),
    by_class("WS-EXCHANGE-7", RemembersThree),
    by_class("WS-EXCHANGE-12", ResyncForgetsFinish),
    by_class("WS-EXCHANGE-2", LineEndsIgnored),
    patched(
        "byte-counts-of-32-bits", "WS-EXCHANGE-3", "a snapshot of 4 GiB or more has another size",
        (exchange_headers, "slice_bytes", _in_32_bits),
        (exchange_performer, "slice_bytes", _in_32_bits),
    ),
)  # fmt: skip
