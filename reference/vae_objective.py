"""What a codec is trained for: reconstruct, stay near a unit Gaussian, and sound or look alike.

Each term is an average over elements, so weights mean the same for every size of clip. Randomness
enters as a tensor, as everywhere.
Source: PAPER §1, §2.3 (causal VAEs give the latent spaces); the terms are CHOICE, those of Kingma
and Welling 2013 and of public neural codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import torch
from jaxtyping import Float
from torch import Tensor

from reference.latent_norm import Posterior

Features = Callable[[Tensor], Sequence[Tensor]]
"""A fixed network's feature maps of a signal, for `perceptual_distance`."""

LOG_FLOOR = 1e-5
"""Magnitudes below this count as this, about -100 dB of full scale (WS-CODEC-17)."""


@attrs.frozen(kw_only=True)
class TermWeights:
    """Weight of each term; 0 leaves a term out (WS-CODEC-15)."""

    reconstruction: float
    kl: float
    spectral: float
    perceptual: float


def sample(posterior: Posterior, eps: Float[Tensor, "b c t *grid"]) -> Float[Tensor, "b c t *grid"]:
    """z = μ + σ ε with ε ~ N(0, I): differentiable in μ and σ (WS-CODEC-15)."""
    return posterior.mean + torch.exp(0.5 * posterior.log_variance) * eps


def reconstruction_error(
    x: Float[Tensor, "b *signal"], x_hat: Float[Tensor, "b *signal"]
) -> Float[Tensor, ""]:
    """mean |x̂ - x|: the log-likelihood of a Laplace decoder, up to a constant (WS-CODEC-15)."""
    return (x_hat - x).abs().mean()


def kl_divergence(posterior: Posterior) -> Float[Tensor, ""]:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ (μ² + σ² - 1 - ln σ²), averaged over elements (WS-CODEC-16)."""
    mu, log_var = posterior.mean, posterior.log_variance
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).mean()


def magnitudes(x: Float[Tensor, "b samples"], window: int) -> Float[Tensor, "b frames bins"]:
    """|STFT| with a periodic Hann window, hop a quarter of it, no padding (WS-CODEC-17)."""
    frames = x.unfold(-1, window, window // 4)
    hann = torch.hann_window(window, dtype=x.dtype)
    spectrum: Tensor = torch.fft.rfft(frames * hann)
    return spectrum.abs()


def spectral_distance(
    x: Float[Tensor, "b samples"], x_hat: Float[Tensor, "b samples"], windows: Sequence[int]
) -> Float[Tensor, ""]:
    """mean |ln M(x̂) - ln M(x)| over frames and bins, averaged over window lengths (WS-CODEC-17).

    Args:
        windows: lengths in samples, each at most the signal's.
    """
    distances = [
        (
            magnitudes(x_hat, window).clamp_min(LOG_FLOOR).log()
            - magnitudes(x, window).clamp_min(LOG_FLOOR).log()
        )
        .abs()
        .mean()
        for window in windows
    ]
    return torch.stack(distances).mean()


def perceptual_distance(
    features: Features, x: Float[Tensor, "b *signal"], x_hat: Float[Tensor, "b *signal"]
) -> Float[Tensor, ""]:
    """Mean squared distance of a fixed network's features, averaged over its maps (WS-CODEC-18).

    The network is the caller's: none is part of this project.
    """
    pairs = zip(features(x), features(x_hat), strict=True)
    return torch.stack([(b - a).square().mean() for a, b in pairs]).mean()


def objective(
    posterior: Posterior,
    x: Float[Tensor, "b *signal"],
    x_hat: Float[Tensor, "b *signal"],
    weights: TermWeights,
    *,
    windows: Sequence[int] = (),
    features: Features | None = None,
) -> Float[Tensor, ""]:
    """The weighted sum of the terms that have a weight (WS-CODEC-15).

    Args:
        posterior: of the codec, for ``x``.
        x_hat: decoded from a `sample` of it.
        windows: for the spectral term, which needs a waveform [b, samples].
        features: for the perceptual term.
    """
    total = weights.reconstruction * reconstruction_error(x, x_hat)
    total = total + weights.kl * kl_divergence(posterior)
    if weights.spectral:
        total = total + weights.spectral * spectral_distance(x, x_hat, windows)
    if weights.perceptual:
        assert features is not None
        total = total + weights.perceptual * perceptual_distance(features, x, x_hat)
    return total
