"""The posterior of a codec and the one place where latents are normalised.

The model and the session see normalised latents only; both the offline and the streaming path of
a codec go through these two functions (WS-CODEC-11). Source: design §6 (CHOICE).
"""

from __future__ import annotations

from typing import Final

import attrs
import torch
from jaxtyping import Float
from torch import Tensor, nn

LOG_VARIANCE_RANGE: Final = (-30.0, 20.0)
"""The encoder's own log-variance is clamped to this before normalisation (WS-CODEC-10)."""


@attrs.frozen(kw_only=True, eq=False)
class Posterior:
    """q(z | x) of a codec: an independent Gaussian for each element (WS-CODEC-10)."""

    mean: Float[Tensor, "b c t *grid"]
    log_variance: Float[Tensor, "b c t *grid"]


def posterior_from_moments(moments: Float[Tensor, "b two_c t *grid"]) -> Posterior:
    """First half of the channels: mean; second half: log-variance, clamped (WS-CODEC-10)."""
    mean, log_variance = moments.chunk(2, dim=1)
    return Posterior(mean=mean, log_variance=log_variance.clamp(*LOG_VARIANCE_RANGE))


class LatentNorm(nn.Module):
    """Per-channel statistics of the raw latents; constants, not trained (WS-CODEC-11)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.latent_mean = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.latent_std = nn.Parameter(torch.ones(channels), requires_grad=False)

    def normalise(self, posterior: Posterior) -> Posterior:
        """mean' = (mean - μ_c) / σ_c, log_variance' = log_variance - 2 log σ_c (WS-CODEC-11)."""
        mu, sigma = self._per_channel(posterior.mean)
        return Posterior(
            mean=(posterior.mean - mu) / sigma,
            log_variance=posterior.log_variance - 2 * sigma.log(),
        )

    def denormalise(self, z: Float[Tensor, "b c t *grid"]) -> Float[Tensor, "b c t *grid"]:
        """z · σ_c + μ_c, what the decoder reads (WS-CODEC-11)."""
        mu, sigma = self._per_channel(z)
        return z * sigma + mu

    def _per_channel(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (like.ndim - 2))
        return self.latent_mean.reshape(shape), self.latent_std.reshape(shape)
