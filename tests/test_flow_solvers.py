"""Solvers against fields with a known answer and against torchdiffeq; guidance of a field."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchdiffeq import odeint

from reference import guidance, schedules, solvers
from reference.flow import VelocityField
from reference.schedules import Grid
from reference.units import Latents

ORDER = {"euler": 1, "midpoint": 2}
EVERY_SOLVER = pytest.mark.parametrize("name", sorted(solvers.SOLVERS))


def gauss(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=samples.F64)


def pair(seed: int = 0) -> Latents:
    return Latents(audio=gauss(4, 3, seed=seed), video=gauss(2, 2, 3, seed=seed + 50))


def flat(z: Latents) -> Tensor:
    assert z.audio is not None
    assert z.video is not None
    return torch.cat((z.audio.flatten(), z.video.flatten()))


def unflat(y: Tensor) -> Latents:
    return Latents(audio=y[:12].reshape(4, 3), video=y[12:].reshape(2, 2, 3))


MIX = gauss(24, 24, seed=9) / 8


def smooth(y: Tensor, tau: float) -> Tensor:
    """A smooth nonlinear field that couples audio and video and depends on τ."""
    return torch.tanh(MIX @ y) * (1 + tau) + math.sin(3 * tau) * y


def smooth_field(z: Latents, tau: float, _step: int) -> Latents:
    return unflat(smooth(flat(z), tau))


def by_torchdiffeq(method: str, grid: Grid, noise: Latents) -> Tensor:
    times = torch.tensor(grid, dtype=samples.F64)
    options = {} if method == "dopri5" else {"perturb": False}
    path: Tensor = odeint(
        lambda t, y: smooth(y, float(t)),
        flat(noise),
        times,
        method=method,
        rtol=1e-12,
        atol=1e-13,
        options=options,
    )
    return path[-1]


@EVERY_SOLVER
@pytest.mark.parametrize("s", [1.0, 2.5])
@pytest.mark.parametrize("steps", [1, 4, 13])
def test_torchdiffeq_takes_the_same_steps(name: str, s: float, steps: int) -> None:
    """WS-FLOW-4, WS-FLOW-10: torchdiffeq's fixed-grid solver of that name on the same grid,
    shifted or not (WS-FLOW-9), from τ = 1 down to 0."""
    grid = schedules.schedule(steps, s)
    ours = flat(solvers.SOLVERS[name](smooth_field, pair(), grid))
    torch.testing.assert_close(ours, by_torchdiffeq(name, grid, pair()), rtol=0, atol=1e-13)


@EVERY_SOLVER
def test_the_order_is_the_solvers_own(name: str) -> None:
    """WS-FLOW-4, WS-FLOW-10: with twice the steps the error against torchdiffeq's adaptive
    solution falls 2 times for Euler and 4 times for the midpoint rule."""
    truth = by_torchdiffeq("dopri5", (1.0, 0.0), pair())
    errors = [
        float((flat(solvers.SOLVERS[name](smooth_field, pair(), schedules.schedule(n))) - truth)
              .abs().max())
        for n in (32, 64, 128)
    ]  # fmt: skip
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(ORDER[name], abs=0.1)


@pytest.mark.parametrize("rate", [1.5, -0.7])
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_midpoint_on_a_linear_field_is_its_own_closed_form(rate: float, steps: int) -> None:
    """WS-FLOW-10: dz/dτ = rate z gives (1 - h + h²/2)^N with h = rate / N."""

    def field(z: Latents, _tau: float, _step: int) -> Latents:
        return unflat(rate * flat(z))

    h = rate / steps
    out = solvers.solve_midpoint(field, pair(), schedules.schedule(steps))
    expected = (1 - h + h * h / 2) ** steps * flat(pair())
    torch.testing.assert_close(flat(out), expected, rtol=1e-12, atol=0)


def test_midpoint_is_exact_where_the_velocity_is_linear_in_time() -> None:
    """WS-FLOW-10: dz/dτ = 2 τ, z(0) = z(1) - 1, on a grid of any spacing."""

    def field(z: Latents, tau: float, _step: int) -> Latents:
        return unflat(torch.full_like(flat(z), 2 * tau))

    out = solvers.solve_midpoint(field, pair(), schedules.schedule(3, 2.5))
    torch.testing.assert_close(flat(out), flat(pair()) - 1, rtol=0, atol=1e-14)


def test_midpoint_evaluates_inside_the_grid() -> None:
    """WS-FLOW-10: 2 N evaluations in order, at τ_i and half-way to τ_{i+1}, never at 0."""
    seen: list[tuple[float, int]] = []

    def field(z: Latents, tau: float, step: int) -> Latents:
        seen.append((tau, step))
        return z

    solvers.solve_midpoint(field, pair(), (1.0, 0.5, 0.0))
    assert seen == [(1.0, 0), (0.75, 1), (0.5, 2), (0.25, 3)]


@pytest.mark.parametrize("absent", ["audio", "video"])
def test_an_absent_modality_stays_absent(absent: str) -> None:
    """WS-FLOW-10, WS-FLOW-11: the other one is solved and guided as if it were alone."""
    z = pair()
    alone = Latents(
        audio=None if absent == "audio" else z.audio, video=None if absent == "video" else z.video
    )
    field = guidance.guided_field(lambda z, _t, _s: z, lambda z, _t, _s: z, 3.0)
    out = solvers.solve_midpoint(field, alone, (1.0, 0.0))
    assert getattr(out, absent) is None
    present = "video" if absent == "audio" else "audio"
    torch.testing.assert_close(getattr(out, present), 0.5 * getattr(z, present))


@given(st.floats(-2, 8))
def test_guidance_is_the_line_through_both_velocities(scale: float) -> None:
    """WS-FLOW-11: element by element, for both modalities."""
    cond, uncond = pair(1), pair(2)
    expected = flat(uncond) + scale * (flat(cond) - flat(uncond))
    assert torch.equal(flat(guidance.guide(cond, uncond, scale)), expected)


def test_guidance_of_0_and_1_are_its_ends() -> None:
    """WS-FLOW-11: s = 0 is unconditional exactly, s = 1 conditional; 2 goes as far again."""
    cond, uncond = pair(1), pair(2)
    assert torch.equal(flat(guidance.guide(cond, uncond, 0.0)), flat(uncond))
    torch.testing.assert_close(
        flat(guidance.guide(cond, uncond, 1.0)), flat(cond), rtol=1e-14, atol=1e-15
    )
    beyond = flat(guidance.guide(cond, uncond, 2.0))
    torch.testing.assert_close((beyond + flat(uncond)) / 2, flat(cond), rtol=1e-14, atol=1e-15)


def test_both_terms_of_guidance_see_the_same_state() -> None:
    """WS-FLOW-11: a guided solve of two linear fields is the solve of their combined rate."""

    def linear(rate: float) -> VelocityField:
        return lambda z, tau, _step: unflat(rate * tau * flat(z))

    field = guidance.guided_field(linear(0.9), linear(0.4), 3.0)
    grid = schedules.schedule(5, 2.0)
    ours = solvers.solve_midpoint(field, pair(), grid)
    expected = solvers.solve_midpoint(linear(0.4 + 3.0 * 0.5), pair(), grid)
    torch.testing.assert_close(flat(ours), flat(expected), rtol=1e-13, atol=1e-14)
