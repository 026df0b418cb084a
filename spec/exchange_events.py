"""The words of the exchange tables: phases, events and actions.

A guard classifies an input into an *event*; the table maps (phase, event) to the next phase and to
*actions*. Inputs and effects are in `spec.exchange_effects`.
Source: design §9 (CHOICE).
"""

from __future__ import annotations

from enum import StrEnum


class Word(StrEnum):
    """A word of the tables. Tables are looked up by words at every step, and the hash of an enum
    is a Python function; that of its text is not."""

    __hash__ = str.__hash__


class Phase(Word):
    """Where a machine stands; `GAP` means that something missing was asked for already."""

    IDLE = "idle"
    OPENING = "opening"
    WAITING = "waiting"
    STREAMING = "streaming"
    GAP = "gap"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


class Event(Word):
    """What an input means to the machine that receives it, by its guards."""

    TIMER = "timer"
    CORRUPT = "corrupt"
    PEER_LOST = "peer-lost"

    OFFER = "offer"
    OFFER_FULL = "offer-full"
    OFFER_OUT_OF_TURN = "offer-out-of-turn"
    EXPORTED = "exported"
    EXPORTED_STALE = "exported-stale"
    FINISH = "finish"
    FINISH_DONE = "finish-done"
    SOLVED = "solved"
    SOLVED_STALE = "solved-stale"
    SOLVED_OUT_OF_TURN = "solved-out-of-turn"

    OTHER_SESSION = "other-session"
    WRONG_SIDE = "wrong-side"
    STALE_EPOCH = "stale-epoch"
    FUTURE_EPOCH = "future-epoch"
    CLOSE = "close"
    PEER_FAILED = "peer-failed"

    HELLO_NEW = "hello-new"
    HELLO_AGAIN = "hello-again"
    HELLO_OLD = "hello-old"
    OPEN_NEW = "open-new"
    OPEN_AGAIN = "open-again"
    OPEN_OTHER = "open-other"
    OPEN_MISFIT = "open-misfit"

    SLICE_PART = "slice-part"
    PART_AGAIN = "part-again"
    SLICE_SEALED = "slice-sealed"
    SNAPSHOT_SEALED = "snapshot-sealed"
    SLICE_AGAIN = "slice-again"
    SLICE_GAP = "slice-gap"
    SLICE_CONFLICT = "slice-conflict"
    SLICE_MISCOUNTED = "slice-miscounted"
    SLICE_MISFIT = "slice-misfit"
    SLICE_EARLY = "slice-early"
    ACK = "ack"
    ACK_LATE = "ack-late"
    ACK_WRONG = "ack-wrong"
    NACK = "nack"
    NACK_LATE = "nack-late"
    NACK_EARLY = "nack-early"
    NACK_WRONG = "nack-wrong"

    LATENTS_NEXT = "latents-next"
    LATENTS_LAST = "latents-last"
    LATENTS_AGAIN = "latents-again"
    LATENTS_GAP = "latents-gap"
    LATENTS_CONFLICT = "latents-conflict"
    LATENTS_FOREIGN = "latents-foreign"
    LATENTS_MISFIT = "latents-misfit"
    LATENTS_UNASKED = "latents-unasked"
    LATENTS_ACK = "latents-ack"
    LATENTS_ACK_LATE = "latents-ack-late"
    LATENTS_ACK_WRONG = "latents-ack-wrong"
    LATENTS_NACK = "latents-nack"
    LATENTS_NACK_VOID = "latents-nack-void"


LOCAL_EVENTS = frozenset(
    {
        Event.TIMER,
        Event.CORRUPT,
        Event.PEER_LOST,
        Event.OFFER,
        Event.OFFER_FULL,
        Event.OFFER_OUT_OF_TURN,
        Event.EXPORTED,
        Event.EXPORTED_STALE,
        Event.FINISH,
        Event.FINISH_DONE,
        Event.SOLVED,
        Event.SOLVED_STALE,
        Event.SOLVED_OUT_OF_TURN,
    }
)
"""Events of our own making: out of place, they are our fault, all others the peer's."""


class Action(Word):
    """What a row of a table does, in order."""

    DROP = "drop"
    NEW_EPOCH = "new-epoch"
    ADOPT_EPOCH = "adopt-epoch"
    STORE = "store"
    STORE_SNAPSHOT = "store-snapshot"
    REFUSE = "refuse"
    MARK_ACKED = "mark-acked"
    MARK_FINISHING = "mark-finishing"
    TAKE_LATENTS = "take-latents"
    HOLD = "hold"
    APPEND = "append"
    SOLVE = "solve"
    KEEP_LATENTS = "keep-latents"
    COMMIT = "commit"
    FORGET_LATENTS = "forget-latents"
    EXPORT = "export"
    SEND_HELLO = "send-hello"
    SEND_OPEN = "send-open"
    SEND_STORED = "send-stored"
    SEND_UNACKED = "send-unacked"
    SEND_FROM = "send-from"
    SEND_ACK = "send-ack"
    SEND_NACK = "send-nack"
    SEND_LATENTS = "send-latents"
    SEND_KEPT = "send-kept"
    SEND_KEPT_FROM = "send-kept-from"
    SEND_LATENTS_ACK = "send-latents-ack"
    SEND_LATENTS_NACK = "send-latents-nack"
    SEND_CLOSE = "send-close"
    CLOSED = "closed"
    REPORT_FAILURE = "report-failure"
