"""Frames on the wire between the two processes: a channel, a cause, and a body.

Most frames carry a message of the exchange protocol. Two things travel beside it, because they are
this engine's affair and not the protocol's: the noise of a unit, which enters as a tensor on the
thinker's side (WS-FLOW-7), and questions about the performer's cache.
Source: CHOICE.
"""

from __future__ import annotations

import json
from typing import Final

import attrs

from spec.errors import ExchangeError

EXCHANGE: Final = "exchange"
NOISE: Final = "noise"
ASK_DIGEST: Final = "ask-digest"
DIGEST: Final = "digest"


@attrs.frozen(kw_only=True)
class Frame:
    """One frame. ``cause`` is the id of the trace event that sent it; ``unit`` is -1 where it
    means nothing."""

    channel: str
    cause: str
    unit: int
    body: bytes


def encode(frame: Frame) -> bytes:
    """One line of JSON, then the body."""
    head = {"channel": frame.channel, "cause": frame.cause, "unit": frame.unit}
    return json.dumps(head, sort_keys=True).encode() + b"\n" + frame.body


def decode(data: bytes) -> Frame:
    """The frame that `encode` made.

    Raises:
        ExchangeError: it did not.
    """
    head, newline, body = data.partition(b"\n")
    try:
        fields = json.loads(head)
        channel, cause, unit = fields["channel"], fields["cause"], fields["unit"]
    except (ValueError, TypeError, KeyError) as error:
        raise ExchangeError("frame", head[:80], "a line of JSON, then the body") from error
    if not newline:
        raise ExchangeError("frame", head[:80], "a line of JSON, then the body")
    return Frame(channel=channel, cause=cause, unit=unit, body=body)
