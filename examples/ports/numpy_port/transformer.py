"""The one Transformer over its cache (WS-BACKBONE-1 to -5, WS-POSITIONS-4 to -6).

Keys and values are [kv_heads, n, head_dim] for each layer; keys are stored rotated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from blocks import Array, silu
from presets import Preset
from recipe import weight
from tokens import POSITION, Rows, visible


def rms_norm(x: Array, w: Array, eps: float) -> Array:
    """x / sqrt(mean(x²) + eps) · weight."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(eps)) * w)


def rotation(preset: Preset, rows: Rows, dtype: str) -> tuple[Array, Array]:
    """Cosine and sine [n, head_dim / 2] of the angles, worked out in float64."""
    half = preset.head_dim // 2
    frequencies = preset.theta ** (-2 * np.arange(half) / preset.head_dim)
    axis = np.repeat(np.arange(3), preset.sections)
    angles = rows[:, POSITION][:, axis] * frequencies
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def rotate(x: Array, turn: tuple[Array, Array]) -> Array:
    """Pairs (x_i, x_{i + head_dim / 2}) of x [heads, n, head_dim] by the angle of frequency i."""
    cosine, sine = turn
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)


@dataclass
class Entries:
    """Rows of tokens with their keys and values, layer by layer."""

    rows: Rows
    keys: list[Array]
    values: list[Array]

    def __add__(self, other: Entries) -> Entries:
        def joined(mine: list[Array], theirs: list[Array]) -> list[Array]:
            return [np.concatenate(pair, axis=1) for pair in zip(mine, theirs, strict=True)]

        return Entries(
            np.concatenate([self.rows, other.rows]),
            joined(self.keys, other.keys),
            joined(self.values, other.values),
        )


class Transformer:
    """Layers and the norm after them."""

    def __init__(self, preset: Preset, dtype: str) -> None:
        self.preset, self.dtype = preset, dtype
        p = preset
        q, kv = p.heads * p.head_dim, p.kv_heads * p.head_dim
        sizes: dict[str, tuple[int, ...]] = {
            "input_layernorm": (p.d_model,),
            "self_attn.q_proj": (q, p.d_model),
            "self_attn.k_proj": (kv, p.d_model),
            "self_attn.v_proj": (kv, p.d_model),
            "self_attn.o_proj": (p.d_model, q),
            "post_attention_layernorm": (p.d_model,),
            "mlp.gate_proj": (p.d_ff, p.d_model),
            "mlp.up_proj": (p.d_ff, p.d_model),
            "mlp.down_proj": (p.d_model, p.d_ff),
        }
        if p.qk_norm:
            sizes |= {"self_attn.q_norm": (p.head_dim,), "self_attn.k_norm": (p.head_dim,)}
        shapes = {f"{name}.weight": shape for name, shape in sizes.items()}
        if p.qkv_bias:
            shapes |= {f"self_attn.{x}_proj.bias": (q if x == "q" else kv,) for x in "qkv"}
        self.layers = [
            {
                name: weight(f"backbone.layers.{i}.{name}", shape).astype(dtype)
                for name, shape in shapes.items()
            }
            for i in range(p.layers)
        ]
        self.norm = weight("backbone.norm.weight", (p.d_model,)).astype(dtype)

    def nothing(self) -> Entries:
        """An empty cache."""
        p = self.preset
        none = [np.zeros((p.kv_heads, 0, p.head_dim), self.dtype) for _ in range(p.layers)]
        return Entries(np.zeros((0, 7), np.int64), none, none)

    def __call__(self, x: Array, rows: Rows, cache: Entries, lag: int) -> tuple[Array, Entries]:
        """Final hidden states of x [n, d_model], and its entries; the cache stays as it is."""
        mask = visible(rows, np.concatenate([cache.rows, rows]), lag)
        turn = rotation(self.preset, rows, self.dtype)
        made = Entries(rows, [], [])
        eps = self.preset.eps
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            q, k, v = self._projected(rms_norm(x, layer["input_layernorm.weight"], eps), layer)
            q, k = rotate(q, turn), rotate(k, turn)
            made.keys.append(k)
            made.values.append(v)
            seen = attend(q, np.concatenate([keys, k], 1), np.concatenate([values, v], 1), mask)
            x = x + seen @ layer["self_attn.o_proj.weight"].T
            inside = rms_norm(x, layer["post_attention_layernorm.weight"], eps)
            gate = silu(inside @ layer["mlp.gate_proj.weight"].T)
            inside = gate * (inside @ layer["mlp.up_proj.weight"].T)
            x = x + inside @ layer["mlp.down_proj.weight"].T
        return rms_norm(x, self.norm, eps), made

    def _projected(self, x: Array, layer: dict[str, Array]) -> list[Array]:
        """q, k and v, [heads, n, head_dim] each, not yet rotated."""
        out = []
        for name in "qkv":
            y = x @ layer[f"self_attn.{name}_proj.weight"].T
            if self.preset.qkv_bias:
                y = y + layer[f"self_attn.{name}_proj.bias"]
            y = y.reshape(len(x), -1, self.preset.head_dim).swapaxes(0, 1)
            if self.preset.qk_norm and name != "v":
                y = rms_norm(y, layer[f"self_attn.{name}_norm.weight"], self.preset.eps)
            out.append(y)
        return out


def attend(q: Array, k: Array, v: Array, mask: Array) -> Array:
    """[n, heads · head_dim]; query head h reads key head floor(h · kv_heads / heads)."""
    heads, n, size = q.shape
    shared = np.arange(heads) * len(k) // heads
    scores = q @ k[shared].swapaxes(1, 2) / q.dtype.type(math.sqrt(size))
    scores = np.where(mask, scores, -np.inf)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = powers / powers.sum(axis=-1, keepdims=True)
    return np.asarray(weights @ v[shared]).swapaxes(0, 1).reshape(n, heads * size)
