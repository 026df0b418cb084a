"""Ports whose formulas are slightly off: backbone, model, flow."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from conformance.mutants.math_port import wrong
from reference import (
    attention,
    flow,
    guidance,
    model,
    rms_norm,
    rotary,
    schedules,
    solvers,
)
from reference.attention import Attention
from reference.backbone import Backbone, Layer
from reference.model import WanStreamer
from reference.per_modality import each
from reference.swiglu import SwiGLU
from reference.token_table import TokenTable
from reference.units import Latents

ANGLES = rotary.angles
ATTEND = attention.attend
RMS_NORM = rms_norm.rms_norm
SHIFT = schedules.shift
SOLVE = flow.solve
EMBEDDED_AS = model.EMBEDDED_AS


def eps_outside(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True).sqrt() + eps) * weight


def sample_mean(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Divided by d - 1, as a sample variance is."""
    mean = x.square().sum(dim=-1, keepdim=True) / max(x.shape[-1] - 1, 1)
    return x * torch.rsqrt(mean + eps) * weight


def centred(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return RMS_NORM(x - x.mean(dim=-1, keepdim=True), weight, eps)


def base_fixed(backbone: Any) -> Tensor:
    i = torch.arange(backbone.head_dim // 2, dtype=torch.float64)
    return torch.as_tensor(10_000.0 ** (-2.0 * i / backbone.head_dim))


def last_frequency_reached(backbone: Any) -> Tensor:
    """The exponent runs up to 1, over half - 1 steps."""
    half = backbone.head_dim // 2
    i = torch.arange(half, dtype=torch.float64)
    return torch.as_tensor(backbone.rope_theta ** (-i / max(half - 1, 1)))


def angle_in_float32(table: Any, backbone: Any) -> Tensor:
    return ANGLES(table, backbone).float().double()


def position_in_float32(table: Any, backbone: Any) -> Tensor:
    """Only positions past 2^24 show it."""
    sections = torch.tensor(backbone.mrope_sections)
    axis = torch.repeat_interleave(torch.arange(3), sections)
    thw = torch.stack((table.t, table.h, table.w), dim=-1).float().double()
    return thw[:, axis] * rotary.inverse_frequencies(backbone)


def turned_back(x: Tensor, theta: Tensor) -> Tensor:
    return ROTATE(x, -theta)


def positions_wrapped(table: Any, backbone: Any) -> Tensor:
    """Positions pass through 32 bits."""
    cells = table.cells.to(torch.int32).to(torch.int64)
    return ANGLES(TokenTable(cells, table.tau), backbone)


def lone_key_halved(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """A query with one key in all shares its weight with one that is not there."""
    return ATTEND(q, k, v, mask) / (2 if k.shape[1] == 1 else 1)


ROTATE = rotary.rotate


def hidden_by_ten(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Hidden keys lose ten from their score and stay."""
    groups = q.shape[0] // k.shape[0]
    k, v = (repeat(x, "kv m d -> (kv g) m d", g=groups) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(scores - 10.0 * (~mask), dim=-1) @ v


def norm_after_rotation(
    self: Attention, x: Tensor, theta: Tensor, mask: Tensor, past_k: Tensor, past_v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    split = "n (heads d) -> heads n d"
    q = self.q_norm(rotary.rotate(rearrange(self.q_proj(x), split, d=self.head_dim), theta))
    k = self.k_norm(rotary.rotate(rearrange(self.k_proj(x), split, d=self.head_dim), theta))
    v = rearrange(self.v_proj(x), split, d=self.head_dim)
    keys, values = torch.cat((past_k, k), dim=1), torch.cat((past_v, v), dim=1)
    y = rearrange(ATTEND(q, keys, values, mask), "heads n d -> n (heads d)")
    return self.o_proj(y), k, v


def gate_and_up_swapped(self: SwiGLU, x: Tensor) -> Tensor:
    y: Tensor = self.down_proj(F.silu(self.up_proj(x)) * self.gate_proj(x))
    return y


def parallel_layer(self: Layer, x: Tensor, *rest: Any) -> Any:
    """The feed-forward part reads what attention read."""
    y, k, v = self.self_attn(self.input_layernorm(x), *rest)
    return x + y + self.mlp(self.post_attention_layernorm(x)), k, v


def last_norm_unweighted(self: Backbone, *rest: Any) -> Any:
    weight = self.norm.weight
    self.norm.weight = torch.nn.Parameter(torch.ones_like(weight), requires_grad=False)
    try:
        return FORWARD(self, *rest)
    finally:
        self.norm.weight = weight


FORWARD = Backbone.forward
RESPONSE = WanStreamer.embed_response
VELOCITY = WanStreamer.velocity
LOGITS = WanStreamer.logits
IDENTITY = WanStreamer.embed_identity


def tau_for_audio_only(self: WanStreamer, z: Latents, tau: Tensor) -> Tensor:
    n = 0 if z.audio is None else len(z.audio)
    return RESPONSE(self, z, torch.where(torch.arange(len(tau)) < n, tau, 0.0))


def identity_as_response(self: WanStreamer, image: Any, voice: Any) -> Tensor:
    """Identity tokens carry the rows of a response."""
    own = self.identity_segment_embedding
    x = IDENTITY(self, image, voice)
    n = len(x) - len(voice)
    rows = torch.cat((own[:1].expand(n, -1), own[1:].expand(len(voice), -1)))
    response = torch.cat(
        (
            self.segment_embedding[7:8].expand(n, -1),
            self.segment_embedding[6:7].expand(len(voice), -1),
        )
    )
    return x - rows + response


def video_tokens_first(self: WanStreamer, hidden: Tensor, z: Latents) -> Latents:
    n = 0 if z.audio is None else len(z.audio)
    return VELOCITY(self, hidden.roll(n, dims=0), z)


def snapped(z_0: Tensor, eps: Tensor, tau: float) -> Tensor:
    """The nearest sigma of a thousand-step grid that begins at 0.005."""
    tau = max(round(tau * 1000) / 1000, 0.005)
    return (1 - tau) * z_0 + tau * eps


def grid_by_differences(steps: int) -> tuple[float, ...]:
    """1 - i / N: an ulp off for many N."""
    return tuple(1 - i / steps for i in range(steps + 1))


def grid_without_end(steps: int) -> tuple[float, ...]:
    return tuple(1 - i / (steps + 1) for i in range(steps + 1))


def renoised(field: Any, noise: Latents, grid: tuple[float, ...]) -> Latents:
    z = SOLVE(field, noise, grid)
    return each(lambda clean, eps: flow.interpolate(clean, eps, 0.005), z, noise)


def ahead_of_time(field: Any, noise: Latents, grid: tuple[float, ...]) -> Latents:
    """Each step is evaluated at the τ it ends at."""
    z = noise
    for step, (tau, after) in enumerate(pairwise(grid)):
        z = solvers.euler(z, field(z, after, step), tau, after)
    return z


def midpoints_unnumbered(field: Any, noise: Latents, grid: tuple[float, ...]) -> Latents:
    """Both evaluations of a step bear its number."""
    return MIDPOINT(lambda z, tau, step: field(z, tau, step // 2), noise, grid)


MIDPOINT = solvers.solve_midpoint


def from_the_condition(v_cond: Latents, v_uncond: Latents, scale: float) -> Latents:
    return each(lambda c, u: c + scale * (c - u), v_cond, v_uncond)


def features_interleaved(tau: Tensor, dim: int) -> Tensor:
    cos, sin = FEATURES(tau, dim).chunk(2, dim=-1)
    return torch.stack((cos, sin), dim=-1).flatten(-2)


def features_to_the_end(tau: Tensor, dim: int) -> Tensor:
    """ω over half - 1 steps."""
    half = dim // 2
    omega = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / max(half - 1, 1))
    theta = 1000.0 * tau[:, None] * omega
    return torch.cat((torch.cos(theta), torch.sin(theta)), dim=-1)


FEATURES = flow.tau_features


MUTANTS: Final = (
    wrong("norm-eps-outside", "WS-BACKBONE-2", "eps is added after the root",
          (rms_norm, "rms_norm", eps_outside)),
    wrong("norm-of-sample", "WS-BACKBONE-2", "the mean is taken over d - 1",
          (rms_norm, "rms_norm", sample_mean)),
    wrong("norm-centred", "WS-BACKBONE-2", "the mean is subtracted first",
          (rms_norm, "rms_norm", centred)),
    wrong("rope-base-fixed", "WS-POSITIONS-4", "the base is always 10,000",
          (rotary, "inverse_frequencies", base_fixed)),
    wrong("rope-exponent", "WS-POSITIONS-4", "frequencies end at 1 / base",
          (rotary, "inverse_frequencies", last_frequency_reached)),
    wrong("rope-angle-float32", "WS-POSITIONS-5", "angles are rounded to float32",
          (rotary, "angles", angle_in_float32)),
    wrong("rope-position-float32", "WS-POSITIONS-5", "positions past 2^24 lose their last bit",
          (rotary, "angles", position_in_float32)),
    wrong("positions-in-32-bits", "WS-POSITIONS-5", "positions wrap at 2^31",
          (rotary, "angles", positions_wrapped)),
    wrong("lone-key-halved", "WS-BACKBONE-4", "one key in all has half the weight",
          (attention, "attend", lone_key_halved)),
    wrong("rope-turned-back", "WS-POSITIONS-6", "rotation in the other direction",
          (rotary, "rotate", turned_back)),
    wrong("softmax-scale", "WS-BACKBONE-4", "scores are one percent too large",
          (attention, "attend", lambda q, *rest: ATTEND(1.01 * q, *rest))),
    wrong("hidden-by-ten", "WS-BACKBONE-4", "hidden keys keep a small weight",
          (attention, "attend", hidden_by_ten)),
    wrong("qk-norm-late", "WS-BACKBONE-3", "queries and keys are normalised after rotation",
          (Attention, "forward", norm_after_rotation)),
    wrong("swiglu-swapped", "WS-BACKBONE-5", "the gate is taken from the wrong projection",
          (SwiGLU, "forward", gate_and_up_swapped)),
    wrong("layer-parallel", "WS-BACKBONE-1", "attention and feed-forward run side by side",
          (Layer, "forward", parallel_layer)),
    wrong("last-norm-unweighted", "WS-BACKBONE-1", "the norm after the last layer has no weight",
          (Backbone, "forward", last_norm_unweighted)),
    wrong("segment-rows-swapped", "WS-MODEL-2", "state and text slots swap their embeddings",
          (model, "EMBEDDED_AS", (*EMBEDDED_AS[:4], EMBEDDED_AS[5], EMBEDDED_AS[4],
                                  *EMBEDDED_AS[6:]))),
    wrong("tau-for-audio-only", "WS-MODEL-3", "video tokens are told τ = 0",
          (WanStreamer, "embed_response", tau_for_audio_only)),
    wrong("logits-scaled", "WS-MODEL-4", "logits are one percent too large",
          (WanStreamer, "logits", lambda self, hidden: 1.01 * LOGITS(self, hidden))),
    wrong("velocity-rows-moved", "WS-MODEL-5", "heads read the tokens of the other modality",
          (WanStreamer, "velocity", video_tokens_first)),
    wrong("identity-as-response", "WS-PREFILL-4", "identity tokens look like a response",
          (WanStreamer, "embed_identity", identity_as_response)),
    wrong("tau-snapped", "WS-FLOW-1", "τ is moved to a grid", (flow, "interpolate", snapped)),
    wrong("velocity-turned", "WS-FLOW-2", "the velocity points to the data",
          (flow, "velocity_target", lambda z_0, eps: z_0 - eps)),
    wrong("loss-halved", "WS-FLOW-3", "half the squared error",
          (flow, "flow_loss", lambda v, z, e: (v - (e - z)).square().mean() / 2)),
    wrong("grid-by-differences", "WS-FLOW-4", "τ is 1 - i / N, an ulp off",
          (flow, "tau_grid", grid_by_differences)),
    wrong("grid-without-end", "WS-FLOW-4", "the grid stops before 0",
          (flow, "tau_grid", grid_without_end)),
    wrong("euler-evaluates-ahead", "WS-FLOW-4", "each velocity is that of the next τ",
          (flow, "solve", ahead_of_time)),
    wrong("response-renoised", "WS-FLOW-6", "the last value is noised again",
          (flow, "solve", renoised)),
    wrong("grid-unchecked", "WS-FLOW-8", "any grid is walked",
          (schedules, "declared", lambda grid: grid)),
    wrong("shift-ends-near-one", "WS-FLOW-9", "the formula as it is printed, not 1 at its start",
          (schedules, "shift", lambda sigma, s: s * sigma / (1 + (s - 1) * sigma))),
    wrong("shift-twice", "WS-FLOW-9", "the shift is applied twice",
          (schedules, "shift", lambda sigma, s: SHIFT(SHIFT(sigma, s), s))),
    wrong("midpoint-numbers", "WS-FLOW-10", "evaluations of a step are not told apart",
          (solvers, "solve_midpoint", midpoints_unnumbered)),
    wrong("guidance-from-condition", "WS-FLOW-11", "guidance starts from the conditional velocity",
          (guidance, "guide", from_the_condition)),
    wrong("tau-interleaved", "WS-FLOW-5", "cosines and sines alternate",
          (flow, "tau_features", features_interleaved)),
    wrong("tau-exponent", "WS-FLOW-5", "frequencies end at 1 / 10,000",
          (flow, "tau_features", features_to_the_end)),
)  # fmt: skip
