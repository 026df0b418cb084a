"""Root-mean-square normalisation.

Source: Zhang and Sennrich 2019, as in the language models the paper starts from (§2.3).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def rms_norm(
    x: Float[Tensor, "*n d"], weight: Float[Tensor, " d"], eps: float
) -> Float[Tensor, "*n d"]:
    """x / sqrt(mean(x²) + eps) · weight, over the last axis (WS-BACKBONE-2)."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


class RMSNorm(nn.Module):
    """`rms_norm` with its weight (WS-BACKBONE-2)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return rms_norm(x, self.weight, self.eps)
