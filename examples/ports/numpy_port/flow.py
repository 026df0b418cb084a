"""Flow matching: the conditioning of τ and the solver (WS-FLOW-4, WS-FLOW-5, WS-FLOW-6)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from blocks import Array

Latents = dict[str, Array]
"""The response's latents by modality: "audio" [4, C], "video" [C, rows, cols]."""


def tau_features(tau: float, dim: int) -> Array:
    """[dim] in float64: all cosines, then all sines."""
    half = dim // 2
    angles = 1000 * tau * 10000.0 ** (-np.arange(half) / half)
    return np.concatenate([np.cos(angles), np.sin(angles)])


def solve(velocity: Callable[[Latents, float], Latents], noise: Latents, steps: int) -> Latents:
    """Euler from τ = 1 to τ = 0 on the uniform grid."""
    taus = [(steps - i) / steps for i in range(steps + 1)]
    z = noise
    for tau, following in pairwise(taus):
        v = velocity(z, tau)
        z = {name: z[name] + z[name].dtype.type(following - tau) * v[name] for name in z}
    return z
