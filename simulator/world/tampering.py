"""Messages that a broken peer could send: well formed, and wrong in one field (WS-FAULTS-6).

A checksum does not help against these, since the damage came before it was taken; the guards of
the exchange have to refuse them. Source: CHOICE (design §9).
"""

from __future__ import annotations

from typing import Final

import attrs

from simulator.world.digests import FOREIGN, digest
from spec.exchange_message import (
    Header,
    Latents,
    LatentsAck,
    LatentsNack,
    Message,
    Open,
    SliceAck,
    SliceNack,
)
from spec.exchange_terms import DTYPE_BYTES, Terms, latents_bytes

FAR: Final = 1 << 20
"""Units, or beginnings of a performer, beyond anything that a session can be at."""

OTHER_DIGEST: Final = 3
"""The variant (modulo 4) that puts in another digest of a slice or of latents."""

_FOREIGN_DIGEST: Final = digest(FOREIGN, 0, 0)


def tampered(message: Message, variant: int) -> Message | None:
    """The message with one field changed, by ``variant``; None for a message that has no field to
    change (WS-FAULTS-6)."""
    match message:
        case Open():
            return _open(message, variant)
        case Header():
            return _slice(message, variant)
        case SliceAck():
            if variant % 2:
                return attrs.evolve(message, kv_len=message.kv_len + 1)
            return attrs.evolve(message, digest=_FOREIGN_DIGEST)
        case SliceNack():
            if variant % 2:
                return attrs.evolve(message, kv_len=message.kv_len + 1)
            return attrs.evolve(message, unit=message.unit + FAR)
        case Latents():
            return _latents(message, variant)
        case LatentsAck():
            if variant % 2:
                return attrs.evolve(message, unit=message.unit + FAR)
            return attrs.evolve(message, digest=_FOREIGN_DIGEST)
        case LatentsNack():
            return attrs.evolve(message, unit=message.unit + FAR)
        case _:
            return None


def _open(message: Open, variant: int) -> Open:
    if variant % 2:
        # Not the next one: a late message for the one before would be right for it.
        return attrs.evolve(message, incarnation=message.incarnation + FAR)
    terms = attrs.evolve(message.terms, prefill_tokens=message.terms.prefill_tokens + 1)
    return attrs.evolve(message, terms=terms)


def _slice(header: Header, variant: int) -> Header:
    match variant % 4:
        case 0:
            other = next(dtype for dtype in DTYPE_BYTES if dtype != header.dtype)
            return attrs.evolve(header, dtype=other)
        case 1:
            before, after = header.kv_len_before + 1, header.kv_len_after + 1
            return attrs.evolve(header, kv_len_before=before, kv_len_after=after)
        case 2:
            return attrs.evolve(header, unit=header.unit + FAR)
        case _:
            return attrs.evolve(header, digest=_FOREIGN_DIGEST)


def _latents(message: Latents, variant: int) -> Latents:
    match variant % 4:
        case 0:
            return attrs.evolve(message, slice_digest=_FOREIGN_DIGEST)
        case 1:
            return attrs.evolve(message, byte_count=message.byte_count + 1)
        case 2:
            return attrs.evolve(message, unit=message.unit + FAR)
        case _:
            return attrs.evolve(message, digest=_FOREIGN_DIGEST)


def contradicts(message: Message, terms: Terms, remembered: range) -> bool:
    """True for a tampered message that no state of the receiver excuses: in the epoch that is
    open, it ends the session (WS-EXCHANGE-6).

    Args:
        remembered: units whose slices (or latents) the receiver still knows by their digests.
    """
    match message:
        case Header(unit=unit, dtype=dtype, digest=value):
            other = value == _FOREIGN_DIGEST and unit in remembered
            return other or unit >= FAR or dtype != terms.dtype
        case Latents(unit=unit, byte_count=byte_count, digest=value):
            other = value == _FOREIGN_DIGEST and unit in remembered
            return other or unit >= FAR or byte_count != latents_bytes(terms)
        case SliceNack(unit=unit) | LatentsAck(unit=unit):
            return unit >= FAR
        case _:
            return False


def needs_its_payload(message: Message, known_up_to: int) -> bool:
    """True for another digest of a slice or of latents that the receiver does not have yet: only
    the payload could tell that it is wrong, and it would (WS-EXCHANGE-8)."""
    return (
        isinstance(message, Header | Latents)
        and message.digest == _FOREIGN_DIGEST
        and message.unit > known_up_to
    )
