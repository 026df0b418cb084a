"""The KV cache: keys, values and the rows they belong to.

Entries carry their positions, so their physical order means nothing (WS-STREAMING-4). Before they
are attended to they are put in canonical order, so that thinker and performer, whose caches grow
in different orders, add up the same numbers in the same order (WS-STREAMING-5).
Source: PAPER §2.4 (KV-cache slices, full-history cache); design §8, §9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reference.token_table import TokenTable
from spec.sizes import Backbone

KEY_COLUMNS = 8
"""Columns of a row that a cache entry is known by: all but the noisy state, which is never kept."""


@attrs.frozen(eq=False)
class KVEntries:
    """Some cached tokens: rows, rotated keys and values of every layer.

    A cache is such a record, and so is a slice of it that is sent.
    """

    table: TokenTable
    k: Float[Tensor, "layers kv_heads n head_dim"]
    v: Float[Tensor, "layers kv_heads n head_dim"]

    def __len__(self) -> int:
        return len(self.table)


def empty(cfg: Backbone, dtype: torch.dtype) -> KVEntries:
    """No entries."""
    kv = torch.zeros(cfg.n_layers, cfg.n_kv_heads, 0, cfg.head_dim, dtype=dtype)
    return KVEntries(TokenTable.of(()), kv, kv)


def concat(parts: Sequence[KVEntries]) -> KVEntries:
    """The entries of all ``parts`` in one record; appending to a cache is this (WS-STREAMING-4)."""
    return KVEntries(
        TokenTable.cat([p.table for p in parts]),
        torch.cat([p.k for p in parts], dim=2),
        torch.cat([p.v for p in parts], dim=2),
    )


def take(entries: KVEntries, index: Int[Tensor, " m"]) -> KVEntries:
    """The entries at ``index``, in that order."""
    layers, heads, _, head_dim = entries.k.shape
    # Of three axes instead of four: picking is then more than twice as fast.
    k, v = (
        kv.flatten(0, 1).index_select(1, index).reshape(layers, heads, len(index), head_dim)
        for kv in (entries.k, entries.v)
    )
    return KVEntries(entries.table[index], k, v)


def canonical_order(table: TokenTable) -> Int[Tensor, " n"]:
    """Indices that sort by (unit, segment, slot) (WS-STREAMING-5)."""
    # Fewer than 2**20 slots a segment and 2**2 segments: one integer key sorts all three.
    key = (table.unit << 22) + (table.segment << 20) + table.slot
    return torch.argsort(key)


def context_of(
    cache: KVEntries, seen: Bool[Tensor, "q n"]
) -> tuple[KVEntries, Bool[Tensor, "q m"]]:
    """The entries that any query sees, in canonical order (WS-STREAMING-5), and who sees them.

    Hidden entries are left out rather than masked: a cache that holds more than another gives the
    same numbers.

    Args:
        seen: which query sees which entry of ``cache``.
    """
    order = canonical_order(cache.table)
    index = order[seen.any(dim=0)[order]]
    return take(cache, index), seen.index_select(1, index)


def digest(cache: KVEntries, up_to_unit: int) -> str:
    """SHA-256 over the entries of units ≤ ``up_to_unit`` in canonical order (WS-STREAMING-6).

    Hashed: rows (8 columns, int64), keys, values, all little-endian and row-major.
    """
    index = torch.nonzero(cache.table.unit <= up_to_unit).squeeze(-1)
    kept = take(cache, index[canonical_order(cache.table[index])])
    sha = hashlib.sha256()
    for tensor in (kept.table.cells[:, :KEY_COLUMNS], kept.k, kept.v):
        sha.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
