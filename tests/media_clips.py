"""Clips made for the media tests: lossless by default, every property chosen by the test."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float64, UInt8

BLOCK = 1_000


def grey(count: int, *, height: int = 32, width: int = 48) -> UInt8[np.ndarray, "n h w 3"]:
    """Frame i is flat, of value i + 1, so that a shown picture tells its number; 0 is black."""
    values = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (count, height, width, 3)).copy()


def noise(channels: int, count: int, seed: int = 0) -> Float64[np.ndarray, "channels n"]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, count))


def write_clip(
    path: Path,
    *,
    pictures: UInt8[np.ndarray, "n h w 3"] | None = None,
    fps: Fraction = Fraction(25),
    times_ms: Sequence[int] | None = None,
    video_codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    pixel_aspect: Fraction | None = None,
    rotation: int | None = None,
    sound: Float64[np.ndarray, "channels n"] | None = None,
    rate: int = 16_000,
    audio_codec: str = "pcm_f32le",
    layout: str = "mono",
    sound_starts_ms: Sequence[int] = (0,),
) -> Path:
    """Write a clip; the container follows from the suffix.

    ``times_ms`` replaces the frames' own times. ``sound_starts_ms`` places equal parts of the
    sound at these times, so gaps and overlaps can be made.
    """
    with av.open(str(path), "w") as container:
        video = audio = None
        if pictures is not None:
            video = container.add_stream(video_codec, rate=fps)
            assert isinstance(video, VideoStream)
            video.height, video.width, video.pix_fmt = *pictures.shape[1:3], pix_fmt
            if times_ms is not None:
                video.codec_context.time_base = Fraction(1, 1_000)
            if pixel_aspect is not None:
                video.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation is not None:
                video.set_display_rotation(rotation)
        if sound is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
            assert isinstance(audio, AudioStream)
        if isinstance(video, VideoStream) and pictures is not None:
            _encode_pictures(container, video, pictures, fps, times_ms)
        if isinstance(audio, AudioStream) and sound is not None:
            _encode_sound(container, audio, sound, rate, layout, sound_starts_ms)
    return path


def _encode_pictures(
    container: OutputContainer,
    stream: VideoStream,
    pictures: UInt8[np.ndarray, "n h w 3"],
    fps: Fraction,
    times_ms: Sequence[int] | None,
) -> None:
    for i, picture in enumerate(pictures):
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = i if times_ms is None else times_ms[i]
        frame.time_base = 1 / fps if times_ms is None else Fraction(1, 1_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _encode_sound(
    container: OutputContainer,
    stream: AudioStream,
    sound: Float64[np.ndarray, "channels n"],
    rate: int,
    layout: str,
    starts_ms: Sequence[int],
) -> None:
    fmt = stream.codec_context.format.name
    bits = {"s16": 16, "s32": 32}.get(fmt.removesuffix("p"))
    borders = [len(sound[0]) * i // len(starts_ms) for i in range(len(starts_ms) + 1)]
    for (left, right), start in zip(pairwise(borders), starts_ms, strict=True):
        for at in range(left, right, BLOCK):
            part = sound[:, at : min(at + BLOCK, right)]
            raw = part if bits is None else np.round(part * (2 ** (bits - 1) - 1))
            typed = raw.astype(np.float32 if bits is None else f"i{bits // 8}")
            packed = typed if fmt.endswith("p") else typed.T.reshape(1, -1)
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(packed), fmt, layout)
            frame.sample_rate = rate
            frame.pts = start * rate // 1_000 + at - left
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
