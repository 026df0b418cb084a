"""Stand-ins for payloads: a digest for everything that could be sent, and no tensor.

A digest here is a number in 64 hex digits, unique in a run. So a world knows the one true digest
of each slice, snapshot and response, and need not hash anything to judge what arrives.
Source: CHOICE (design §13: the simulator moves digests, not tensors).
"""

from __future__ import annotations

import functools
import itertools
from typing import Final

from spec.exchange_terms import Part, Range, Terms

Shards = tuple[tuple[Range, Range], ...]
"""(layers, heads) of each part of a slice."""

SLICE: Final = 1
SNAPSHOT: Final = 2
LATENTS: Final = 3
FOREIGN: Final = 15
"""Tag of what nobody made: a tampered digest."""


@functools.lru_cache(maxsize=64)
def digest(tag: int, session: int, unit: int, shard: int = 0, epoch: int = 0) -> str:
    """64 hex digits, another text for every other argument (WS-EXCHANGE-3)."""
    return f"{tag:08x}{session:08x}{unit + 1:016x}{shard:016x}{epoch:016x}"


def shards_of(terms: Terms, parts: int) -> Shards:
    """A slice cut by layers into at most ``parts`` parts of almost equal size (WS-EXCHANGE-5)."""
    count = min(parts, terms.layers)
    edges = [i * terms.layers // count for i in range(count + 1)]
    return tuple(((a, b), (0, terms.kv_heads)) for a, b in itertools.pairwise(edges))


def slice_parts(shards: Shards, session: int, unit: int) -> tuple[Part, ...]:
    """The true parts of slice ``unit``."""
    return tuple(
        Part(layers, heads, digest(SLICE, session, unit, shard))
        for shard, (layers, heads) in enumerate(shards)
    )


def snapshot_parts(shards: Shards, session: int, unit: int, epoch: int) -> tuple[Part, ...]:
    """The true parts of the snapshot up to ``unit`` that begins ``epoch``."""
    return tuple(
        Part(layers, heads, digest(SNAPSHOT, session, unit, shard, epoch))
        for shard, (layers, heads) in enumerate(shards)
    )
