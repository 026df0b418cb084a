"""The codecs' training objective against closed forms and public libraries."""

from __future__ import annotations

import attrs
import pytest
import torch
import torchaudio
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as public_kl

from reference import recipe, vae_objective
from reference.audio_codec import AudioCodec
from reference.latent_norm import Posterior
from reference.vae_objective import TermWeights
from reference.video_codec import VideoCodec
from spec.presets import TINY

PLAIN = TermWeights(reconstruction=1.0, kl=0.0, spectral=0.0, perceptual=0.0)


def numbers(name: str, *shape: int) -> Tensor:
    """Unit Gaussian numbers of the recipe, float64."""
    return recipe.noise(7, 0, name, shape, torch.float64)


def posterior() -> Posterior:
    return Posterior(mean=numbers("mean", 2, 3, 4), log_variance=numbers("log", 2, 3, 4))


def test_kl_is_that_of_the_public_library() -> None:
    """WS-CODEC-16: against torch.distributions, and 0 for the prior itself."""
    q = posterior()
    expected = public_kl(Normal(q.mean, (0.5 * q.log_variance).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(vae_objective.kl_divergence(q), expected, rtol=1e-12, atol=0)
    prior = Posterior(mean=torch.zeros(1, 1, 1), log_variance=torch.zeros(1, 1, 1))
    assert vae_objective.kl_divergence(prior) == 0


def test_a_sample_has_the_moments_of_the_posterior() -> None:
    """WS-CODEC-15: μ + σ ε; no noise gives the mean."""
    q = posterior()
    assert torch.equal(vae_objective.sample(q, torch.zeros_like(q.mean)), q.mean)
    eps = numbers("eps", 2, 3, 4)
    back = (vae_objective.sample(q, eps) - q.mean) / (0.5 * q.log_variance).exp()
    torch.testing.assert_close(back, eps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("window", [64, 256])
def test_magnitudes_are_those_of_the_public_library(window: int) -> None:
    """WS-CODEC-17: torchaudio's spectrogram of power 1, without padding."""
    x = numbers("wave", 2, 960)
    public = torchaudio.transforms.Spectrogram(
        n_fft=window,
        hop_length=window // 4,
        power=1.0,
        center=False,
        window_fn=lambda n: torch.hann_window(n, dtype=torch.float64),
    )
    expected = public(x).transpose(-1, -2)
    torch.testing.assert_close(
        vae_objective.magnitudes(x, window), expected, rtol=1e-12, atol=1e-12
    )


def test_spectral_distance_of_a_gain_is_its_logarithm() -> None:
    """WS-CODEC-17: e times as loud is at distance 1, at every resolution."""
    x = numbers("wave", 1, 960)
    distance = vae_objective.spectral_distance(x, torch.e * x, (64, 256))
    assert float(distance) == pytest.approx(1.0, rel=1e-12)


def test_perceptual_distance_is_over_maps() -> None:
    """WS-CODEC-18: each map has the same weight, whatever its size."""

    def features(x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x[:, :1]

    x, y = torch.full((1, 4), 2.0), torch.full((1, 4), 3.0)
    assert float(vae_objective.perceptual_distance(features, x, y)) == (1 + 4) / 2


def test_the_objective_is_the_weighted_sum() -> None:
    """WS-CODEC-15: term by term, and a term without weight is not evaluated."""
    q, x = posterior(), numbers("wave", 1, 960)
    x_hat = x + 0.25
    kl = attrs.evolve(PLAIN, reconstruction=2.0, kl=3.0)
    expected = 2.0 * 0.25 + 3.0 * vae_objective.kl_divergence(q)
    torch.testing.assert_close(vae_objective.objective(q, x, x_hat, kl), expected)
    spectral = attrs.evolve(PLAIN, spectral=0.5)
    expected = 0.25 + 0.5 * vae_objective.spectral_distance(x, x_hat, (64,))
    torch.testing.assert_close(
        vae_objective.objective(q, x, x_hat, spectral, windows=(64,)), expected
    )


def trained(codec: AudioCodec | VideoCodec, x: Tensor, weights: TermWeights) -> list[float]:
    """Losses of a few steps on one clip, evaluated at the posterior's mean."""
    recipe.fill(codec)
    optimizer = torch.optim.Adam([p for p in codec.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(20):
        q = codec.encode_whole(x)
        x_hat = codec.decode_whole(vae_objective.sample(q, torch.zeros_like(q.mean)))
        loss = vae_objective.objective(q, x, x_hat, weights, windows=(256,))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return losses


def test_an_audio_codec_learns_a_clip() -> None:
    """WS-CODEC-15: every term lets gradients through to both halves."""
    t = torch.arange(3840) / 24_000
    weights = TermWeights(reconstruction=1.0, kl=1e-3, spectral=0.1, perceptual=0.0)
    losses = trained(AudioCodec(TINY), torch.sin(2 * torch.pi * 440 * t)[None], weights)
    assert losses[-1] < 0.9 * losses[0]


def test_a_video_codec_learns_a_clip() -> None:
    """WS-CODEC-15: the same objective, without the spectral term."""
    ramp = torch.linspace(-1, 1, TINY.frame_width).expand(1, 3, 4, TINY.frame_height, -1)
    losses = trained(VideoCodec(TINY), ramp, attrs.evolve(PLAIN, kl=1e-3))
    assert losses[-1] < 0.9 * losses[0]
