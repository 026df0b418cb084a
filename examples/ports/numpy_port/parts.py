"""The codecs and encoders: what ``codec`` of the port protocol asks for (WS-CONFORMANCE-7).

Every function gives a fresh layer from [channels, time, ...] to the same; `PARTS` adds the axes
that the protocol has instead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from blocks import Array, Conv, Layer, chain, norm, residual, silu, space_to_depth, upsample
from numpy.lib.stride_tricks import sliding_window_view
from presets import PRESETS, Preset
from recipe import weight


def trunk(name: str, dtype: str, widths: tuple[int, ...]) -> Layer:
    """What video codec and video encoder have in common (WS-CODEC-8, WS-ENCODER-7)."""
    c0, c1, c2 = widths
    return chain(
        lambda x: space_to_depth(x, 4),
        Conv(f"{name}.stem", dtype, c0, 48, (1, 3, 3)),
        Conv(f"{name}.down1", dtype, c1, c0, (4, 4, 4), 2),
        residual(f"{name}.residual1", dtype, c1, 3),
        Conv(f"{name}.down2", dtype, c2, c1, (4, 4, 4), 2),
        residual(f"{name}.residual2", dtype, c2, 3),
        norm(f"{name}.norm", dtype, c2),
    )


def statistics(name: str, dtype: str, latents: int, axes: int) -> tuple[Array, Array]:
    """Mean and deviation of each latent channel (WS-CODEC-11)."""
    shape = (latents, *[1] * axes)
    mean = weight(f"{name}.latent_norm.latent_mean", (latents,))
    std = weight(f"{name}.latent_norm.latent_std", (latents,))
    return mean.astype(dtype).reshape(shape), std.astype(dtype).reshape(shape)


def video_encode(p: Preset, dtype: str) -> Layer:
    """Frames to normalised latents; the second half of the head is the log-variance."""
    name = "video_codec.encoder"
    mean, std = statistics("video_codec", dtype, p.video_latents, 3)
    head = Conv(f"{name}.head", dtype, 2 * p.video_latents, p.video_channels[2], (3, 3, 3))
    moments = chain(trunk(name, dtype, p.video_channels), silu, head)
    return lambda x: (moments(x)[: p.video_latents] - mean) / std


def video_decode(p: Preset, dtype: str) -> Layer:
    """Normalised latents to frames."""
    name, (c0, c1, c2) = "video_codec.decoder", p.video_channels
    mean, std = statistics("video_codec", dtype, p.video_latents, 3)
    return chain(
        lambda z: z * std + mean,
        Conv(f"{name}.stem", dtype, c2, p.video_latents, (3, 3, 3)),
        residual(f"{name}.residual2", dtype, c2, 3),
        Conv(f"{name}.up2", dtype, 8 * c1, c2, (3, 3, 3)),
        lambda x: upsample(x, 2, 2),
        residual(f"{name}.residual1", dtype, c1, 3),
        Conv(f"{name}.up1", dtype, 8 * c0, c1, (3, 3, 3)),
        lambda x: upsample(x, 2, 2),
        norm(f"{name}.norm", dtype, c0),
        silu,
        Conv(f"{name}.head", dtype, 48, c0, (3, 3, 3)),
        lambda x: upsample(x, 1, 4),
    )


def audio_encode(p: Preset, dtype: str) -> Layer:
    """A waveform [1, T] to normalised latents (WS-CODEC-9)."""
    name, c, latents = "audio_codec.encoder", p.audio_channels, p.audio_latents
    mean, std = statistics("audio_codec", dtype, latents, 1)
    layers: list[Layer] = [Conv(f"{name}.stem", dtype, c[0], 1, (7,))]
    for i, s in enumerate(p.audio_strides):
        layers.append(Conv(f"{name}.down{i}", dtype, c[i + 1], c[i], (2 * s,), s))
        layers.append(residual(f"{name}.residual{i}", dtype, c[i + 1], 1))
    head = Conv(f"{name}.head", dtype, 2 * latents, c[-1], (3,))
    moments = chain(*layers, norm(f"{name}.norm", dtype, c[-1]), silu, head)
    return lambda x: (moments(x)[:latents] - mean) / std


def audio_decode(p: Preset, dtype: str) -> Layer:
    """Normalised latents to a waveform [1, T]."""
    name, c, strides = "audio_codec.decoder", p.audio_channels, p.audio_strides
    mean, std = statistics("audio_codec", dtype, p.audio_latents, 1)
    layers: list[Layer] = [Conv(f"{name}.stem", dtype, c[-1], p.audio_latents, (3,))]
    for i in reversed(range(len(strides))):
        layers.append(residual(f"{name}.residual{i}", dtype, c[i + 1], 1))
        layers.append(Conv(f"{name}.up{i}", dtype, strides[i] * c[i], c[i + 1], (3,)))
        layers.append(lambda x, s=strides[i]: upsample(x, s))  # type: ignore[misc]
    head = Conv(f"{name}.head", dtype, 1, c[0], (7,))
    return chain(lambda z: z * std + mean, *layers, norm(f"{name}.norm", dtype, c[0]), silu, head)


def log_mel(p: Preset, dtype: str) -> Layer:
    """Samples [1, T] at 16 kHz to [mels, T/hop] (WS-ENCODER-2 to WS-ENCODER-5)."""
    mels, window, hop = p.mels, p.window, p.hop
    n = np.arange(window)
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * n / window)).astype(dtype)
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    bins = np.arange(window // 2 + 1) * 16000 / window
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (mid - low), (high - bins) / (high - mid)
    filters = np.maximum(0, np.minimum(rising, falling)).astype(dtype)
    past = np.zeros((1, window - hop), dtype)

    def call(x: Array) -> Array:
        nonlocal past
        heard = np.concatenate([past, x], axis=1)
        past = heard[:, heard.shape[1] - (window - hop) :]
        frames = sliding_window_view(heard[0], window)[::hop] * hann
        spectrum = np.fft.rfft(frames, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(dtype)
        scaled = (np.log10(np.maximum(filters @ power.T, 1e-10)) + 4) / 4
        return np.asarray(scaled, dtype)

    return call


def hear(p: Preset, dtype: str) -> Layer:
    """The user's samples to one feature vector a tick (WS-ENCODER-6)."""
    name, c, f = "audio_encoder.trunk", p.heard_channels, 640 // p.hop
    return chain(
        log_mel(p, dtype),
        Conv(f"{name}.stem", dtype, c, p.mels, (3,)),
        silu,
        Conv(f"{name}.down", dtype, c, c, (2 * f,), f),
        residual(f"{name}.residual", dtype, c, 1),
        norm(f"{name}.norm", dtype, c),
    )


def see(p: Preset, dtype: str) -> Layer:
    """The user's frames to the tokens of each unit, [features, tokens] (WS-ENCODER-7)."""
    grid, side = trunk("video_encoder.trunk", dtype, p.seen_channels), p.patch

    def call(x: Array) -> Array:
        c, t, h, w = (y := grid(x)).shape
        patches = y.reshape(c, t, h // side, side, w // side, side).transpose(1, 2, 4, 0, 3, 5)
        return patches.reshape(-1, c * side * side).T

    return call


def _time_first(x: Array) -> Array:
    return np.moveaxis(x, 0, 1)


def _mono(x: Array) -> Array:
    return x[None]


Part = tuple[Callable[[Preset, str], Layer], Callable[[Array], Array], int]
PARTS: dict[str, Part] = {
    "video_codec.encode": (video_encode, _time_first, 4),
    "video_codec.decode": (video_decode, _time_first, 1),
    "audio_codec.encode": (audio_encode, _mono, 3840),
    "audio_codec.decode": (audio_decode, _time_first, 4),
    "audio_encoder": (hear, _mono, 2560),
    "video_encoder": (see, _time_first, 4),
}
"""Maker of the layer, what its input needs first, and time steps a unit."""


def run(preset: str, dtype: str, part: str, plan: list[int], data: Array) -> Array:
    """``data`` through ``part`` in chunks of whole units, or in one without a plan."""
    make, turned, per_unit = PARTS[part]
    layer = make(PRESETS[preset], dtype)
    ends = [per_unit * sum(plan[: i + 1]) for i in range(len(plan) - 1)]
    chunks = [layer(turned(chunk)) for chunk in np.split(data, ends)]
    whole = np.concatenate(chunks, axis=1)
    return np.ascontiguousarray(whole[0] if part == "audio_codec.decode" else _time_first(whole))
