"""Flow matching: the path from data to noise and the solver back.

τ runs from 0 (clean data) to 1 (noise), as in Eq. (2); the solver walks it from 1 down to 0.
Source: PAPER Eq. (2), Eq. (3), §2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from reference.units import Latents

VelocityField = Callable[[Latents, float, int], Latents]
"""f_θ(z_τ^a, z_τ^v, c_k, τ) of Eq. (3) with c_k bound: (state, τ, solver step) -> velocity."""


def interpolate(
    z_0: Float[Tensor, "*s"], eps: Float[Tensor, "*s"], tau: float
) -> Float[Tensor, "*s"]:
    """z_τ = (1 - τ) z_0 + τ ε, exactly z_0 at τ = 0 and ε at τ = 1 (WS-FLOW-1, PAPER Eq. (2))."""
    return (1 - tau) * z_0 + tau * eps


def velocity_target(z_0: Float[Tensor, "*s"], eps: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """∂z_τ/∂τ = ε - z_0 (WS-FLOW-2, PAPER Eq. (2))."""
    return eps - z_0


def flow_loss(
    velocity: Float[Tensor, "*s"], z_0: Float[Tensor, "*s"], eps: Float[Tensor, "*s"]
) -> Float[Tensor, ""]:
    """‖f_θ - ∂z_τ/∂τ‖², averaged over elements, of one modality (WS-FLOW-3, PAPER Eq. (3))."""
    return (velocity - velocity_target(z_0, eps)).square().mean()


def tau_grid(steps: int) -> tuple[float, ...]:
    """Uniform grid 1 = τ_0 > τ_1 > ... > τ_N = 0: τ_i = (N - i) / N (WS-FLOW-4)."""
    return tuple((steps - i) / steps for i in range(steps + 1))


def euler_step(
    z: Float[Tensor, "*s"], velocity: Float[Tensor, "*s"], tau: float, tau_next: float
) -> Float[Tensor, "*s"]:
    """z(τ') = z(τ) + (τ' - τ) v (WS-FLOW-4)."""
    return z + (tau_next - tau) * velocity


def solve(field: VelocityField, noise: Latents, grid: tuple[float, ...]) -> Latents:
    """Walk the grid from noise ε at τ = 1 to the clean latents at τ = 0 (WS-FLOW-4).

    Audio and video move together: each evaluation sees both states at the same τ. The result is
    the last Euler value as it is, never noised again (WS-FLOW-6).
    """
    z = noise
    for step, (tau, tau_next) in enumerate(pairwise(grid)):
        v = field(z, tau, step)
        z = Latents(
            audio=_step(z.audio, v.audio, tau, tau_next),
            video=_step(z.video, v.video, tau, tau_next),
        )
    return z


def _step(z: Tensor | None, v: Tensor | None, tau: float, tau_next: float) -> Tensor | None:
    if z is None or v is None:
        return None
    return euler_step(z, v, tau, tau_next)


def tau_features(tau: Float[Tensor, " n"], dim: int) -> Float[Tensor, "n dim"]:
    """Sinusoidal features of τ: (cos, sin)(1000 τ ω_i), ω_i = 10000^(-i/(dim/2)), float64
    (WS-FLOW-5)."""
    half = dim // 2
    omega = torch.tensor([10_000.0 ** (-i / half) for i in range(half)], dtype=torch.float64)
    theta = 1000.0 * tau[:, None].to(torch.float64) * omega
    return torch.cat((torch.cos(theta), torch.sin(theta)), dim=-1)
