"""Causal log-mel spectrogram of the user's audio, 16 kHz.

    frame i:  p = |rfft(hann · x[(i+1) hop - window … (i+1) hop - 1])|²
              (log10(max(mel · p, 1e-10)) + 4) / 4

The right edge of a frame is its own end: no look-ahead and no centring. x is zero before unit 0.
Source: CHOICE; the paper names causal encoders (§1) and no front end.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from spec import clock
from spec.errors import TensorError
from spec.sizes import Encoders

POWER_FLOOR: Final = 1e-10
"""Silence: its logarithm is -10, its feature -1.5 (WS-ENCODER-5)."""


def mel_state(batch: int, sizes: Encoders, dtype: torch.dtype) -> Float[Tensor, "b context"]:
    """window - hop zero samples, what stands before unit 0 (WS-ENCODER-2)."""
    return torch.zeros(batch, sizes.mel_window - sizes.mel_hop, dtype=dtype)


def log_mel(
    x: Float[Tensor, "b samples"], state: Float[Tensor, "b context"], sizes: Encoders
) -> tuple[Float[Tensor, "b mels frames"], Float[Tensor, "b context"]]:
    """Scaled log-mel frames of a chunk, and the samples the next chunk needs (WS-ENCODER-2).

    Raises:
        TensorError: the chunk is not a positive whole number of hops.
    """
    samples = x.shape[1]
    if samples == 0 or samples % sizes.mel_hop:
        raise TensorError("samples of a chunk", samples, f"a positive multiple of {sizes.mel_hop}")
    x = torch.cat([state, x], dim=1)
    context = sizes.mel_window - sizes.mel_hop
    last = x.narrow(1, x.shape[1] - context, context).clone()
    windows = x.unfold(1, sizes.mel_window, sizes.mel_hop)
    return scaled_log_mel(windows, sizes), last


def log_mel_whole(x: Float[Tensor, "b samples"], sizes: Encoders) -> Float[Tensor, "b mels frames"]:
    """Offline form: the clip from unit 0 on, each frame cut out by itself (WS-ENCODER-8)."""
    frames = []
    for end in range(sizes.mel_hop, x.shape[1] + 1, sizes.mel_hop):
        heard = x[:, max(0, end - sizes.mel_window) : end]
        silence = x.new_zeros(x.shape[0], sizes.mel_window - heard.shape[1])
        frames.append(torch.cat([silence, heard], dim=1))
    return scaled_log_mel(torch.stack(frames, dim=1), sizes)


def scaled_log_mel(
    windows: Float[Tensor, "b frames window"], sizes: Encoders
) -> Float[Tensor, "b mels frames"]:
    """(log10(max(mel · |rfft(hann · x)|², 1e-10)) + 4) / 4 (WS-ENCODER-3, WS-ENCODER-5).

    In float32 at least: a power of 1e-10 is zero in float16.
    """
    wide = windows if windows.dtype == torch.float64 else windows.float()
    spectrum = torch.fft.rfft(wide * hann(sizes.mel_window, wide.dtype), dim=2)
    power = spectrum.real.square() + spectrum.imag.square()
    filters = mel_filters(sizes.n_mels, sizes.mel_window, wide.dtype)
    mel = torch.einsum("bfk,mk->bmf", power, filters)
    return ((mel.clamp(min=POWER_FLOOR).log10() + 4) / 4).to(windows.dtype)


@cache
def hann(window: int, dtype: torch.dtype) -> Float[Tensor, "window"]:
    """Periodic Hann window: 0.5 - 0.5 cos(2π n / N), rounded once to ``dtype`` (WS-ENCODER-3)."""
    n = torch.arange(window, dtype=torch.float64)
    return (0.5 - 0.5 * torch.cos(2 * math.pi * n / window)).to(dtype)


@cache
def mel_filters(n_mels: int, window: int, dtype: torch.dtype) -> Float[Tensor, "mels bins"]:
    """HTK triangles from 0 Hz to half the rate, peak 1, rounded once to ``dtype`` (WS-ENCODER-4).

    Edges are n_mels + 2 points equally spaced in mel(f) = 2595 log10(1 + f / 700); filter m rises
    from edge m to m + 1 and falls to m + 2.
    """
    top = 2595 * math.log10(1 + clock.USER_AUDIO_HZ / 2 / 700)
    mels = torch.linspace(0, top, n_mels + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = torch.arange(window // 2 + 1, dtype=torch.float64) * clock.USER_AUDIO_HZ / window
    low, peak, high = (edges[i : i + n_mels, None] for i in range(3))
    rising = (bins - low) / (peak - low)
    falling = (high - bins) / (high - peak)
    return torch.minimum(rising, falling).clamp(min=0).to(dtype)
