"""The one Transformer: pre-norm decoder layers over embeddings of any modality.

Parameter names are those of public Llama and Qwen checkpoints.
Source: PAPER §2.1 (single Transformer), §2.3 (initialised from a language model).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference import kv_cache, masks, rotary
from reference.attention import Attention, Own, Past
from reference.kv_cache import KVEntries
from reference.rms_norm import RMSNorm
from reference.swiglu import SwiGLU
from reference.token_table import TokenTable
from spec.sizes import Backbone as BackboneSizes


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (WS-BACKBONE-1)."""

    def __init__(self, cfg: BackboneSizes) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.d_model, cfg.norm_eps)
        self.self_attn = Attention(cfg)
        self.post_attention_layernorm = RMSNorm(cfg.d_model, cfg.norm_eps)
        self.mlp = SwiGLU(cfg)

    def forward(
        self,
        x: Float[Tensor, "n d_model"],
        theta: Float[Tensor, "n half"],
        mask: Bool[Tensor, "n total"],
        context_k: Past,
        context_v: Past,
    ) -> tuple[Float[Tensor, "n d_model"], Own, Own]:
        y, k, v = self.self_attn(self.input_layernorm(x), theta, mask, context_k, context_v)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), k, v


class Backbone(nn.Module):
    """The stack of layers and the final norm (WS-BACKBONE-1)."""

    def __init__(self, cfg: BackboneSizes) -> None:
        super().__init__()
        self.cfg = cfg
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.n_layers))
        self.norm = RMSNorm(cfg.d_model, cfg.norm_eps)

    def forward(
        self, x: Float[Tensor, "n d_model"], table: TokenTable, cache: KVEntries, lag: int
    ) -> tuple[Float[Tensor, "n d_model"], KVEntries]:
        """One pass of the tokens ``x`` over a cache that is only read (WS-STREAMING-3).

        Args:
            x: embeddings of the tokens.
            table: their rows.
            cache: earlier tokens; the visible ones are picked out here.
            lag: feedback lag λ.

        Returns:
            Hidden states after the final norm, and the tokens' own cache entries.
        """
        if not len(table):
            # Of what a session does not have: no token, no pass.
            return x, kv_cache.empty(self.cfg, x.dtype)
        mask = masks.dense_mask(table, TokenTable.cat((cache.table, table)), lag)
        context, past = kv_cache.context_of(cache, mask[:, : len(cache)])
        mask = torch.cat((past, mask[:, len(cache) :]), dim=1)
        theta = rotary.angles(table, self.cfg)
        own_k, own_v = [], []
        for layer, k_past, v_past in zip(self.layers, context.k, context.v, strict=True):
            x, k, v = layer(x, theta, mask, k_past, v_past)
            own_k.append(k)
            own_v.append(v)
        return self.norm(x), KVEntries(table, torch.stack(own_k), torch.stack(own_v))
