"""The convolutions of codecs and encoders, counted: weights, FLOPs and bytes of one unit.

The chains are those of WS-CODEC-7, WS-CODEC-8, WS-CODEC-9, WS-ENCODER-6 and WS-ENCODER-7.
Source: DERIVED from those clauses.
"""

from __future__ import annotations

from math import prod
from typing import Final

import attrs

from spec import clock
from spec.sizes import AudioCodec, Preset

RGB: Final = 3
KERNEL: Final = 3
WAVE_KERNEL: Final = 7
STAGE: Final = 2
"""A video stage halves time, height and width; there are two (WS-CODEC-8)."""
STEM: Final = clock.VIDEO_SPATIAL_STRIDE // STAGE**2


@attrs.frozen
class Conv:
    """One convolution: c_in · c_out · Π kernel weights and c_out biases (WS-CODEC-3).

    ``points_in`` and ``points_out`` are points of time and space in one unit.
    """

    c_in: int
    c_out: int
    kernel: tuple[int, ...]
    points_in: int
    points_out: int

    @property
    def parameters(self) -> int:
        """Weights and biases (WS-COST-1)."""
        return self.c_in * self.c_out * prod(self.kernel) + self.c_out

    @property
    def flops(self) -> int:
        """2 c_in c_out Π kernel for each point that comes out (WS-COST-2)."""
        return 2 * self.c_in * self.c_out * prod(self.kernel) * self.points_out

    @property
    def elements_moved(self) -> int:
        """Weights, input and output, each once (WS-COST-4)."""
        return self.parameters + self.c_in * self.points_in + self.c_out * self.points_out


@attrs.frozen(kw_only=True)
class Stack:
    """A chain of convolutions; ``norm_channels`` are the weights of all its channel norms."""

    convs: tuple[Conv, ...]
    norm_channels: int

    @property
    def parameters(self) -> int:
        """Of the convolutions and the norms (WS-COST-1)."""
        return sum(c.parameters for c in self.convs) + self.norm_channels

    @property
    def flops(self) -> int:
        """FLOPs a unit (WS-COST-2)."""
        return sum(c.flops for c in self.convs)

    @property
    def elements_moved(self) -> int:
        """Elements read and written a unit (WS-COST-4)."""
        return sum(c.elements_moved for c in self.convs)


def residual(channels: int, axes: int, points: int) -> tuple[Conv, Conv]:
    """The two convolutions of a residual block; its two norms are counted by the caller."""
    conv = Conv(channels, channels, (KERNEL,) * axes, points, points)
    return conv, conv


def video_points(preset: Preset) -> tuple[int, int, int]:
    """Points of a unit after the stem and after each stage (WS-CODEC-8)."""
    frames, height, width = clock.FRAMES_PER_UNIT, preset.frame_height, preset.frame_width
    side = STEM
    stem = frames * (height // side) * (width // side)
    return stem, stem // STAGE**3, stem // STAGE**6


def video_down(preset: Preset, channels: tuple[int, int, int]) -> Stack:
    """RGB down to the latent grid (WS-CODEC-8, WS-ENCODER-7)."""
    (c0, c1, c2), (p0, p1, p2) = channels, video_points(preset)
    strided = (2 * STAGE,) * 3
    return Stack(
        convs=(
            Conv(RGB * STEM**2, c0, (1, KERNEL, KERNEL), p0, p0),
            Conv(c0, c1, strided, p0, p1),
            *residual(c1, 3, p1),
            Conv(c1, c2, strided, p1, p2),
            *residual(c2, 3, p2),
        ),
        norm_channels=2 * c1 + 2 * c2 + c2,
    )


def video_encoder(preset: Preset) -> Stack:
    """The user's video encoder (WS-ENCODER-7)."""
    return video_down(preset, preset.encoders.video_channels)


def video_codec_encoder(preset: Preset) -> Stack:
    """The video codec's encoder (WS-CODEC-8)."""
    sizes, down = preset.video_codec, video_down(preset, preset.video_codec.channels)
    points = video_points(preset)[2]
    head = Conv(sizes.channels[2], 2 * sizes.latent_channels, (KERNEL,) * 3, points, points)
    return attrs.evolve(down, convs=(*down.convs, head))


def video_codec_decoder(preset: Preset) -> Stack:
    """The video codec's decoder (WS-CODEC-8)."""
    (c0, c1, c2), (p0, p1, p2) = preset.video_codec.channels, video_points(preset)
    cube = (KERNEL,) * 3
    return Stack(
        convs=(
            Conv(preset.video_codec.latent_channels, c2, cube, p2, p2),
            *residual(c2, 3, p2),
            Conv(c2, STAGE**3 * c1, cube, p2, p2),
            *residual(c1, 3, p1),
            Conv(c1, STAGE**3 * c0, cube, p1, p1),
            Conv(c0, RGB * STEM**2, cube, p0, p0),
        ),
        norm_channels=2 * c2 + 2 * c1 + c0,
    )


def audio_points(sizes: AudioCodec) -> tuple[int, ...]:
    """Points of a unit before the first stride and after each stride (WS-CODEC-9)."""
    points = [clock.AGENT_SAMPLES_PER_UNIT]
    for stride in sizes.strides:
        points.append(points[-1] // stride)
    return tuple(points)


def audio_codec_encoder(sizes: AudioCodec) -> Stack:
    """The audio codec's encoder (WS-CODEC-9)."""
    c, p = sizes.channels, audio_points(sizes)
    convs = [Conv(1, c[0], (WAVE_KERNEL,), p[0], p[0])]
    for i, stride in enumerate(sizes.strides):
        convs.append(Conv(c[i], c[i + 1], (2 * stride,), p[i], p[i + 1]))
        convs.extend(residual(c[i + 1], 1, p[i + 1]))
    convs.append(Conv(c[-1], 2 * sizes.latent_channels, (KERNEL,), p[-1], p[-1]))
    return Stack(convs=tuple(convs), norm_channels=2 * sum(c[1:]) + c[-1])


def audio_codec_decoder(sizes: AudioCodec) -> Stack:
    """The audio codec's decoder (WS-CODEC-9)."""
    c, p = sizes.channels, audio_points(sizes)
    convs = [Conv(sizes.latent_channels, c[-1], (KERNEL,), p[-1], p[-1])]
    for i in reversed(range(len(sizes.strides))):
        convs.extend(residual(c[i + 1], 1, p[i + 1]))
        convs.append(Conv(c[i + 1], sizes.strides[i] * c[i], (KERNEL,), p[i + 1], p[i + 1]))
    convs.append(Conv(c[0], 1, (WAVE_KERNEL,), p[0], p[0]))
    return Stack(convs=tuple(convs), norm_channels=2 * sum(c[1:]) + c[0])


def audio_encoder(preset: Preset) -> Stack:
    """The user's audio encoder after its spectrogram (WS-ENCODER-6)."""
    sizes, ticks = preset.encoders, clock.TICKS_PER_UNIT
    c, frames = sizes.audio_channels, clock.USER_SAMPLES_PER_UNIT // sizes.mel_hop
    return Stack(
        convs=(
            Conv(sizes.n_mels, c, (KERNEL,), frames, frames),
            Conv(c, c, (2 * frames // ticks,), frames, ticks),
            *residual(c, 1, ticks),
        ),
        norm_channels=2 * c + c,
    )
