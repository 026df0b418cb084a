"""τ schedules: the grids that a solver walks from noise to data.

A grid is made in one call from its number of steps and its shift. No function takes a grid and
shifts it, so a shift cannot be applied twice.
Source: CHOICE: the paper names neither a schedule nor a shift.
"""

from __future__ import annotations

import math
from itertools import pairwise

from reference import flow
from spec.errors import ConfigError

Grid = tuple[float, ...]
"""1 = τ_0 > τ_1 > ... > τ_N = 0, float64 (WS-FLOW-8)."""


def shift(sigma: float, s: float) -> float:
    """σ' = s σ / (1 + (s - 1) σ): more of the path near noise for s > 1 (WS-FLOW-9).

    Written with (1 - σ) + s σ below the line, which keeps both ends exact: 0 to 0 and 1 to 1.
    """
    return s * sigma / ((1 - sigma) + s * sigma)


def schedule(steps: int, s: float = 1.0) -> Grid:
    """The uniform grid of N steps, every τ shifted once (WS-FLOW-4, WS-FLOW-9).

    Raises:
        ConfigError: no step, a shift that is not positive, or one so strong that two τ coincide.
    """
    if steps < 1:
        raise ConfigError("solver steps", steps, "at least 1")
    if not (math.isfinite(s) and s > 0):
        raise ConfigError("τ shift", s, "a positive number; 1 shifts nothing")
    return declared(tuple(shift(tau, s) for tau in flow.tau_grid(steps)))


def declared(grid: Grid) -> Grid:
    """``grid`` as it is, if a solver can walk it (WS-FLOW-8).

    Raises:
        ConfigError: it does not lead from exactly 1 to exactly 0, every τ below the one before.
    """
    ends = len(grid) > 1 and grid[0] == 1.0 and grid[-1] == 0.0
    if not (ends and all(later < earlier for earlier, later in pairwise(grid))):
        raise ConfigError("τ grid", grid, "strictly decreasing from exactly 1 to exactly 0")
    return grid
