"""The one header that a slice, and the one message that latents can have, by the terms.

Both machines build their messages here, so no field is anybody's choice (WS-EXCHANGE-3).
Source: design §9 (CHOICE).
"""

from __future__ import annotations

from spec.exchange_message import Header, Latents
from spec.exchange_terms import (
    Part,
    Terms,
    kv_len_after,
    latents_bytes,
    slice_bytes,
    slice_segments,
    stream_tokens,
)


def slice_header(terms: Terms, epoch: int, unit: int, snapshot: bool, part: Part) -> Header:
    """The one header that a part of slice ``unit`` can have (WS-EXCHANGE-3)."""
    segments = slice_segments(terms, unit, snapshot)
    tokens = sum(count for _, count in segments)
    after = kv_len_after(terms, unit)
    return Header(
        session=terms.session,
        epoch=epoch,
        unit=unit,
        segments=segments,
        layers=part.layers,
        heads=part.heads,
        token_count=tokens,
        kv_len_before=after - stream_tokens(terms, segments),
        kv_len_after=after,
        dtype=terms.dtype,
        byte_count=slice_bytes(
            terms, tokens, part.layers[1] - part.layers[0], part.heads[1] - part.heads[0]
        ),
        digest=part.digest,
    )


def latents_message(terms: Terms, epoch: int, unit: int, slice_digest: str, digest: str) -> Latents:
    """The one message that z_unit can have (WS-EXCHANGE-9)."""
    return Latents(
        session=terms.session,
        epoch=epoch,
        unit=unit,
        slice_digest=slice_digest,
        dtype=terms.dtype,
        byte_count=latents_bytes(terms),
        digest=digest,
    )
