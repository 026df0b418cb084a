"""Flow matching: the path is a line, its velocity the slope, and the solver walks back along it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reference import flow
from reference.units import Latents

STEPS = pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])


def gauss(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=samples.F64)


def latents(seed: int) -> Latents:
    return Latents(audio=gauss(4, 7, seed=seed), video=gauss(5, 2, 4, seed=seed + 100))


def both(z: Latents) -> tuple[Tensor, Tensor]:
    assert z.audio is not None
    assert z.video is not None
    return z.audio, z.video


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_path_starts_and_ends_exactly(dtype: torch.dtype) -> None:
    """WS-FLOW-1: z_0 at τ = 0 and ε at τ = 1, bit by bit: no smallest sigma."""
    z_0, eps = gauss(4, 7).to(dtype), gauss(4, 7, seed=1).to(dtype)
    assert torch.equal(flow.interpolate(z_0, eps, 0.0), z_0)
    assert torch.equal(flow.interpolate(z_0, eps, 1.0), eps)


@given(st.floats(0, 1))
def test_the_path_is_a_line(tau: float) -> None:
    """WS-FLOW-1: (1 - τ) z_0 + τ ε for any τ, snapped to no grid."""
    z_0, eps = gauss(4, 7), gauss(4, 7, seed=1)
    expected = [
        (1 - tau) * a + tau * b
        for a, b in zip(z_0.flatten().tolist(), eps.flatten().tolist(), strict=True)
    ]
    z_tau = flow.interpolate(z_0, eps, tau)
    assert z_tau.flatten().tolist() == pytest.approx(expected, rel=1e-14, abs=1e-15)


@given(st.floats(0.01, 0.99))
def test_velocity_is_the_slope_of_the_path(tau: float) -> None:
    """WS-FLOW-2: ε - z_0 is ∂z_τ/∂τ at every τ (central difference, exact for a line)."""
    z_0, eps, h = gauss(4, 7), gauss(4, 7, seed=1), 2.0**-10
    slope = (flow.interpolate(z_0, eps, tau + h) - flow.interpolate(z_0, eps, tau - h)) / (2 * h)
    torch.testing.assert_close(flow.velocity_target(z_0, eps), slope, rtol=0, atol=1e-11)


def test_loss_is_the_mean_squared_error_of_the_velocity() -> None:
    """WS-FLOW-3: against torch's own; 0 at the target; it does not grow with the frame."""
    z_0, eps, v = gauss(4, 7), gauss(4, 7, seed=1), gauss(4, 7, seed=2)
    expected = torch.nn.functional.mse_loss(v, eps - z_0)
    torch.testing.assert_close(flow.flow_loss(v, z_0, eps), expected, rtol=1e-14, atol=0)
    assert flow.flow_loss(eps - z_0, z_0, eps) == 0
    twice = [torch.cat((x, x)) for x in (v, z_0, eps)]
    torch.testing.assert_close(flow.flow_loss(*twice), expected, rtol=1e-14, atol=0)


@STEPS
def test_the_grid_is_uniform(steps: int) -> None:
    """WS-FLOW-4: τ_i is the float64 quotient (N - i) / N, from exactly 1 to exactly 0."""
    grid = flow.tau_grid(steps)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (1.0, 0.0)
    assert grid == tuple((steps - i) / steps for i in range(steps + 1))
    assert all(later < earlier for earlier, later in pairwise(grid))


@STEPS
def test_every_tau_is_evaluated_once_in_order(steps: int) -> None:
    """WS-FLOW-4: N evaluations at τ_0 ... τ_{N-1}, none at 0, audio and video in the same call,
    each at the state the last step left."""
    seen: list[tuple[float, int]] = []
    states: list[Latents] = []

    def field(z: Latents, tau: float, step: int) -> Latents:
        seen.append((tau, step))
        states.append(z)
        return latents(step)

    noise = latents(999)
    out = flow.solve(field, noise, flow.tau_grid(steps))
    assert seen == [((steps - i) / steps, i) for i in range(steps)]
    for which in (0, 1):
        z = both(noise)[which]
        for i, state in enumerate(states):
            assert torch.equal(both(state)[which], z)
            z = z + ((steps - i - 1) / steps - (steps - i) / steps) * both(latents(i))[which]
        # WS-FLOW-6: the result is the last value, with nothing added to it.
        assert torch.equal(both(out)[which], z)


@STEPS
def test_a_constant_field_is_solved_exactly(steps: int) -> None:
    """WS-FLOW-4, WS-FLOW-6: the true velocity ε - z_0 leads from ε back to z_0 in any number of
    steps, down to rounding; nothing is noised again at the end."""
    z_0, eps = latents(1), latents(2)
    v = Latents(
        audio=flow.velocity_target(both(z_0)[0], both(eps)[0]),
        video=flow.velocity_target(both(z_0)[1], both(eps)[1]),
    )
    out = flow.solve(lambda _z, _tau, _step: v, eps, flow.tau_grid(steps))
    for ours, expected in zip(both(out), both(z_0), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)


def error_on_linear_field(steps: int, rate: float) -> float:
    """dz/dτ = rate · z: z(0) = exp(-rate) z(1)."""
    noise = latents(3)

    def field(z: Latents, _tau: float, _step: int) -> Latents:
        audio, video = both(z)
        return Latents(audio=rate * audio, video=rate * video)

    out = flow.solve(field, noise, flow.tau_grid(steps))
    factor = float((both(out)[0] / both(noise)[0]).mean())
    # Euler's own closed form: (1 - rate / N) ** N.
    assert factor == pytest.approx((1 - rate / steps) ** steps, rel=1e-12)
    return abs(factor - math.exp(-rate))


@pytest.mark.parametrize("rate", [1.5, -0.7])
def test_a_linear_field_converges_at_first_order(rate: float) -> None:
    """WS-FLOW-4: Euler's closed form at every N, and half the error with twice the steps."""
    errors = [error_on_linear_field(n, rate) for n in (64, 128, 256)]
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2.0, abs=0.05)


def test_audio_and_video_move_together() -> None:
    """WS-FLOW-4: a field that turns the pair (audio, video) by one radian sees both at the same
    τ; if either lagged a step, the radius or the angle would be wrong."""
    start = Latents(audio=torch.ones(1, 1), video=torch.zeros(1, 1, 1))

    def turn(z: Latents, _tau: float, _step: int) -> Latents:
        audio, video = both(z)
        return Latents(audio=-video.reshape(1, 1), video=audio.reshape(1, 1, 1))

    steps = 10
    audio, video = both(flow.solve(turn, start, flow.tau_grid(steps)))
    # Euler on z' = i z is the power (1 - i / N) ** N.
    expected = (1 - 1j / steps) ** steps
    assert float(audio) == pytest.approx(expected.real, abs=1e-6)
    assert float(video) == pytest.approx(expected.imag, abs=1e-6)


@pytest.mark.parametrize("absent", ["audio", "video"])
def test_an_absent_modality_stays_absent(absent: str) -> None:
    """WS-FLOW-4: the other one is solved as if it were alone."""
    noise = Latents(
        audio=None if absent == "audio" else gauss(4, 7),
        video=None if absent == "video" else gauss(5, 2, 4),
    )
    out = flow.solve(lambda z, _tau, _step: z, noise, flow.tau_grid(2))
    assert getattr(out, absent) is None
    present = "video" if absent == "audio" else "audio"
    torch.testing.assert_close(getattr(out, present), 0.25 * getattr(noise, present))


@pytest.mark.parametrize("dim", [2, 8, 26])
def test_tau_features(dim: int) -> None:
    """WS-FLOW-5: cosines of 1000 τ ω_i, then the sines, each from the standard library."""
    taus = [0.0, 1 / 3, 0.5, 2 / 3, 1.0]
    features = flow.tau_features(torch.tensor(taus, dtype=samples.F64), dim)
    assert features.dtype == torch.float64
    half = dim // 2
    for tau, row in zip(taus, features.tolist(), strict=True):
        omega = [math.exp(-math.log(10_000.0) * i / half) for i in range(half)]
        expected = [math.cos(1000 * tau * w) for w in omega]
        expected += [math.sin(1000 * tau * w) for w in omega]
        assert row == pytest.approx(expected, abs=1e-12)


def test_tau_features_are_float64_until_the_end() -> None:
    """WS-FLOW-5: a float32 model gets the float64 features rounded once."""
    tau = torch.tensor([1.0, 2 / 3, 1 / 3], dtype=samples.F64)
    module = samples.model_of(samples.SMALL, torch.float32).tau_embedding
    features = flow.tau_features(tau, samples.SMALL.tau_dim).float()
    hidden = torch.nn.functional.silu(module.in_proj(features))
    assert torch.equal(module(tau), module.out_proj(hidden))


def test_tau_embedding_is_two_layers_with_bias() -> None:
    """WS-FLOW-5: W_2 silu(W_1 f + b_1) + b_2, by hand."""
    module = samples.model_of(samples.SMALL).tau_embedding
    f = flow.tau_features(torch.tensor([0.25, 1.0], dtype=samples.F64), samples.SMALL.tau_dim)
    a = f @ module.in_proj.weight.T + module.in_proj.bias
    expected = a / (1 + torch.exp(-a)) @ module.out_proj.weight.T + module.out_proj.bias
    tau = torch.tensor([0.25, 1.0], dtype=samples.F64)
    torch.testing.assert_close(module(tau), expected, rtol=1e-12, atol=1e-12)
