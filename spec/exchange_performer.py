"""How the performer reads what happens: its state, and the guards that name events.

A performer holds nothing that cannot be sent again: restarted, it says hello with a greater
incarnation and is given a snapshot (WS-EXCHANGE-10). Source: design §8, §9 (CHOICE).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from spec.exchange_effects import Corrupt, PeerLost, Solved, Timer
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
    FROM_PERFORMER,
    Close,
    Header,
    Latents,
    LatentsAck,
    LatentsNack,
    Open,
)
from spec.exchange_terms import (
    Part,
    Terms,
    overlap,
    sealed,
    slice_bytes,
    slice_segments,
    stream_tokens,
)
from spec.layout import PREFILL_UNIT


@attrs.frozen(kw_only=True)
class Appended:
    """A slice in the cache, remembered to tell a copy of it from a conflict."""

    unit: int
    parts: tuple[Part, ...]
    digest: str


@attrs.frozen(kw_only=True, slots=False)
class Performer(State):
    """The performer's state, of bounded size (WS-EXCHANGE-11).

    ``first_unit``: what the epoch's snapshot goes up to. ``appended``: the newest slice in the
    cache; ``kv_len``: the length of the slice stream with it. ``held``: parts of the next slice.
    ``recent``: the newest appended slices, oldest first, at most ``window`` + 1. ``solved``: the
    newest solved unit. ``kept``: latents not acknowledged yet, oldest first.
    """

    incarnation: int
    first_unit: int = PREFILL_UNIT
    appended: int = PREFILL_UNIT - 1
    kv_len: int = 0
    held: tuple[Part, ...] = ()
    recent: tuple[Appended, ...] = ()
    solved: int = PREFILL_UNIT
    kept: tuple[Latents, ...] = ()


def performer(terms: Terms, incarnation: int) -> Performer:
    """A performer with an empty cache. Feed `Timer` once: it says hello.

    Args:
        incarnation: greater than that of any former performer of the session (a restart count,
            or the time of the start).
    """
    return Performer(terms=terms, phase=Phase.WAITING, incarnation=incarnation)


# Guards.


def for_other_incarnation(state: Performer, message: Open) -> bool:
    """The epoch is meant for a performer before us (WS-EXCHANGE-10)."""
    return message.incarnation != state.incarnation


def open_misfit(state: Performer, message: Open) -> bool:
    """Other terms than ours, or another snapshot for the same epoch (WS-EXCHANGE-1)."""
    return message.terms != state.terms or (
        message.epoch == state.epoch and message.unit != state.first_unit
    )


def same_epoch(state: Performer, message: Open) -> bool:
    """The epoch is open here already (WS-EXCHANGE-10)."""
    return message.epoch == state.epoch


def slice_misfit(state: Performer, header: Header) -> bool:
    """The header contradicts the terms, the schedule or itself (WS-EXCHANGE-3)."""
    terms, (a, b), (c, d) = state.terms, header.layers, header.heads
    snapshot = header.unit == state.first_unit
    return (
        header.unit < state.first_unit
        or b > terms.layers
        or d > terms.kv_heads
        or header.dtype != terms.dtype
        or header.segments != slice_segments(terms, header.unit, snapshot)
        or header.kv_len_after - header.kv_len_before != stream_tokens(terms, header.segments)
        or header.byte_count != slice_bytes(terms, header.token_count, b - a, d - c)
    )


def beyond_window(state: Performer, header: Header) -> bool:
    """The thinker cannot have the latents that this slice needs (WS-EXCHANGE-11)."""
    return header.unit > state.solved + state.terms.window


def differs_from_appended(state: Performer, header: Header) -> bool:
    """Not what was appended for this unit (WS-EXCHANGE-7)."""
    return any(
        known.unit == header.unit and header.part not in known.parts for known in state.recent
    )


def appended_before(state: Performer, header: Header) -> bool:
    """The slice is in the cache already (WS-EXCHANGE-7)."""
    return header.unit <= state.appended


def slice_gap(state: Performer, header: Header) -> bool:
    """An earlier slice is missing (WS-EXCHANGE-8)."""
    return header.unit > state.appended + 1


def miscounted(state: Performer, header: Header) -> bool:
    """The next slice does not begin where our cache ends (WS-EXCHANGE-7)."""
    return header.kv_len_before != state.kv_len


def held_before(state: Performer, header: Header) -> bool:
    """This part is held already (WS-EXCHANGE-5)."""
    return bool(state.held) and header.part in state.held


def differs_from_held(state: Performer, header: Header) -> bool:
    """Layers and heads that are held already, from another part (WS-EXCHANGE-5)."""
    return bool(state.held) and any(overlap(header.part, part) for part in state.held)


def incomplete(state: Performer, header: Header) -> bool:
    """With this part, others are still missing (WS-EXCHANGE-5)."""
    return not sealed(state.terms, (*state.held, header.part))


def begins_epoch(state: Performer, header: Header) -> bool:
    """The snapshot: it is appended, and there is nothing to solve (WS-EXCHANGE-10)."""
    return header.unit == state.first_unit


def old_solve(state: Performer, given: Solved) -> bool:
    """Solved in an epoch that is over (WS-EXCHANGE-10)."""
    return given.epoch != state.epoch


def solved_out_of_turn(state: Performer, given: Solved) -> bool:
    """Not the next unit, or its slice is not here (WS-EXCHANGE-6)."""
    return given.unit != state.solved + 1 or given.unit > state.appended


def latents_acked_before(state: Performer, message: LatentsAck) -> bool:
    """Acknowledged already (WS-EXCHANGE-9)."""
    return message.unit <= state.solved - len(state.kept)


def acks_other_latents(state: Performer, message: LatentsAck) -> bool:
    """Not what we sent (WS-EXCHANGE-9)."""
    return all((kept.unit, kept.digest) != (message.unit, message.digest) for kept in state.kept)


def latents_not_kept(state: Performer, message: LatentsNack) -> bool:
    """Not solved yet, or acknowledged since (WS-EXCHANGE-9)."""
    return all(kept.unit != message.unit for kept in state.kept)


def _message_guards(*own: tuple[Callable[[Performer, Any], bool], Event]) -> Guards[Performer]:
    return (
        (other_session, Event.OTHER_SESSION),
        (stale_epoch, Event.STALE_EPOCH),
        (future_epoch, Event.FUTURE_EPOCH),
        *own,
    )


GUARDS: Final[Mapping[type, Guards[Performer]]] = {
    # What only a performer sends.
    **dict.fromkeys(
        FROM_PERFORMER, ((other_session, Event.OTHER_SESSION), (otherwise, Event.WRONG_SIDE))
    ),
    Timer: ((otherwise, Event.TIMER),),
    Corrupt: ((otherwise, Event.CORRUPT),),
    PeerLost: ((otherwise, Event.PEER_LOST),),
    Solved: (
        (old_solve, Event.SOLVED_STALE),
        (solved_out_of_turn, Event.SOLVED_OUT_OF_TURN),
        (otherwise, Event.SOLVED),
    ),
    Open: (
        (other_session, Event.OTHER_SESSION),
        (for_other_incarnation, Event.OPEN_OTHER),
        (stale_epoch, Event.STALE_EPOCH),
        (open_misfit, Event.OPEN_MISFIT),
        (same_epoch, Event.OPEN_AGAIN),
        (otherwise, Event.OPEN_NEW),
    ),
    Header: _message_guards(
        (slice_misfit, Event.SLICE_MISFIT),
        (beyond_window, Event.SLICE_EARLY),
        (differs_from_appended, Event.SLICE_CONFLICT),
        (appended_before, Event.SLICE_AGAIN),
        (slice_gap, Event.SLICE_GAP),
        (miscounted, Event.SLICE_MISCOUNTED),
        (held_before, Event.PART_AGAIN),
        (differs_from_held, Event.SLICE_CONFLICT),
        (incomplete, Event.SLICE_PART),
        (begins_epoch, Event.SNAPSHOT_SEALED),
        (otherwise, Event.SLICE_SEALED),
    ),
    LatentsAck: _message_guards(
        (latents_acked_before, Event.LATENTS_ACK_LATE),
        (acks_other_latents, Event.LATENTS_ACK_WRONG),
        (otherwise, Event.LATENTS_ACK),
    ),
    LatentsNack: _message_guards(
        (latents_not_kept, Event.LATENTS_NACK_VOID), (otherwise, Event.LATENTS_NACK)
    ),
    # A session is closed once, whatever epoch this side has seen of it.
    Close: (
        (other_session, Event.OTHER_SESSION),
        (closes_well, Event.CLOSE),
        (otherwise, Event.PEER_FAILED),
    ),
}
"""How a performer reads each input: the first guard that is true names the event."""
