"""What goes into the exchange machines besides messages, and what comes out of them.

An *input* is a message or one of the local records below; an action of the tables makes *effects*,
which the driver carries out in order. Nothing here reads a clock or does I/O (WS-EXCHANGE-6).
Source: design §9 (CHOICE).
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from spec.errors import ExchangeError
from spec.exchange_events import Event
from spec.exchange_message import Header, Message
from spec.exchange_terms import Part

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
