"""The messages of the KV exchange, as frozen records (WS-EXCHANGE-2).

A record that exists is well formed; whether it fits the session and the moment is for the guards
of the machines to say. Source: design §9 (CHOICE).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

import attrs

from spec.errors import ExchangeError
from spec.exchange_terms import (
    DTYPE_BYTES,
    PROTOCOL_VERSION,
    SESSION_NAME,
    SHA256_HEX,
    Part,
    Range,
    Segments,
    Terms,
    require,
)
from spec.layout import PREFILL_UNIT


@attrs.frozen(kw_only=True, slots=False)
class Message:
    """What every message carries: whose session it is and which protocol it speaks.

    Raises:
        ExchangeError: a field outside its domain, here and in every message.
    """

    version: int = PROTOCOL_VERSION
    session: str

    def __attrs_post_init__(self) -> None:
        if self.version != PROTOCOL_VERSION:
            raise ExchangeError("version", self.version, str(PROTOCOL_VERSION))
        _session_name(self.session)
        self.check()

    def check(self) -> None:
        """Refuse field values outside their domain."""


# Messages are made and checked for every unit, so what is allowed is put into words only where it
# is needed.


@functools.lru_cache(maxsize=1024)
def _session_name(session: str) -> None:
    allowed = "1 to 64 of A-Z a-z 0-9 . _ : -"
    require(SESSION_NAME.fullmatch(session) is not None, "session", session, allowed)


def _at_least(message: Message, lowest: int, *names: str) -> None:
    for name in names:
        value = getattr(message, name)
        if value < lowest:
            raise ExchangeError(name, value, f"at least {lowest}")


def _sha256(what: str, value: str) -> None:
    if SHA256_HEX.fullmatch(value) is None:
        raise ExchangeError(what, value, "64 lower-case hex digits")


def _dtype(value: str) -> None:
    if value not in DTYPE_BYTES:
        raise ExchangeError("dtype", value, ", ".join(sorted(DTYPE_BYTES)))


@functools.lru_cache(maxsize=1024)
def _token_count(segments: Segments) -> int:
    for name, tokens in segments:
        require(name in ("P", "O", "L", "Z"), "segment", name, "P, O, L, Z")
        require(tokens >= 0, f"tokens of segment {name}", tokens, "at least 0")
    return sum(tokens for _, tokens in segments)


def _range(what: str, value: Range) -> None:
    a, b = value
    if not 0 <= a < b:
        raise ExchangeError(what, [a, b], "0 <= a < b")


@attrs.frozen(kw_only=True, slots=False)
class Hello(Message):
    """Performer: I am here with an empty cache. ``incarnation`` grows with every restart."""

    incarnation: int

    def check(self) -> None:
        _at_least(self, 0, "incarnation")


@attrs.frozen(kw_only=True, slots=False)
class Open(Message):
    """Thinker: ``epoch`` begins for that incarnation; its first slice is a snapshot up to ``unit``
    (WS-EXCHANGE-10)."""

    epoch: int
    incarnation: int
    unit: int
    terms: Terms

    def check(self) -> None:
        _at_least(self, 0, "epoch", "incarnation")
        _at_least(self, PREFILL_UNIT, "unit")
        require(
            self.terms.session == self.session,
            "session of the terms",
            self.terms.session,
            self.session,
        )


@attrs.frozen(kw_only=True, slots=False)
class Header(Message):
    """Thinker: one part of slice ``unit``; its payload follows (WS-EXCHANGE-3).

    ``kv_len_before`` and ``kv_len_after`` count the slice stream without and with the whole slice;
    ``layers`` and ``heads`` are half-open; ``digest`` is the SHA-256 of the payload in hex.
    """

    epoch: int
    unit: int
    segments: Segments
    layers: Range
    heads: Range
    token_count: int
    kv_len_before: int
    kv_len_after: int
    dtype: str
    byte_count: int
    digest: str

    def check(self) -> None:
        _at_least(self, 0, "epoch", "token_count", "kv_len_before", "byte_count")
        _at_least(self, PREFILL_UNIT, "unit")
        total = _token_count(self.segments)
        if self.token_count != total:
            raise ExchangeError("token_count", self.token_count, f"{total}, as segments")
        _range("layers", self.layers)
        _range("heads", self.heads)
        if self.kv_len_before > self.kv_len_after:
            allowed = f"at least kv_len_before = {self.kv_len_before}"
            raise ExchangeError("kv_len_after", self.kv_len_after, allowed)
        _dtype(self.dtype)
        _sha256("digest", self.digest)

    @functools.cached_property
    def part(self) -> Part:
        """Which shard of the slice this is (WS-EXCHANGE-5)."""
        return Part(self.layers, self.heads, self.digest)


@attrs.frozen(kw_only=True, slots=False)
class SliceAck(Message):
    """Performer: every slice up to ``unit`` is appended; ``digest`` is that slice's own
    (`slice_digest`) and ``kv_len`` the length after it (WS-EXCHANGE-7)."""

    epoch: int
    unit: int
    digest: str
    kv_len: int

    def check(self) -> None:
        _at_least(self, 0, "epoch", "kv_len")
        _at_least(self, PREFILL_UNIT, "unit")
        _sha256("digest", self.digest)


@attrs.frozen(kw_only=True, slots=False)
class SliceNack(Message):
    """Performer: something is missing; send again from slice ``unit`` on, at length ``kv_len``
    (WS-EXCHANGE-8)."""

    epoch: int
    unit: int
    kv_len: int

    def check(self) -> None:
        _at_least(self, 0, "epoch", "kv_len")
        _at_least(self, PREFILL_UNIT, "unit")


@attrs.frozen(kw_only=True, slots=False)
class Latents(Message):
    """Performer: z_unit, solved from the slice whose digest is ``slice_digest``; its payload
    follows (WS-EXCHANGE-9)."""

    epoch: int
    unit: int
    slice_digest: str
    dtype: str
    byte_count: int
    digest: str

    def check(self) -> None:
        _at_least(self, 0, "epoch", "unit", "byte_count")
        _dtype(self.dtype)
        _sha256("slice_digest", self.slice_digest)
        _sha256("digest", self.digest)


@attrs.frozen(kw_only=True, slots=False)
class LatentsAck(Message):
    """Thinker: all latents up to ``unit`` are accepted; ``digest`` is that of z_unit's payload."""

    epoch: int
    unit: int
    digest: str

    def check(self) -> None:
        _at_least(self, 0, "epoch", "unit")
        _sha256("digest", self.digest)


@attrs.frozen(kw_only=True, slots=False)
class LatentsNack(Message):
    """Thinker: send again from z_unit on; to be ignored while that is not solved."""

    epoch: int
    unit: int

    def check(self) -> None:
        _at_least(self, 0, "epoch", "unit")


@attrs.frozen(kw_only=True, slots=False)
class Close(Message):
    """Either side: the session is over; ``reason`` is empty, or the other's mistake
    (WS-EXCHANGE-12)."""

    epoch: int
    reason: str

    def check(self) -> None:
        _at_least(self, -1, "epoch")
        require(len(self.reason) <= 200, "reason", len(self.reason), "at most 200 characters")


KINDS: Final[Mapping[str, type[Message]]] = {
    "hello": Hello,
    "open": Open,
    "slice": Header,
    "slice-ack": SliceAck,
    "slice-nack": SliceNack,
    "latents": Latents,
    "latents-ack": LatentsAck,
    "latents-nack": LatentsNack,
    "close": Close,
}
"""The ``kind`` of each message in its JSON object (WS-EXCHANGE-2)."""

KIND_OF: Final[Mapping[type[Message], str]] = {cls: kind for kind, cls in KINDS.items()}

FROM_THINKER: Final = (Open, Header, LatentsAck, LatentsNack, Close)
FROM_PERFORMER: Final = (Hello, SliceAck, SliceNack, Latents, Close)


def payload_bytes(message: Message) -> int:
    """Bytes that follow the message; 0 for all but slices and latents (WS-EXCHANGE-2)."""
    return message.byte_count if isinstance(message, Header | Latents) else 0
