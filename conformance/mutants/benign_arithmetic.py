"""Harmless variants that compute the same formulas in another way."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from conformance.mutants.benign import NotExact
from conformance.mutants.patching import Benign, Patch
from reference import attention, flow, rms_norm, rotary
from reference.swiglu import SwiGLU


def by_library(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """PyTorch's own fused attention."""
    y: Tensor = F.scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=mask[None, None], enable_gqa=True
    )
    return y[0]


def by_einsum(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Grouped heads without repeated keys; scores scaled before the product."""
    if not k.shape[1]:
        # A pass without a token: there is no largest score to take away.
        return torch.zeros_like(q)
    # Not -1 for the groups: a pass may have no queries at all.
    groups = q.shape[0] // k.shape[0]
    grouped = (q / math.sqrt(q.shape[-1])).reshape(k.shape[0], groups, *q.shape[1:])
    scores = torch.einsum("hgnd,hmd->hgnm", grouped, k).masked_fill(~mask, -torch.inf)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("hgnm,hmd->hgnd", weights, v).flatten(0, 1)


def accumulated_wide(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Scores, softmax and sum in float64, then one rounding."""
    wide = ATTEND(q.double(), k.double(), v.double(), mask)
    return wide.to(q.dtype)


def norm_wide(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return RMS_NORM(x.double(), weight.double(), eps).to(x.dtype)


ATTEND = attention.attend
RMS_NORM = rms_norm.rms_norm


def channels_permuted(self: SwiGLU, x: Tensor) -> Tensor:
    """The hidden channels stand in the opposite order."""
    gate, up = (w.weight.flip(0) for w in (self.gate_proj, self.up_proj))
    return (F.silu(x @ gate.T) * (x @ up.T)) @ self.down_proj.weight.flip(1).T


def halves_added(self: SwiGLU, x: Tensor) -> Tensor:
    """The hidden channels in two halves, as two devices would share them."""
    width = self.gate_proj.weight.shape[0] // 2
    parts = (slice(0, width), slice(width, None))
    return torch.stack(
        [
            (F.silu(x @ self.gate_proj.weight[p].T) * (x @ self.up_proj.weight[p].T))
            @ self.down_proj.weight[:, p].T
            for p in parts
        ]
    ).sum(0)


def by_complex_numbers(x: Tensor, theta: Tensor) -> Tensor:
    """Rotation as a complex product."""
    first, second = x.double().chunk(2, dim=-1)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(theta), theta)
    return torch.cat((turned.real, turned.imag), dim=-1).to(x.dtype)


def mixed_step(z: Tensor, velocity: Tensor, tau: float, tau_next: float) -> Tensor:
    """The Euler step as a fused multiply-add."""
    return torch.add(z, velocity, alpha=tau_next - tau)


OTHER_WAYS: Mapping[str, tuple[str, tuple[Patch, ...]]] = {
    "fused-attention": (
        "Attention by the library's fused kernel.",
        ((attention, "attend", by_library),),
    ),
    "einsum-attention": (
        "Grouped heads by einsum, the softmax by hand.",
        ((attention, "attend", by_einsum),),
    ),
    "wide-accumulators": (
        "Attention and norms accumulate in float64.",
        ((attention, "attend", accumulated_wide), (rms_norm, "rms_norm", norm_wide)),
    ),
    "mlp-channels-permuted": (
        "The hidden channels of the MLP stand in another order.",
        ((SwiGLU, "forward", channels_permuted),),
    ),
    "mlp-in-two-halves": (
        "The MLP's hidden channels are shared by two devices.",
        ((SwiGLU, "forward", halves_added),),
    ),
    "rotation-by-complex-numbers": (
        "Queries and keys are turned by complex products.",
        ((rotary, "rotate", by_complex_numbers),),
    ),
    "fused-solver-step": (
        "The Euler step is one fused operation.",
        ((flow, "euler_step", mixed_step),),
    ),
}


def _variant(name: str) -> Benign:
    description, patches = OTHER_WAYS[name]
    return Benign(name=name, description=description, factory=lambda: NotExact(name, *patches))


VARIANTS = tuple(map(_variant, OTHER_WAYS))
