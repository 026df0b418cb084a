"""Exchange messages as bytes: one line of JSON, guarded by its digest, then the raw payload.

`decode(encode(m, p)) == (m, p)`, and whatever else comes in gives an `ExchangeError`, which a
driver feeds to its machine as `Corrupt` (WS-EXCHANGE-14). Source: design §9 (CHOICE).
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from spec.errors import ExchangeError
from spec.exchange_json import from_json, to_json
from spec.exchange_message import Header, Latents, Message, payload_bytes

MAX_LINE_BYTES: Final = 65_536
"""Longer first lines are refused unread: memory is bounded by what has arrived, not by what a
header claims (WS-EXCHANGE-14)."""

_DIGEST_CHARACTERS: Final = 64


def encode(message: Message, payload: bytes = b"") -> bytes:
    """The bytes of a message (WS-EXCHANGE-14).

    Args:
        message: any exchange message.
        payload: its slice or latents payload, empty for other messages.

    Raises:
        ExchangeError: the payload is not the one the message announces.
    """
    _check_payload(message, payload)
    return _line(message) + payload


def decode(data: bytes) -> tuple[Message, bytes]:
    """The message and the payload that ``data`` holds (WS-EXCHANGE-14).

    Raises:
        ExchangeError: anything but the bytes that `encode` makes of them.
    """
    end = data.find(b"\n", 0, MAX_LINE_BYTES)
    if end < 0:
        raise ExchangeError(
            "message", f"{len(data)} bytes", f"a line within {MAX_LINE_BYTES} bytes"
        )
    text = data[_DIGEST_CHARACTERS + 1 : end]
    try:
        message = from_json(json.loads(text))
    except (RecursionError, ValueError) as error:
        # ExchangeError is a ValueError too, and already says what is wrong.
        if isinstance(error, ExchangeError):
            raise
        raise ExchangeError("line", type(error).__name__, "one JSON object") from error
    # Writing the line again checks its digest, the space, and that nobody spells it otherwise.
    if _line(message) != data[: end + 1]:
        raise ExchangeError("line", text[:80], "its digest, a space, JSON with sorted keys")
    payload = data[end + 1 :]
    _check_payload(message, payload)
    return message, payload


def _line(message: Message) -> bytes:
    text = json.dumps(to_json(message), sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def _check_payload(message: Message, payload: bytes) -> None:
    announced = payload_bytes(message)
    if len(payload) != announced:
        raise ExchangeError("bytes of the payload", len(payload), f"{announced}, as byte_count")
    if isinstance(message, Header | Latents):
        digest = hashlib.sha256(payload).hexdigest()
        if digest != message.digest:
            raise ExchangeError("digest of the payload", digest, message.digest)
