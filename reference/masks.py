"""Attention masks from the visibility predicate, and nothing else.

Source: PAPER §2.1 (block-causal attention); design §5.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from reference.token_table import TokenTable
from spec.visibility import visible


def dense_mask(queries: TokenTable, keys: TokenTable, lag: int) -> Bool[Tensor, "q k"]:
    """``mask[i, j]``: query i attends to key j under feedback lag λ (WS-VISIBILITY-1)."""
    return torch.from_numpy(visible(queries.as_queries(), keys.as_keys(), lag))
