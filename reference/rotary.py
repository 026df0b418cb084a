"""Rotary position embedding over (t, h, w), computed at every call and so without an end.

Source: Su et al. 2021; sections per axis in the manner of M-RoPE (CHOICE, the paper is silent).
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from reference.token_table import TokenTable
from spec.sizes import Backbone


@functools.cache
def inverse_frequencies(backbone: Backbone) -> Float[Tensor, " half"]:
    """ω_i = θ^(-2 i / head_dim), i = 0 ... head_dim/2 - 1, in float64 (WS-POSITIONS-5)."""
    d = backbone.head_dim
    omega = [backbone.rope_theta ** (-2.0 * i / d) for i in range(d // 2)]
    return torch.tensor(omega, dtype=torch.float64)


def angles(table: TokenTable, backbone: Backbone) -> Float[Tensor, "n half"]:
    """Angle of token n at frequency i: ω_i times the token's t, h or w (WS-POSITIONS-4).

    The first ``mrope_sections[0]`` frequencies read t, the next h, the last w. float64, so that
    positions far out lose nothing before the cosine (WS-POSITIONS-5).
    """
    sections = torch.split(inverse_frequencies(backbone), list(backbone.mrope_sections))
    places = (table.t, table.h, table.w)
    # Integer times float64 is float64.
    return torch.cat([x[:, None] * omega for x, omega in zip(places, sections, strict=True)], -1)


def rotate(
    x: Float[Tensor, "heads n head_dim"], theta: Float[Tensor, "n half"]
) -> Float[Tensor, "heads n head_dim"]:
    """Rotate the pairs (x_i, x_{i + half}) by θ_i (WS-POSITIONS-6).

    Cosine and sine are taken in float64 and rounded once to the dtype of ``x``.
    """
    cos, sin = torch.cos(theta).to(x.dtype), torch.sin(theta).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
