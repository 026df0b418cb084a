"""A second solver on the grid that Euler walks: the explicit midpoint rule.

Euler, which serves, stands in `reference.flow`.
Source: CHOICE: the paper speaks of solver steps and names no solver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from torch import Tensor

from reference import flow
from reference.flow import VelocityField
from reference.per_modality import each
from reference.schedules import Grid
from reference.units import Latents

Solver = Callable[[VelocityField, Latents, Grid], Latents]
"""(field, noise at τ = 1, grid) -> latents at τ = 0."""


def solve_midpoint(field: VelocityField, noise: Latents, grid: Grid) -> Latents:
    """z' = z + (τ' - τ) v(z + (τ_m - τ) v(z, τ), τ_m), τ_m = (τ + τ') / 2 (WS-FLOW-10).

    Second order, two evaluations a step, numbered 2 i and 2 i + 1. Every τ it evaluates at is
    inside (0, 1]: never 0, where a noisy token would bear the flow time of a clean one.
    """
    z = noise
    for step, (tau, tau_next) in enumerate(pairwise(grid)):
        middle = (tau + tau_next) / 2
        half_way = euler(z, field(z, tau, 2 * step), tau, middle)
        z = euler(z, field(half_way, middle, 2 * step + 1), tau, tau_next)
    return z


def euler(z: Latents, v: Latents, tau: float, tau_next: float) -> Latents:
    """z(τ') = z(τ) + (τ' - τ) v of both modalities (WS-FLOW-4)."""

    def step(z: Tensor, v: Tensor) -> Tensor:
        return flow.euler_step(z, v, tau, tau_next)

    return each(step, z, v)


SOLVERS: Final[Mapping[str, Solver]] = MappingProxyType(
    {"euler": flow.solve, "midpoint": solve_midpoint}
)
"""Solvers by name (WS-FLOW-4, WS-FLOW-10)."""
