"""Committing a response: the clean pass that makes it history.

Source: PAPER §2.1 (clean latents appended directly to the history); design §8.
"""

from __future__ import annotations

from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.token_table import TokenTable
from reference.units import Latents
from spec.layout import response_rows
from spec.session import SessionConfig


def commit_response(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, cache: KVEntries
) -> KVEntries:
    """Clean entries of Z_k: one evaluation at τ = 0 over the cache, which is only read
    (WS-STREAMING-3). The keys and values of the noisy solver steps are never used."""
    table = TokenTable.of(response_rows(config.layout, unit))
    _, entries = model.run(model.embed_response(z, table.tau), table, cache, config.lag)
    return entries
