"""The words of the exchange tables: phases, events, actions, local inputs and effects.

An *input* is a message or one of the local records below; a guard classifies it into an *event*;
the table maps (phase, event) to the next phase and to *actions*; an action updates the state and
makes *effects*, which the driver carries out in order. Nothing here reads a clock or does I/O.
Source: design §9 (CHOICE).
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from spec.errors import ExchangeError
from spec.exchange_message import Header, Message
from spec.exchange_terms import Part


class Phase(StrEnum):
    """Where a machine stands; `GAP` means that something missing was asked for already."""

    IDLE = "idle"
    OPENING = "opening"
    WAITING = "waiting"
    STREAMING = "streaming"
    GAP = "gap"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


class Event(StrEnum):
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


class Action(StrEnum):
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


# Local inputs. The driver feeds these besides the messages that arrive.


@attrs.frozen
class Timer:
    """The resend timer fired: nothing has moved for a while (WS-EXCHANGE-13)."""


@attrs.frozen
class Corrupt:
    """Something arrived that could not be decoded; it counts as not arrived (WS-EXCHANGE-8)."""


@attrs.frozen
class PeerLost:
    """The other process is gone, as far as the driver can tell (WS-EXCHANGE-10)."""


@attrs.frozen(kw_only=True)
class Offered:
    """Thinker: slice ``unit`` is computed; its payloads are kept until `Release`."""

    unit: int
    parts: tuple[Part, ...]


@attrs.frozen(kw_only=True)
class Exported:
    """Thinker: the snapshot that `Export` asked for is ready."""

    epoch: int
    unit: int
    parts: tuple[Part, ...]


@attrs.frozen(kw_only=True)
class Finish:
    """Thinker: no slice will follow; close once every response is here (WS-EXCHANGE-12)."""


@attrs.frozen(kw_only=True)
class Solved:
    """Performer: z_unit is solved; ``digest`` is that of its payload, kept until `Release`."""

    epoch: int
    unit: int
    digest: str


Input = Message | Timer | Corrupt | PeerLost | Offered | Exported | Finish | Solved


# Effects. The driver carries them out in the order given.


class Fault(StrEnum):
    """Who broke the protocol."""

    OURS = "ours"
    PEER = "peer"


@attrs.frozen
class Send:
    """Send the message, with its payload where it has one."""

    message: Message


@attrs.frozen(kw_only=True)
class Export:
    """Thinker: read the cache up to slice ``unit`` (overlapped: and responses up to z_unit), then
    feed `Exported`."""

    epoch: int
    unit: int


@attrs.frozen(kw_only=True)
class Refuse:
    """Thinker: slice ``unit`` was not taken, the window is full; offer it again after the next
    `Decode` (WS-EXCHANGE-11)."""

    unit: int


@attrs.frozen(kw_only=True)
class Decode:
    """Thinker: decode z_unit, now and never again."""

    unit: int
    digest: str


@attrs.frozen(kw_only=True)
class Commit:
    """Append the clean keys and values of z_unit to the own cache, before they are first seen."""

    unit: int


@attrs.frozen(kw_only=True)
class Release:
    """The payloads kept for ``unit`` will not be sent again."""

    unit: int


@attrs.frozen
class Hold:
    """Performer: keep the payload that came with this header; it is not usable yet."""

    header: Header


@attrs.frozen(kw_only=True)
class Append:
    """Performer: append all held parts of slice ``unit`` at once."""

    epoch: int
    unit: int
    digest: str
    kv_len: int


@attrs.frozen(kw_only=True)
class Solve:
    """Performer: solve z_unit from the slice just appended, then feed `Solved`."""

    epoch: int
    unit: int
    digest: str


@attrs.frozen(kw_only=True)
class Reset:
    """Performer: forget the cache, held parts and unfinished solves; ``epoch`` begins."""

    epoch: int


@attrs.frozen
class Drop:
    """The input had no effect; ``event`` says why. Drivers trace it."""

    event: Event


@attrs.frozen
class Closed:
    """The session is over on this side."""


@attrs.frozen(kw_only=True)
class Fail:
    """The session is over with an error: whose fault it is, and what happened when."""

    fault: Fault
    reason: str

    def error(self) -> ExchangeError:
        """The same as an exception, for a driver that gives up."""
        return ExchangeError(f"KV exchange (fault: {self.fault})", self.reason, "see WS-EXCHANGE-6")


Effect = (
    Send | Export | Refuse | Decode | Commit | Release
    | Hold | Append | Solve | Reset | Drop | Closed | Fail
)  # fmt: skip
