"""Ports whose codec blocks or audio front end are slightly off."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from conformance.mutants.math_port import wrong
from reference import causal_blocks, latent_norm, log_mel, patches
from reference.causal_conv import TIME, CausalConv, State
from reference.latent_norm import LatentNorm, Posterior

CONVOLVE = CausalConv._convolve  # noqa: SLF001 - mutants replace what is private, too
HANN = log_mel.hann
SCALED = log_mel.scaled_log_mel


def flipped(self: CausalConv, x: Tensor, time_padding: int) -> Tensor:
    """The kernel runs backwards in time."""
    own = self.weight
    self.weight = torch.nn.Parameter(own.flip(2), requires_grad=False)
    try:
        return CONVOLVE(self, x, time_padding)
    finally:
        self.weight = own


def chunk_is_all(self: CausalConv, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The next state is cut from the chunk alone: a chunk shorter than the context loses some."""
    (past,) = state
    y = self._convolve(torch.cat([past, x], dim=TIME), time_padding=0)
    kept = min(self.context, x.shape[TIME])
    last = x.narrow(TIME, x.shape[TIME] - kept, kept)
    silence = x.new_zeros(*x.shape[:2], self.context - kept, *x.shape[3:])
    return y, (torch.cat([silence, last], dim=TIME),)


def edge_at_start(self: CausalConv, x: Tensor) -> Tensor:
    """The first input stands before unit 0 where one-dimensional signals begin."""
    if self.grid or not self.context:
        return self._convolve(x, time_padding=self.context)
    past = x[:, :, :1].expand(-1, -1, self.context)
    return self._convolve(torch.cat([past, x], dim=TIME), time_padding=0)


def channel_slowest(self: causal_blocks.DepthToVolume, x: Tensor) -> Tensor:
    """Pixels of one channel lie together, as in the shuffle of public libraries."""
    return rearrange(
        x, "b (c s p q) t h w -> b c (t s) (h p) (w q)", s=self.time, p=self.side, q=self.side
    ).contiguous()


def norm_of_frame(self: causal_blocks.ChannelNorm, x: Tensor) -> Tensor:
    """Statistics over channels and time."""
    mean_square = x.square().mean(dim=(1, 2), keepdim=True)
    weight = self.weight.reshape(-1, *[1] * (x.ndim - 2))
    return x * torch.rsqrt(mean_square + causal_blocks.NORM_EPS) * weight


def hard_swish(_: causal_blocks.SiLU, x: Tensor) -> Tensor:
    return F.hardswish(x)


def without_clamp(moments: Tensor) -> Posterior:
    mean, log_variance = moments.chunk(2, dim=1)
    return Posterior(mean=mean, log_variance=log_variance)


def mean_clamped_too(moments: Tensor) -> Posterior:
    mean, log_variance = moments.clamp(-30, 20).chunk(2, dim=1)
    return Posterior(mean=mean, log_variance=log_variance)


def deviation_for_variance(self: LatentNorm, posterior: Posterior) -> Posterior:
    """The log-variance is moved by ln σ, not by 2 ln σ."""
    mu, sigma = self._per_channel(posterior.mean)
    return Posterior(
        mean=(posterior.mean - mu) / sigma, log_variance=posterior.log_variance - sigma.log()
    )


def columns_before_rows(z: Tensor, patch: int) -> Tensor:
    return rearrange(z, "... c (r p) (s q) -> ... (r s) (c q p)", p=patch, q=patch)


def hann_symmetric(window: int, dtype: torch.dtype) -> Tensor:
    n = torch.arange(window, dtype=torch.float64)
    return (0.5 - 0.5 * torch.cos(2 * math.pi * n / max(window - 1, 1))).to(dtype)


def amplitude(windows: Tensor, sizes: Any) -> Tensor:
    """Magnitudes instead of power."""
    spectrum = torch.fft.rfft(windows * HANN(sizes.mel_window, windows.dtype), dim=2).abs()
    filters = log_mel.mel_filters(sizes.n_mels, sizes.mel_window, windows.dtype)
    mel = torch.einsum("bfk,mk->bmf", spectrum, filters)
    return (mel.clamp(min=1e-10).log10() + 4) / 4


def area_normed(n_mels: int, window: int, dtype: torch.dtype) -> Tensor:
    """Every filter adds up to one."""
    filters = FILTERS(n_mels, window, torch.float64)
    return (filters / filters.sum(dim=1, keepdim=True).clamp(min=1e-9)).to(dtype)


FILTERS = log_mel.mel_filters


def begins_with_its_hop(x: Tensor, sizes: Any) -> Tensor:
    """Frames begin where they should end: the future is heard."""
    ahead = F.pad(x, (0, sizes.mel_window - sizes.mel_hop))
    return SCALED(ahead.unfold(1, sizes.mel_window, sizes.mel_hop), sizes)


MUTANTS: Final = (
    wrong("kernel-flipped", "WS-CODEC-3", "convolution runs backwards in time",
          (CausalConv, "_convolve", flipped)),
    wrong("start-repeated", "WS-CODEC-4", "the first input stands before unit 0",
          (CausalConv, "whole", edge_at_start)),
    wrong("short-chunk-forgets", "WS-CODEC-5", "the state is cut from the last chunk alone",
          (CausalConv, "step", chunk_is_all)),
    wrong("shuffle-order", "WS-CODEC-7", "upsampling reads channels in another order",
          (causal_blocks.DepthToVolume, "whole", channel_slowest)),
    wrong("norm-over-time", "WS-CODEC-7", "codec norms mix time",
          (causal_blocks.ChannelNorm, "whole", norm_of_frame)),
    wrong("codec-eps", "WS-CODEC-7", "the norms' eps is 1e-5", (causal_blocks, "NORM_EPS", 1e-5)),
    wrong("silu-hard", "WS-CODEC-7", "a piecewise activation",
          (causal_blocks.SiLU, "whole", hard_swish)),
    wrong("clamp-missing", "WS-CODEC-10", "the log-variance is not clamped",
          (latent_norm, "posterior_from_moments", without_clamp)),
    wrong("mean-clamped", "WS-CODEC-10", "the mean is clamped too",
          (latent_norm, "posterior_from_moments", mean_clamped_too)),
    wrong("log-variance-shift", "WS-CODEC-11", "the log-variance is moved by ln σ",
          (LatentNorm, "normalise", deviation_for_variance)),
    wrong("patch-columns-first", "WS-CODEC-13", "pixels of a patch run down the columns",
          (patches, "patchify", columns_before_rows)),
    wrong("frame-looks-ahead", "WS-ENCODER-2", "frames begin with their hop",
          (log_mel, "log_mel_whole", begins_with_its_hop)),
    wrong("window-symmetric", "WS-ENCODER-3", "the window ends at zero",
          (log_mel, "hann", hann_symmetric)),
    wrong("mel-of-magnitude", "WS-ENCODER-3", "magnitudes instead of power",
          (log_mel, "scaled_log_mel", amplitude)),
    wrong("mel-area-normed", "WS-ENCODER-4", "filters are normalised by area",
          (log_mel, "mel_filters", area_normed)),
    wrong("mel-floor", "WS-ENCODER-5", "the floor is 1e-8", (log_mel, "POWER_FLOOR", 1e-8)),
)  # fmt: skip
