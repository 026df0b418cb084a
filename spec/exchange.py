"""The KV exchange as two tables: (phase, event) to the next phase and its actions (WS-EXCHANGE-6).

Drivers need this module only: `thinker` and `performer` make a state, `step` moves it, the effects
say what to do. A pair that is in neither table is a protocol error; `step` says whose fault.
Source: design §9 (CHOICE).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from spec import (
    exchange_performer,
    exchange_performer_actions,
    exchange_thinker,
    exchange_thinker_actions,
)
from spec.exchange_events import LOCAL_EVENTS, Action, Event, Phase
from spec.exchange_machine import Machine, Row, Table, step
from spec.exchange_performer import Performer, performer
from spec.exchange_thinker import Thinker, thinker

__all__ = ["PERFORMER", "THINKER", "performer", "step", "thinker"]


def _rows(phase: Phase, rows: Mapping[Event, Row]) -> Table:
    return {(phase, event): row for event, row in rows.items()}


def _dropped(phase: Phase, events: Iterable[Event]) -> Table:
    return {(phase, event): (phase, (Action.DROP,)) for event in events}


def _events(guards: Mapping[type, tuple[tuple[object, Event], ...]]) -> frozenset[Event]:
    return frozenset(event for row in guards.values() for _, event in row)


A, E, P = Action, Event, Phase

_THINKER_EVENTS: Final = _events(exchange_thinker.GUARDS)
_PERFORMER_EVENTS: Final = _events(exchange_performer.GUARDS)
_RESYNC: Final = (P.OPENING, (A.NEW_EPOCH, A.SEND_OPEN, A.EXPORT))
_THINKER_FAILED: Final = (P.FAILED, (A.REPORT_FAILURE,))


def _thinker_streaming(phase: Phase) -> Table:
    """Rows of STREAMING and GAP alike; in GAP the missing latents were asked for already."""
    asked = phase is P.GAP
    ask = (P.GAP, (A.DROP,) if asked else (A.DROP, A.SEND_LATENTS_NACK))
    return {
        **_dropped(phase, (E.OTHER_SESSION, E.STALE_EPOCH, E.EXPORTED_STALE, E.HELLO_OLD)),
        **_dropped(phase, (E.ACK_LATE, E.NACK_LATE, E.NACK_EARLY)),
        **_rows(
            phase,
            {
                E.OFFER: (phase, (A.STORE, A.SEND_STORED)),
                E.OFFER_FULL: (phase, (A.REFUSE,)),
                E.TIMER: (phase, (A.SEND_UNACKED,)),
                E.ACK: (phase, (A.MARK_ACKED,)),
                E.NACK: (phase, (A.SEND_FROM,)),
                E.LATENTS_NEXT: (P.STREAMING, (A.TAKE_LATENTS, A.SEND_LATENTS_ACK)),
                E.LATENTS_LAST: (
                    P.CLOSING,
                    (A.TAKE_LATENTS, A.SEND_LATENTS_ACK, A.SEND_CLOSE),
                ),
                E.LATENTS_AGAIN: (phase, (A.DROP, A.SEND_LATENTS_ACK)),
                E.LATENTS_GAP: ask,
                E.CORRUPT: ask,
                E.HELLO_NEW: _RESYNC,
                E.HELLO_AGAIN: (phase, (A.SEND_OPEN,)),
                E.PEER_LOST: _RESYNC,
                E.PEER_FAILED: _THINKER_FAILED,
                E.FINISH: (phase, (A.MARK_FINISHING,)),
                E.FINISH_DONE: (P.CLOSING, (A.SEND_CLOSE,)),
            },
        ),
    }


_HELLOS: Final = (E.HELLO_NEW, E.HELLO_AGAIN, E.HELLO_OLD)
_OURS_TO_DROP: Final = (E.CORRUPT, E.PEER_LOST, E.EXPORTED, E.EXPORTED_STALE)

THINKER: Final = Machine[Thinker](
    name="thinker",
    guards=exchange_thinker.GUARDS,
    actions=exchange_thinker_actions.ACTIONS,
    transitions={
        **_dropped(P.IDLE, (E.OTHER_SESSION, E.CORRUPT, E.PEER_LOST)),
        **_rows(
            P.IDLE,
            {
                E.TIMER: (P.IDLE, ()),
                E.OFFER: (P.IDLE, (A.STORE,)),
                E.OFFER_FULL: (P.IDLE, (A.REFUSE,)),
                E.HELLO_NEW: _RESYNC,
                E.FINISH: (P.IDLE, (A.MARK_FINISHING,)),
                E.FINISH_DONE: (P.CLOSED, (A.CLOSED,)),
            },
        ),
        **_dropped(P.OPENING, (E.OTHER_SESSION, E.STALE_EPOCH, E.HELLO_OLD, E.CORRUPT)),
        **_dropped(P.OPENING, (E.NACK, E.NACK_LATE, E.NACK_EARLY, E.EXPORTED_STALE)),
        **_rows(
            P.OPENING,
            {
                E.TIMER: (P.OPENING, ()),
                E.OFFER: (P.OPENING, (A.STORE,)),
                E.OFFER_FULL: (P.OPENING, (A.REFUSE,)),
                E.EXPORTED: (P.STREAMING, (A.STORE_SNAPSHOT, A.SEND_UNACKED)),
                E.HELLO_NEW: _RESYNC,
                E.HELLO_AGAIN: (P.OPENING, (A.SEND_OPEN,)),
                E.PEER_LOST: _RESYNC,
                E.PEER_FAILED: _THINKER_FAILED,
                E.FINISH: (P.OPENING, (A.MARK_FINISHING,)),
                E.FINISH_DONE: (P.CLOSING, (A.SEND_CLOSE,)),
            },
        ),
        **_thinker_streaming(P.STREAMING),
        **_thinker_streaming(P.GAP),
        **_dropped(P.CLOSING, _THINKER_EVENTS - LOCAL_EVENTS),
        **_dropped(P.CLOSING, _OURS_TO_DROP),
        **_rows(
            P.CLOSING,
            {
                **dict.fromkeys(_HELLOS, (P.CLOSING, (A.SEND_CLOSE,))),
                E.TIMER: (P.CLOSING, (A.SEND_CLOSE,)),
                E.CLOSE: (P.CLOSED, (A.CLOSED,)),
                E.PEER_LOST: (P.CLOSED, (A.CLOSED,)),
                E.PEER_FAILED: _THINKER_FAILED,
            },
        ),
        **_dropped(P.CLOSED, _THINKER_EVENTS - LOCAL_EVENTS),
        **_dropped(P.CLOSED, _OURS_TO_DROP),
        **_rows(
            P.CLOSED,
            {
                **dict.fromkeys(_HELLOS, (P.CLOSED, (A.SEND_CLOSE,))),
                E.TIMER: (P.CLOSED, ()),
            },
        ),
        **_dropped(P.FAILED, _THINKER_EVENTS - LOCAL_EVENTS),
        **_dropped(P.FAILED, _OURS_TO_DROP),
        (P.FAILED, E.TIMER): (P.FAILED, ()),
    },
)
"""The side that owns the session: sends slices, takes latents (WS-EXCHANGE-6)."""

_ASK_OPEN: Final = (A.DROP, A.SEND_HELLO)
_LEAVE: Final = (P.CLOSED, (A.SEND_CLOSE, A.CLOSED))
_GONE: Final = (P.CLOSED, (A.CLOSED,))
_PERFORMER_FAILED: Final = (P.FAILED, (A.REPORT_FAILURE,))


def _performer_streaming(phase: Phase) -> Table:
    """Rows of STREAMING and GAP alike; in GAP the missing slice was asked for already."""
    asked = phase is P.GAP
    ask = (P.GAP, (A.DROP,) if asked else (A.DROP, A.SEND_NACK))
    return {
        **_dropped(phase, (E.OTHER_SESSION, E.STALE_EPOCH, E.OPEN_OTHER, E.OPEN_AGAIN)),
        **_dropped(phase, (E.PART_AGAIN, E.LATENTS_ACK_LATE, E.LATENTS_NACK_VOID)),
        **_dropped(phase, (E.SOLVED_STALE,)),
        **_rows(
            phase,
            {
                E.OPEN_NEW: (P.STREAMING, (A.ADOPT_EPOCH,)),
                E.FUTURE_EPOCH: (phase, _ASK_OPEN),
                E.SLICE_PART: (phase, (A.HOLD,)),
                E.SNAPSHOT_SEALED: (P.STREAMING, (A.HOLD, A.APPEND, A.SEND_ACK)),
                E.SLICE_SEALED: (P.STREAMING, (A.HOLD, A.APPEND, A.SEND_ACK, A.SOLVE)),
                E.SLICE_AGAIN: (phase, (A.DROP, A.SEND_ACK)),
                E.SLICE_GAP: ask,
                E.CORRUPT: ask,
                E.SOLVED: (phase, (A.KEEP_LATENTS, A.SEND_LATENTS, A.COMMIT)),
                E.LATENTS_ACK: (phase, (A.FORGET_LATENTS,)),
                E.LATENTS_NACK: (phase, (A.SEND_KEPT_FROM,)),
                E.TIMER: (phase, (A.SEND_NACK, A.SEND_KEPT) if asked else (A.SEND_KEPT,)),
                E.CLOSE: _LEAVE,
                E.PEER_LOST: _GONE,
                E.PEER_FAILED: _PERFORMER_FAILED,
            },
        ),
    }


_WORK_TO_DROP: Final = (E.CORRUPT, E.PEER_LOST, E.SOLVED, E.SOLVED_STALE, E.SOLVED_OUT_OF_TURN)

PERFORMER: Final = Machine[Performer](
    name="performer",
    guards=exchange_performer.GUARDS,
    actions=exchange_performer_actions.ACTIONS,
    transitions={
        **_dropped(P.WAITING, (E.OTHER_SESSION, E.OPEN_OTHER)),
        **_rows(
            P.WAITING,
            {
                E.TIMER: (P.WAITING, (A.SEND_HELLO,)),
                E.CORRUPT: (P.WAITING, _ASK_OPEN),
                E.FUTURE_EPOCH: (P.WAITING, _ASK_OPEN),
                E.OPEN_NEW: (P.STREAMING, (A.ADOPT_EPOCH,)),
                E.CLOSE: _LEAVE,
                E.PEER_LOST: _GONE,
                E.PEER_FAILED: _PERFORMER_FAILED,
            },
        ),
        **_performer_streaming(P.STREAMING),
        **_performer_streaming(P.GAP),
        **_dropped(P.CLOSED, _PERFORMER_EVENTS - LOCAL_EVENTS),
        **_dropped(P.CLOSED, _WORK_TO_DROP),
        **_rows(
            P.CLOSED,
            {E.TIMER: (P.CLOSED, ()), E.CLOSE: (P.CLOSED, (A.SEND_CLOSE,))},
        ),
        **_dropped(P.FAILED, _PERFORMER_EVENTS - LOCAL_EVENTS),
        **_dropped(P.FAILED, _WORK_TO_DROP),
        (P.FAILED, E.TIMER): (P.FAILED, ()),
    },
)
"""The side that can be lost: appends slices, sends latents (WS-EXCHANGE-6)."""
