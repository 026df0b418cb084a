"""What the performer does: the actions of its table (WS-EXCHANGE-6).

Each is a pure function of the state and the input that came. Source: design §9 (CHOICE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spec.exchange_effects import Append, Commit, Effect, Hold, Release, Reset, Send, Solve, Solved
from spec.exchange_events import Action
from spec.exchange_headers import latents_message
from spec.exchange_machine import Act, closed, evolve, report_failure, send_close
from spec.exchange_message import Header, Hello, LatentsAck, LatentsNack, Open, SliceAck, SliceNack
from spec.exchange_performer import Appended, Performer
from spec.exchange_terms import slice_digest

Done = tuple[Performer, tuple[Effect, ...]]


def send_hello(state: Performer, _given: object) -> Done:
    """(WS-EXCHANGE-10)"""
    return state, (Send(Hello(session=state.terms.session, incarnation=state.incarnation)),)


def adopt_epoch(state: Performer, given: Open) -> Done:
    """Begin the epoch with an empty cache (WS-EXCHANGE-10)."""
    state = evolve(
        state,
        epoch=given.epoch,
        first_unit=given.unit,
        appended=given.unit - 1,
        kv_len=0,
        held=(),
        recent=(),
        solved=given.unit,
        kept=(),
    )
    return state, (Reset(epoch=given.epoch),)


def hold(state: Performer, given: Header) -> Done:
    """Keep one part until its slice is sealed (WS-EXCHANGE-5)."""
    return evolve(state, held=(*state.held, given.part)), (Hold(given),)


def append(state: Performer, given: Header) -> Done:
    """Append every held part at once (WS-EXCHANGE-5, WS-EXCHANGE-7).

    The slice was sent within the window, so its thinker has the responses before it, and latents
    whose acknowledgements were lost need not be kept (WS-EXCHANGE-11).
    """
    slice_ = Appended(unit=given.unit, parts=state.held, digest=slice_digest(state.held))
    state, released = _forget_up_to(state, given.unit - state.terms.window)
    state = evolve(
        state,
        appended=given.unit,
        kv_len=given.kv_len_after,
        held=(),
        recent=(*state.recent, slice_)[-state.terms.window - 1 :],
    )
    effect = Append(
        epoch=state.epoch, unit=given.unit, digest=slice_.digest, kv_len=given.kv_len_after
    )
    return state, (*released, effect)


def send_ack(state: Performer, _given: object) -> Done:
    """Acknowledge everything appended (WS-EXCHANGE-7)."""
    newest = state.recent[-1]
    ack = SliceAck(
        session=state.terms.session,
        epoch=state.epoch,
        unit=newest.unit,
        digest=newest.digest,
        kv_len=state.kv_len,
    )
    return state, (Send(ack),)


def send_nack(state: Performer, _given: object) -> Done:
    """Ask for the next slice (WS-EXCHANGE-8)."""
    nack = SliceNack(
        session=state.terms.session,
        epoch=state.epoch,
        unit=state.appended + 1,
        kv_len=state.kv_len,
    )
    return state, (Send(nack),)


def solve(state: Performer, given: Header) -> Done:
    """(WS-EXCHANGE-9)"""
    digest = state.recent[-1].digest
    return state, (Solve(epoch=state.epoch, unit=given.unit, digest=digest),)


def keep_latents(state: Performer, given: Solved) -> Done:
    """Keep z_unit until it is acknowledged, with the digest of its slice (WS-EXCHANGE-9)."""
    digest = next(known.digest for known in state.recent if known.unit == given.unit)
    latents = latents_message(state.terms, state.epoch, given.unit, digest, given.digest)
    return evolve(state, solved=given.unit, kept=(*state.kept, latents)), ()


def send_latents(state: Performer, _given: object) -> Done:
    """Send the newest latents."""
    return state, (Send(state.kept[-1]),)


def send_kept(state: Performer, _given: object) -> Done:
    """Send all latents that are not acknowledged (WS-EXCHANGE-13)."""
    return state, tuple(Send(latents) for latents in state.kept)


def send_kept_from(state: Performer, given: LatentsNack) -> Done:
    """Send again from the missing latents on (WS-EXCHANGE-9)."""
    return state, tuple(Send(latents) for latents in state.kept if latents.unit >= given.unit)


def commit(state: Performer, given: Solved) -> Done:
    """Overlapped: the own cache takes z_unit; sequential: slice unit + 1 brings it
    (WS-EXCHANGE-9)."""
    own = state.terms.schedule == "overlapped"
    return state, (Commit(unit=given.unit),) if own else ()


def forget_latents(state: Performer, given: LatentsAck) -> Done:
    """Acknowledgements are cumulative (WS-EXCHANGE-9)."""
    return _forget_up_to(state, given.unit)


def _forget_up_to(state: Performer, unit: int) -> Done:
    if not state.kept or state.kept[0].unit > unit:
        return state, ()
    released = tuple(Release(unit=kept.unit) for kept in state.kept if kept.unit <= unit)
    kept = tuple(kept for kept in state.kept if kept.unit > unit)
    return evolve(state, kept=kept), released


ACTIONS: Final[Mapping[Action, Act[Performer]]] = {
    Action.SEND_HELLO: send_hello,
    Action.ADOPT_EPOCH: adopt_epoch,
    Action.HOLD: hold,
    Action.APPEND: append,
    Action.SEND_ACK: send_ack,
    Action.SEND_NACK: send_nack,
    Action.SOLVE: solve,
    Action.KEEP_LATENTS: keep_latents,
    Action.SEND_LATENTS: send_latents,
    Action.SEND_KEPT: send_kept,
    Action.SEND_KEPT_FROM: send_kept_from,
    Action.COMMIT: commit,
    Action.FORGET_LATENTS: forget_latents,
    Action.SEND_CLOSE: send_close,
    Action.CLOSED: closed,
    Action.REPORT_FAILURE: report_failure,
}
