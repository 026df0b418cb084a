"""What the thinker does: the actions of its table (WS-EXCHANGE-6).

Each is a pure function of the state and the input that came. Source: design §9 (CHOICE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spec.exchange_effects import (
    Commit,
    Decode,
    Effect,
    Export,
    Exported,
    Finish,
    Offered,
    PeerLost,
    Refuse,
    Release,
    Send,
)
from spec.exchange_events import Action
from spec.exchange_headers import slice_header
from spec.exchange_machine import Act, closed, evolve, report_failure, send_close
from spec.exchange_message import Hello, Latents, LatentsAck, LatentsNack, Open, SliceAck, SliceNack
from spec.exchange_terms import Terms, check_parts, slice_digest
from spec.exchange_thinker import Sent, Thinker, to_send

Done = tuple[Thinker, tuple[Effect, ...]]


def new_epoch(state: Thinker, given: Hello | PeerLost) -> Done:
    """Begin again, from a snapshot up to the last accepted latents (WS-EXCHANGE-10)."""
    old = () if state.snapshot is None else (Release(unit=state.snapshot.unit),)
    state = evolve(
        state,
        epoch=state.epoch + 1,
        incarnation=given.incarnation if isinstance(given, Hello) else state.incarnation,
        first_unit=state.accepted,
        acked=state.accepted - 1,
        snapshot=None,
    )
    return state, old


def send_open(state: Thinker, _given: object) -> Done:
    """(WS-EXCHANGE-10)"""
    message = Open(
        session=state.terms.session,
        epoch=state.epoch,
        incarnation=state.incarnation,
        unit=state.first_unit,
        terms=state.terms,
    )
    return state, (Send(message),)


def export(state: Thinker, _given: object) -> Done:
    """(WS-EXCHANGE-10)"""
    return state, (Export(epoch=state.epoch, unit=state.first_unit),)


def store(state: Thinker, given: Offered) -> Done:
    """Put the slice into the ring (WS-EXCHANGE-11)."""
    sent = _sent(state.terms, given, snapshot=False)
    return evolve(state, ring=(*state.ring, sent), offered=given.unit), ()


def store_snapshot(state: Thinker, given: Exported) -> Done:
    """(WS-EXCHANGE-10)"""
    return evolve(state, snapshot=_sent(state.terms, given, snapshot=True)), ()


def refuse(state: Thinker, given: Offered) -> Done:
    """Back-pressure: the slice stays with the driver (WS-EXCHANGE-11)."""
    return state, (Refuse(unit=given.unit),)


def send_stored(state: Thinker, given: Offered) -> Done:
    """Send the newest slice."""
    return state, _send_from(state, given.unit)


def send_unacked(state: Thinker, _given: object) -> Done:
    """Send every slice that is not acknowledged (WS-EXCHANGE-13)."""
    return state, _send_from(state, state.acked + 1)


def send_from(state: Thinker, given: SliceNack) -> Done:
    """Send again from the missing slice on (WS-EXCHANGE-8)."""
    return state, _send_from(state, given.unit)


def mark_acked(state: Thinker, given: SliceAck) -> Done:
    """Acknowledgements are cumulative; the snapshot is not needed again (WS-EXCHANGE-7)."""
    return _acked(state, given.unit)


def take_latents(state: Thinker, given: Latents) -> Done:
    """Decode and commit once; having been solved, the slice was appended (WS-EXCHANGE-9)."""
    state, released = _acked(state, max(given.unit, state.acked))
    taken = (*state.taken, (given.unit, given.slice_digest, given.digest))
    state = evolve(
        state,
        ring=tuple(sent for sent in state.ring if sent.unit > given.unit),
        accepted=given.unit,
        taken=taken[-state.terms.window - 1 :],
    )
    return state, (
        *released,
        Decode(unit=given.unit, digest=given.digest),
        Commit(unit=given.unit),
        Release(unit=given.unit),
    )


def send_latents_ack(state: Thinker, _given: object) -> Done:
    """Acknowledge all accepted latents (WS-EXCHANGE-9)."""
    unit, _, digest = state.taken[-1]
    ack = LatentsAck(session=state.terms.session, epoch=state.epoch, unit=unit, digest=digest)
    return state, (Send(ack),)


def send_latents_nack(state: Thinker, _given: object) -> Done:
    """Ask for the next latents (WS-EXCHANGE-9)."""
    nack = LatentsNack(session=state.terms.session, epoch=state.epoch, unit=state.accepted + 1)
    return state, (Send(nack),)


def mark_finishing(state: Thinker, _given: Finish) -> Done:
    """(WS-EXCHANGE-12)"""
    return evolve(state, finishing=True), ()


def _sent(terms: Terms, given: Offered | Exported, *, snapshot: bool) -> Sent:
    check_parts(terms, given.parts)
    return Sent(
        unit=given.unit, snapshot=snapshot, parts=given.parts, digest=slice_digest(given.parts)
    )


def _send_from(state: Thinker, unit: int) -> tuple[Effect, ...]:
    return tuple(
        Send(slice_header(state.terms, state.epoch, sent.unit, sent.snapshot, part))
        for sent in to_send(state)
        if sent.unit >= unit
        for part in sent.parts
    )


def _acked(state: Thinker, unit: int) -> Done:
    if state.snapshot is None:
        return evolve(state, acked=unit), ()
    released = (Release(unit=state.snapshot.unit),)
    return evolve(state, acked=unit, snapshot=None), released


ACTIONS: Final[Mapping[Action, Act[Thinker]]] = {
    Action.NEW_EPOCH: new_epoch,
    Action.SEND_OPEN: send_open,
    Action.EXPORT: export,
    Action.STORE: store,
    Action.STORE_SNAPSHOT: store_snapshot,
    Action.REFUSE: refuse,
    Action.SEND_STORED: send_stored,
    Action.SEND_UNACKED: send_unacked,
    Action.SEND_FROM: send_from,
    Action.MARK_ACKED: mark_acked,
    Action.TAKE_LATENTS: take_latents,
    Action.SEND_LATENTS_ACK: send_latents_ack,
    Action.SEND_LATENTS_NACK: send_latents_nack,
    Action.MARK_FINISHING: mark_finishing,
    Action.SEND_CLOSE: send_close,
    Action.CLOSED: closed,
    Action.REPORT_FAILURE: report_failure,
}
