"""Frames on the wire between the two processes: a channel, a cause, a body and noise.

Most frames carry a message of the exchange protocol. Two things travel beside it, because they are
this engine's affair and not the protocol's: the noise of a unit, which enters as a tensor on the
thinker's side (WS-FLOW-7), and questions about the performer's cache. The noise shares the frame
of the slice it belongs to, so whatever brings a slice again brings its noise too.
Source: CHOICE.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

import attrs

from spec.errors import ExchangeError

EXCHANGE: Final = "exchange"
ASK_DIGEST: Final = "ask-digest"
DIGEST: Final = "digest"


@attrs.frozen(kw_only=True)
class Frame:
    """One frame. ``cause`` is the id of the trace event that sent it; ``unit`` is -1 where it
    means nothing; ``noise`` comes with the slice of a unit only."""

    channel: str
    cause: str
    unit: int
    body: bytes
    noise: bytes = b""


def encode(frame: Frame) -> bytes:
    """One line, the digest of its JSON and the JSON, then the noise, then the body.

    The line names the noise by its digest; a message in the body guards itself (WS-EXCHANGE-14).
    """
    head = {
        "channel": frame.channel,
        "cause": frame.cause,
        "unit": frame.unit,
        "noise": {"bytes": len(frame.noise), "digest": _digest(frame.noise)},
    }
    text = json.dumps(head, sort_keys=True).encode()
    return _digest(text).encode() + b" " + text + b"\n" + frame.noise + frame.body


def decode(data: bytes) -> Frame:
    """The frame that `encode` made.

    Raises:
        ExchangeError: it did not.
    """
    head, _, rest = data.partition(b"\n")
    digest, _, text = head.partition(b" ")
    if digest != _digest(text).encode():
        raise ExchangeError("first line of a frame", digest, "the digest of what follows")
    fields = json.loads(text)
    length = fields["noise"]["bytes"]
    noise, body = rest[:length], rest[length:]
    if fields["noise"]["digest"] != _digest(noise):
        raise ExchangeError("noise of a frame", f"{len(noise)} bytes", "what its digest says")
    return Frame(
        channel=fields["channel"],
        cause=fields["cause"],
        unit=fields["unit"],
        body=body,
        noise=noise,
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
