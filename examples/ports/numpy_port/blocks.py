"""The blocks of codecs and encoders, with their streaming state (WS-CODEC-3 to WS-CODEC-7).

A layer is called with a chunk [channels, time, (height, width)] and remembers what it must; a new
one starts as before unit 0. One big chunk is the offline form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from recipe import weight

Array = NDArray[Any]
Layer = Callable[[Array], Array]


class Conv:
    """y[i] = bias + Σ_j w[:, :, j] · x[s·i + s − k + j], zeros before unit 0 (WS-CODEC-3, -4)."""

    def __init__(
        self, name: str, dtype: str, out: int, into: int, kernel: Sequence[int], stride: int = 1
    ) -> None:
        self.w = weight(f"{name}.weight", (out, into, *kernel)).astype(dtype, copy=False)
        self.bias = weight(f"{name}.bias", (out,)).astype(dtype, copy=False)
        self.kernel, self.stride = tuple(kernel), stride
        self.past: Array | None = None

    def __call__(self, x: Array) -> Array:
        k, s = self.kernel, self.stride
        if self.past is None:
            self.past = np.zeros((x.shape[0], k[0] - s, *x.shape[2:]), x.dtype)
        x = np.concatenate([self.past, x], axis=1)
        # Not x[:, -(k - s):], which is everything where k = s.
        self.past = x[:, x.shape[1] - (k[0] - s) :]
        sides = [((a - s) // 2, (a - s) // 2) for a in k[1:]]
        x = np.pad(x, [(0, 0), (0, 0), *sides])
        axes = tuple(range(1, x.ndim))
        windows = sliding_window_view(x, k, axis=axes)
        windows = windows[(slice(None), *[slice(None, None, s)] * len(k))]
        inner = tuple(range(len(k) + 1, 2 * len(k) + 1))
        y = np.tensordot(self.w, windows, axes=((1, *range(2, 2 + len(k))), (0, *inner)))
        return np.asarray(y + self.bias.reshape(-1, *[1] * len(k)))


def norm(name: str, dtype: str, channels: int) -> Layer:
    """weight · x / sqrt(mean over channels of x² + 1e-6), point by point."""
    w = weight(f"{name}.weight", (channels,)).astype(dtype, copy=False)

    def call(x: Array) -> Array:
        mean_square = np.mean(x * x, axis=0, keepdims=True)
        return np.asarray(
            x / np.sqrt(mean_square + x.dtype.type(1e-6)) * w.reshape(-1, *[1] * (x.ndim - 1))
        )

    return call


def silu(x: Array) -> Array:
    """x · sigmoid(x)."""
    return np.asarray(x / (1 + np.exp(-x)))


def chain(*layers: Layer) -> Layer:
    """One layer after the other."""

    def call(x: Array) -> Array:
        for layer in layers:
            x = layer(x)
        return x

    return call


def residual(name: str, dtype: str, channels: int, axes: int) -> Layer:
    """x + conv2(silu(norm2(conv1(silu(norm1(x))))))."""
    same = (3,) * axes
    inside = chain(
        norm(f"{name}.norm1", dtype, channels),
        silu,
        Conv(f"{name}.conv1", dtype, channels, channels, same),
        norm(f"{name}.norm2", dtype, channels),
        silu,
        Conv(f"{name}.conv2", dtype, channels, channels, same),
    )
    return lambda x: x + inside(x)


def upsample(x: Array, s: int, p: int = 1) -> Array:
    """Channel ((j·p + r)·p + q)·c + i of point (t, h, w) becomes channel i of point
    (s·t + j, p·h + r, p·w + q)."""
    if x.ndim == 2:
        c, t = x.shape[0] // s, x.shape[1]
        return x.reshape(s, c, t).transpose(1, 2, 0).reshape(c, t * s)
    c = x.shape[0] // (s * p * p)
    t, h, w = x.shape[1:]
    y = x.reshape(s, p, p, c, t, h, w).transpose(3, 4, 0, 5, 1, 6, 2)
    return y.reshape(c, t * s, h * p, w * p)


def space_to_depth(x: Array, p: int) -> Array:
    """Channel i of pixel (p·h + r, p·w + q) becomes channel (r·p + q)·c + i of point (h, w)."""
    c, t, h, w = x.shape
    y = x.reshape(c, t, h // p, p, w // p, p).transpose(3, 5, 0, 1, 2, 4)
    return y.reshape(p * p * c, t, h // p, w // p)
