"""How the thinker reads what happens: its state, and the guards that name events (WS-EXCHANGE-6).

The thinker's cache is the truth of a session: whatever a performer loses is sent again from it.
Source: design §8, §9 (CHOICE).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from spec.exchange_effects import Corrupt, Exported, Finish, Offered, PeerLost, Timer
from spec.exchange_events import Event, Phase
from spec.exchange_machine import (
    Guards,
    State,
    closes_well,
    future_epoch,
    other_session,
    otherwise,
    stale_epoch,
)
from spec.exchange_message import (
    FROM_THINKER,
    Close,
    Hello,
    Latents,
    SliceAck,
    SliceNack,
)
from spec.exchange_terms import Part, Terms, kv_len_after, latents_bytes
from spec.layout import PREFILL_UNIT


@attrs.frozen(kw_only=True)
class Sent:
    """A slice that may have to be sent again."""

    unit: int
    snapshot: bool
    parts: tuple[Part, ...]
    digest: str


@attrs.frozen(kw_only=True, slots=False)
class Thinker(State):
    """The thinker's state, of bounded size (WS-EXCHANGE-11).

    ``incarnation``: the performer that the epoch is for, -1 before the first.
    ``first_unit``: what the epoch's snapshot goes up to. ``snapshot``: it, until acknowledged.
    ``ring``: the slices whose latents are not accepted yet, oldest first, at most ``window``.
    ``offered``, ``acked``, ``accepted``: the newest unit of which the slice was made, the slice was
    acknowledged in this epoch, and the latents were accepted.
    ``taken``: (unit, slice digest, latents digest) of recent accepted latents, oldest first.
    """

    incarnation: int = -1
    first_unit: int = PREFILL_UNIT
    snapshot: Sent | None = None
    ring: tuple[Sent, ...] = ()
    offered: int = PREFILL_UNIT
    acked: int = PREFILL_UNIT - 1
    accepted: int = PREFILL_UNIT
    taken: tuple[tuple[int, str, str], ...] = ()
    finishing: bool = False


def thinker(terms: Terms) -> Thinker:
    """A thinker before its first performer said hello."""
    return Thinker(terms=terms, phase=Phase.IDLE)


def to_send(state: Thinker) -> tuple[Sent, ...]:
    """Everything that can be sent in this epoch, in order."""
    return state.ring if state.snapshot is None else (state.snapshot, *state.ring)


def kv_len_before(state: Thinker, unit: int) -> int:
    """Length of the slice stream that slice ``unit`` of this epoch is appended to."""
    return 0 if unit == state.first_unit else kv_len_after(state.terms, unit - 1)


# Guards.


def out_of_turn(state: Thinker, given: Offered) -> bool:
    """The slice is not the next one, or none was to follow (WS-EXCHANGE-6)."""
    return given.unit != state.offered + 1 or state.finishing


def window_full(state: Thinker, given: Offered) -> bool:
    """More slices than the window would be ahead of the latents (WS-EXCHANGE-11)."""
    return given.unit - state.accepted > state.terms.window


def old_export(state: Thinker, given: Exported) -> bool:
    """The snapshot was asked for in an epoch that is over (WS-EXCHANGE-10)."""
    return (given.epoch, given.unit) != (state.epoch, state.first_unit)


def nothing_pending(state: Thinker, _given: Finish) -> bool:
    """The latents of every slice are here (WS-EXCHANGE-12)."""
    return state.accepted == state.offered


def newer_incarnation(state: Thinker, message: Hello) -> bool:
    """A performer that was not known: the former one is lost (WS-EXCHANGE-10)."""
    return message.incarnation > state.incarnation


def same_incarnation(state: Thinker, message: Hello) -> bool:
    """The known performer has not seen its `Open` yet (WS-EXCHANGE-10)."""
    return message.incarnation == state.incarnation


def acked_before(state: Thinker, message: SliceAck) -> bool:
    """The slice was acknowledged already, or its latents came first (WS-EXCHANGE-7)."""
    return message.unit <= state.acked


def acks_other(state: Thinker, message: SliceAck) -> bool:
    """The performer appended something that we did not send (WS-EXCHANGE-7)."""
    digests = {sent.unit: sent.digest for sent in to_send(state)}
    return digests.get(message.unit) != message.digest or message.kv_len != kv_len_after(
        state.terms, message.unit
    )


def nacks_acked(state: Thinker, message: SliceNack) -> bool:
    """The request is older than an acknowledgement (WS-EXCHANGE-8)."""
    return message.unit <= state.acked


def nacks_other(state: Thinker, message: SliceNack) -> bool:
    """The performer misses what it cannot know of, or counts otherwise (WS-EXCHANGE-8)."""
    return message.unit > state.offered + 1 or message.kv_len != kv_len_before(state, message.unit)


def nacks_unmade(state: Thinker, message: SliceNack) -> bool:
    """The slice is not made yet; it will be sent when it is (WS-EXCHANGE-8)."""
    return message.unit == state.offered + 1


def latents_misfit(state: Thinker, message: Latents) -> bool:
    """Dtype or size differ from the terms (WS-EXCHANGE-9)."""
    return (message.dtype, message.byte_count) != (state.terms.dtype, latents_bytes(state.terms))


def latents_conflict(state: Thinker, message: Latents) -> bool:
    """Other latents than those accepted for this unit (WS-EXCHANGE-9)."""
    return any(
        unit == message.unit and digests != [message.slice_digest, message.digest]
        for unit, *digests in state.taken
    )


def latents_taken(state: Thinker, message: Latents) -> bool:
    """The latents of this unit are accepted already (WS-EXCHANGE-9)."""
    return message.unit <= state.accepted


def latents_unasked(state: Thinker, message: Latents) -> bool:
    """No such slice was sent (WS-EXCHANGE-9)."""
    return message.unit > state.offered


def latents_foreign(state: Thinker, message: Latents) -> bool:
    """Not solved from the slice we sent for this unit (WS-EXCHANGE-9)."""
    return all(
        (sent.unit, sent.digest) != (message.unit, message.slice_digest) for sent in state.ring
    )


def latents_gap(state: Thinker, message: Latents) -> bool:
    """Latents of an earlier unit are missing (WS-EXCHANGE-9)."""
    return message.unit > state.accepted + 1


def latents_last(state: Thinker, message: Latents) -> bool:
    """The session's last response (WS-EXCHANGE-12)."""
    return state.finishing and message.unit == state.offered


def _message_guards(*own: tuple[Callable[[Thinker, Any], bool], Event]) -> Guards[Thinker]:
    return (
        (other_session, Event.OTHER_SESSION),
        (stale_epoch, Event.STALE_EPOCH),
        (future_epoch, Event.FUTURE_EPOCH),
        *own,
    )


GUARDS: Final[Mapping[type, Guards[Thinker]]] = {
    # What only a thinker sends.
    **dict.fromkeys(
        FROM_THINKER, ((other_session, Event.OTHER_SESSION), (otherwise, Event.WRONG_SIDE))
    ),
    Timer: ((otherwise, Event.TIMER),),
    Corrupt: ((otherwise, Event.CORRUPT),),
    PeerLost: ((otherwise, Event.PEER_LOST),),
    Offered: (
        (out_of_turn, Event.OFFER_OUT_OF_TURN),
        (window_full, Event.OFFER_FULL),
        (otherwise, Event.OFFER),
    ),
    Exported: ((old_export, Event.EXPORTED_STALE), (otherwise, Event.EXPORTED)),
    Finish: ((nothing_pending, Event.FINISH_DONE), (otherwise, Event.FINISH)),
    Hello: (
        (other_session, Event.OTHER_SESSION),
        (newer_incarnation, Event.HELLO_NEW),
        (same_incarnation, Event.HELLO_AGAIN),
        (otherwise, Event.HELLO_OLD),
    ),
    SliceAck: _message_guards(
        (acked_before, Event.ACK_LATE), (acks_other, Event.ACK_WRONG), (otherwise, Event.ACK)
    ),
    SliceNack: _message_guards(
        (nacks_acked, Event.NACK_LATE),
        (nacks_other, Event.NACK_WRONG),
        (nacks_unmade, Event.NACK_EARLY),
        (otherwise, Event.NACK),
    ),
    Latents: _message_guards(
        (latents_misfit, Event.LATENTS_MISFIT),
        (latents_conflict, Event.LATENTS_CONFLICT),
        (latents_taken, Event.LATENTS_AGAIN),
        (latents_unasked, Event.LATENTS_UNASKED),
        (latents_foreign, Event.LATENTS_FOREIGN),
        (latents_gap, Event.LATENTS_GAP),
        (latents_last, Event.LATENTS_LAST),
        (otherwise, Event.LATENTS_NEXT),
    ),
    # The answer to our own `Close` may come from a performer that never saw the epoch.
    Close: (
        (other_session, Event.OTHER_SESSION),
        (closes_well, Event.CLOSE),
        (stale_epoch, Event.STALE_EPOCH),
        (otherwise, Event.PEER_FAILED),
    ),
}
"""How a thinker reads each input: the first guard that is true names the event."""
