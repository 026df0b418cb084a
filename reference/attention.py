"""Grouped-query attention of a block over its context and itself.

Source: PAPER §2.1 (one Transformer, block-causal attention); GQA and QK-norm as in Qwen2.5/Qwen3,
from which the paper initialises (§2.3).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference import rotary
from reference.rms_norm import RMSNorm
from spec.sizes import Backbone

Past = Float[Tensor, "kv_heads past head_dim"]
"""Keys or values of the context."""
Own = Float[Tensor, "kv_heads n head_dim"]
"""Keys or values of the block itself."""


def attend(
    q: Float[Tensor, "heads n head_dim"],
    k: Float[Tensor, "kv_heads m head_dim"],
    v: Float[Tensor, "kv_heads m head_dim"],
    mask: Bool[Tensor, "n m"],
) -> Float[Tensor, "heads n head_dim"]:
    """softmax(q kᵀ / sqrt(head_dim), masked) v; each key head serves heads / kv_heads queries
    (WS-BACKBONE-4).

    A hidden key has weight exactly 0: its score is -inf before the softmax.
    """
    heads, n, head_dim = q.shape
    kv_heads, m, _ = k.shape
    # The queries of one key head stand one under the other: no key or value is copied.
    rows = heads // kv_heads * n
    scores = q.reshape(kv_heads, rows, head_dim) @ k.transpose(-1, -2) / math.sqrt(head_dim)
    masked = torch.where(mask, scores.reshape(heads, n, m), -math.inf)
    weights = torch.softmax(masked, dim=-1)
    return (weights.reshape(kv_heads, rows, m) @ v).reshape(heads, n, head_dim)


def split_heads(x: Float[Tensor, "n heads_x_dim"], head_dim: int) -> Float[Tensor, "heads n dim"]:
    """Head h is columns h · head_dim to (h + 1) · head_dim - 1 of a projection (WS-BACKBONE-3).

    Written without ``-1``, so that a pass of no tokens has heads, too.
    """
    return x.reshape(len(x), x.shape[1] // head_dim, head_dim).transpose(0, 1)


class Attention(nn.Module):
    """Projections, optional QK-norm, rotary positions, attention, output (WS-BACKBONE-3)."""

    def __init__(self, cfg: Backbone) -> None:
        super().__init__()
        self.head_dim = cfg.head_dim
        self.q_proj = nn.Linear(cfg.d_model, cfg.n_heads * cfg.head_dim, bias=cfg.qkv_bias)
        self.k_proj = nn.Linear(cfg.d_model, cfg.n_kv_heads * cfg.head_dim, bias=cfg.qkv_bias)
        self.v_proj = nn.Linear(cfg.d_model, cfg.n_kv_heads * cfg.head_dim, bias=cfg.qkv_bias)
        self.o_proj = nn.Linear(cfg.n_heads * cfg.head_dim, cfg.d_model, bias=False)
        self.q_norm = RMSNorm(cfg.head_dim, cfg.norm_eps) if cfg.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(cfg.head_dim, cfg.norm_eps) if cfg.qk_norm else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "n d_model"],
        theta: Float[Tensor, "n half"],
        mask: Bool[Tensor, "n total"],
        context_k: Past,
        context_v: Past,
    ) -> tuple[Float[Tensor, "n d_model"], Own, Own]:
        """Attend from ``x`` to the context followed by ``x`` itself.

        Returns:
            The output, and the block's own keys (rotated) and values, for the cache.
        """
        q = self.q_norm(split_heads(self.q_proj(x), self.head_dim))
        k = self.k_norm(split_heads(self.k_proj(x), self.head_dim))
        v = split_heads(self.v_proj(x), self.head_dim)
        q, k = torch.split(rotary.rotate(torch.cat((q, k)), theta), [len(q), len(k)])
        keys, values = torch.cat((context_k, k), dim=1), torch.cat((context_v, v), dim=1)
        y = attend(q, keys, values, mask).transpose(0, 1).flatten(start_dim=1)
        return self.o_proj(y), k, v
