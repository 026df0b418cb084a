"""τ schedules: from exactly 1 to exactly 0, shifted once and never again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from reference import flow, schedules
from reference.schedules import Grid
from reference.units import Latents
from spec.errors import ConfigError

SHIFTS = st.floats(0.05, 20)
STEPS = st.integers(1, 60)


@given(STEPS, SHIFTS)
def test_a_schedule_can_be_walked(steps: int, s: float) -> None:
    """WS-FLOW-8: exactly 1, exactly 0, strictly decreasing, N steps, for any shift."""
    grid = schedules.schedule(steps, s)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (1.0, 0.0)
    assert all(later < earlier for earlier, later in pairwise(grid))


@given(STEPS)
def test_no_shift_is_the_served_grid(steps: int) -> None:
    """WS-FLOW-9: s = 1 changes no bit of the grid that is served (WS-FLOW-4)."""
    assert schedules.schedule(steps) == flow.tau_grid(steps)


@given(STEPS, SHIFTS)
def test_the_shift_is_applied_once(steps: int, s: float) -> None:
    """WS-FLOW-9: the stated formula of the uniform grid; undoing it once leads back to uniform,
    which a grid shifted twice would not."""
    grid, uniform = schedules.schedule(steps, s), flow.tau_grid(steps)
    expected = [s * u / (1 + (s - 1) * u) for u in uniform]
    assert list(grid) == pytest.approx(expected, rel=1e-13, abs=0)
    undone = [schedules.shift(tau, 1 / s) for tau in grid]
    assert undone == pytest.approx(list(uniform), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("s", [0.3, 2.0, 3.0])
def test_shifts_compound_so_twice_is_another_grid(s: float) -> None:
    """WS-FLOW-9: a shift by s of a shift by s is a shift by s²: the known defect is visible."""
    once = schedules.schedule(4, s)
    twice = [schedules.shift(tau, s) for tau in once]
    assert twice == pytest.approx(list(schedules.schedule(4, s * s)), rel=1e-13)
    assert max(abs(a - b) for a, b in zip(once, twice, strict=True)) > 0.05


@pytest.mark.parametrize(
    "grid",
    [
        (),
        (1.0,),
        (1.0, 0.5, 0.005),
        (0.999, 0.5, 0.0),
        (1.0, 0.5, 0.5, 0.0),
        (1.0, 0.4, 0.6, 0.0),
        (0.0, 0.5, 1.0),
        (1.0, float("nan"), 0.0),
    ],
)
def test_another_grid_is_refused(grid: Grid) -> None:
    """WS-FLOW-8: ends missed, a repeated τ, the wrong direction, NaN."""
    with pytest.raises(ConfigError, match="τ grid"):
        schedules.declared(grid)


@pytest.mark.parametrize(
    ("steps", "s"), [(0, 1.0), (3, 0.0), (3, -1.0), (3, float("inf")), (3, float("nan")), (3, 1e20)]
)
def test_another_schedule_is_refused(steps: int, s: float) -> None:
    """WS-FLOW-8, WS-FLOW-9: no step, no positive shift, or one that merges the steps at 1."""
    with pytest.raises(ConfigError):
        schedules.schedule(steps, s)


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("s", [1.0, 3.0])
def test_diffusers_takes_the_same_steps(steps: int, s: float) -> None:
    """WS-FLOW-4, WS-FLOW-9: diffusers' FlowMatchEulerDiscreteScheduler where definitions coincide.

    The same: σ is our τ, the velocity is ε - z_0, the shift is our formula, a step is
    z + (σ' - σ) v. Not the same, and avoided here: its sigmas are float32 (hence the tolerance);
    the model is told 1000 σ; without explicit sigmas its grid runs to σ_min, which it shifts a
    second time, and a zero is appended, so the grid is not uniform; `scale_noise` looks its σ up
    in a table, ours takes any τ; `stochastic_sampling` adds noise again after each step.
    """
    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=s)
    uniform = np.array(flow.tau_grid(steps)[:-1])
    theirs.set_timesteps(sigmas=uniform)
    grid = schedules.schedule(steps, s)
    np.testing.assert_allclose(theirs.sigmas.numpy(), np.array(grid), rtol=3e-7, atol=0)

    def v_of(z: torch.Tensor, tau: float) -> torch.Tensor:
        return 0.8 * z - tau

    noise = torch.linspace(-2, 2, 12).reshape(4, 3)
    z = noise
    for timestep, tau in zip(theirs.timesteps, grid[:-1], strict=True):
        assert float(timestep) / 1000 == pytest.approx(tau, rel=3e-7)
        z = theirs.step(v_of(z, tau), timestep, z).prev_sample

    def field(z: Latents, tau: float, _step: int) -> Latents:
        assert z.audio is not None
        return Latents(audio=v_of(z.audio, tau), video=None)

    ours = flow.solve(field, Latents(audio=noise, video=None), grid)
    assert ours.audio is not None
    torch.testing.assert_close(ours.audio, z, rtol=0, atol=2e-6)
