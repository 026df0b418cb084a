"""Ports whose Transformer, positions or heads compute something else."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
from einops import repeat
from torch import Tensor

from conformance.mutants.patching import Patch, patched
from reference import attention, flow, rms_norm, rotary
from reference.model import WanStreamer
from reference.token_table import TokenTable
from reference.units import Latents
from spec.layout import Segment
from spec.sizes import Backbone

ANGLES = rotary.angles
SLOTS_OF_A_UNIT = {Segment.O: 0, Segment.L: 13, Segment.Z: 17}


def _moved(table: TokenTable, **columns: Tensor) -> TokenTable:
    """``table`` with other t, h, w."""
    cells = table.cells.clone()
    for name, values in columns.items():
        cells[..., {"t": 4, "h": 5, "w": 6}[name]] = values
    return attrs.evolve(table, cells=cells)


def by_buffer_slot(table: TokenTable, backbone: Backbone) -> Tensor:
    place = 4 + 27 * table.unit + table.slot
    for segment, start in SLOTS_OF_A_UNIT.items():
        place = place + start * (table.segment == segment)
    place = torch.where(table.segment == Segment.P, table.t, place)
    return ANGLES(_moved(table, t=place, h=place, w=place), backbone)


def table_ends(table: TokenTable, backbone: Backbone) -> Tensor:
    end = torch.tensor(1023)
    t, h, w = (torch.minimum(x, end) for x in (table.t, table.h, table.w))
    return ANGLES(_moved(table, t=t, h=h, w=w), backbone)


def rows_and_columns_swapped(table: TokenTable, backbone: Backbone) -> Tensor:
    return ANGLES(_moved(table, h=table.w, w=table.h), backbone)


def text_one_tick_late(table: TokenTable, backbone: Backbone) -> Tensor:
    late = (table.segment == Segment.L).to(table.t.dtype)
    return ANGLES(_moved(table, t=table.t + late, h=table.h + late, w=table.w + late), backbone)


def sections_interleaved(table: TokenTable, backbone: Backbone) -> Tensor:
    thw = torch.stack((table.t, table.h, table.w), dim=-1)
    axis = torch.arange(backbone.head_dim // 2) % 3
    return thw[:, axis].to(torch.float64) * rotary.inverse_frequencies(backbone)


def pairs_interleaved(x: Tensor, theta: Tensor) -> Tensor:
    """Neighbours are rotated instead of halves."""
    cos, sin = torch.cos(theta).to(x.dtype), torch.sin(theta).to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


def heads_regrouped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Key head h serves queries h, h + kv_heads, ... instead of a run of neighbours."""
    groups = q.shape[0] // k.shape[0]
    k = repeat(k, "kv m d -> (g kv) m d", g=groups)
    v = repeat(v, "kv m d -> (g kv) m d", g=groups)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1) @ v


def scaled_twice(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return ATTEND(q / math.sqrt(q.shape[-1]), k, v, mask)


ATTEND = attention.attend
RMS_NORM = rms_norm.rms_norm


def weight_plus_one(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return RMS_NORM(x, weight + 1, eps)


def without_segment(self: WanStreamer, *_: Any) -> Tensor:
    return torch.zeros_like(self.segment_embedding[0])


EMBED_RESPONSE = WanStreamer.embed_response


def tau_shifted(self: WanStreamer, z: Latents, tau: Tensor) -> Tensor:
    return EMBED_RESPONSE(self, z, 1.0 - tau)


def tau_unscaled(tau: Tensor, dim: int) -> Tensor:
    return TAU_FEATURES(tau / 1000.0, dim)


TAU_FEATURES = flow.tau_features
LOGITS = WanStreamer.logits
VELOCITY = WanStreamer.velocity


def logits_of_neighbour(self: WanStreamer, hidden: Tensor) -> Tensor:
    return LOGITS(self, hidden).roll(1, dims=-1)


def patches_transposed(self: WanStreamer, hidden: Tensor, z: Latents) -> Latents:
    velocity = VELOCITY(self, hidden, z)
    assert velocity.video is not None
    p = self.preset.video_codec.patch
    c, rows, cols = velocity.video.shape
    video = velocity.video.reshape(c, rows // p, p, cols // p, p).transpose(2, 4)
    return attrs.evolve(velocity, video=video.reshape(c, rows, cols))


def _angles(name: str, clause: str, description: str, replacement: Any) -> Any:
    patch: Patch = (rotary, "angles", replacement)
    return patched(name, clause, description, patch)


MUTANTS = (
    _angles(
        "positions-by-slot",
        "WS-POSITIONS-1",
        "positions count buffer slots, not time",
        by_buffer_slot,
    ),
    _angles(
        "text-one-tick-late", "WS-POSITIONS-2", "text slots start a tick late", text_one_tick_late
    ),
    _angles(
        "rows-and-columns-swapped",
        "WS-POSITIONS-3",
        "h and w of video tokens swapped",
        rows_and_columns_swapped,
    ),
    _angles(
        "sections-interleaved",
        "WS-POSITIONS-4",
        "rotary sections interleaved",
        sections_interleaved,
    ),
    _angles("rotary-table-ends", "WS-POSITIONS-5", "angles stop at position 1,023", table_ends),
    patched(
        "rotary-pairs-interleaved",
        "WS-POSITIONS-6",
        "neighbouring components are rotated together",
        (rotary, "rotate", pairs_interleaved),
    ),
    patched(
        "key-heads-regrouped",
        "WS-BACKBONE-4",
        "query heads are dealt to key heads in turn",
        (attention, "attend", heads_regrouped),
    ),
    patched(
        "softmax-scaled-twice",
        "WS-BACKBONE-1",
        "scores divided by head_dim instead of its root",
        (attention, "attend", scaled_twice),
    ),
    patched(
        "norm-weight-plus-one",
        "WS-BACKBONE-2",
        "norms scale by 1 + weight",
        (rms_norm, "rms_norm", weight_plus_one),
    ),
    patched(
        "no-segment-embedding",
        "WS-MODEL-2",
        "tokens enter without their segment embedding",
        (WanStreamer, "_segment", without_segment),
    ),
    patched(
        "tau-embedded-backwards",
        "WS-MODEL-3",
        "the model is told 1 - tau",
        (WanStreamer, "embed_response", tau_shifted),
    ),
    patched(
        "logits-off-by-one-id",
        "WS-MODEL-4",
        "the language head's rows are off by one",
        (WanStreamer, "logits", logits_of_neighbour),
    ),
    patched(
        "patches-transposed",
        "WS-MODEL-5",
        "pixels inside a latent patch are transposed on the way out",
        (WanStreamer, "velocity", patches_transposed),
    ),
    patched(
        "tau-features-unscaled",
        "WS-FLOW-5",
        "the factor 1,000 on tau is missing",
        (flow, "tau_features", tau_unscaled),
    ),
)
