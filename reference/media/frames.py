"""User video: which source frame a 40 ms tick shows, and how it is fitted into the frame.

Source: CHOICE (WS-MEDIA-3, WS-MEDIA-4, WS-MEDIA-5); the 25 fps grid is PAPER §3.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, TypeVar

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from einops import rearrange
from jaxtyping import Float32, UInt8
from torch import Tensor

from reference.media.source import Timed
from spec import clock

T = TypeVar("T")

# The option flags make swscale's result the same on every machine.
SCALING: Final = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


def midpoint_ns(tick: int) -> int:
    """40 n + 20 ms: the instant at which tick ``n`` looks at the source (WS-MEDIA-3)."""
    return tick * clock.TICK_NS + clock.TICK_NS // 2


def hold(frames: Iterator[Timed[T]]) -> Iterator[T | None]:
    """For each tick of the clip, the last frame whose time is ≤ the tick's midpoint (WS-MEDIA-3).

    Nothing later than the midpoint is used, and the tick itself ends 20 ms after it. None stands
    for "no frame yet". Ticks end with the first whose midpoint is not before the end of the last
    frame. A frame with an earlier time than one already read is left out.

    Args:
        frames: source frames, times counted from the clip's time zero.
    """
    shown: T | None = None
    newest = end = 0
    tick = 0
    for frame in frames:
        if frame.start_ns < newest:
            continue
        while midpoint_ns(tick) < frame.start_ns:
            yield shown
            tick += 1
        shown, newest, end = frame.data, frame.start_ns, frame.end_ns
    while midpoint_ns(tick) < end:
        yield shown
        tick += 1


def fitted_size(
    width: int, height: int, aspect: Fraction, frame_width: int, frame_height: int
) -> tuple[int, int]:
    """(width, height) of the picture inside the frame, keeping its display aspect (WS-MEDIA-4).

    Args:
        width, height: pixels of the upright source picture.
        aspect: width of a pixel over its height, in the same orientation.
        frame_width, frame_height: the frame of the preset.
    """
    shape = aspect * width / height
    if shape * frame_height >= frame_width:
        return frame_width, max(1, _nearest(frame_width / shape))
    return max(1, _nearest(frame_height * shape)), frame_height


def _nearest(value: Fraction) -> int:
    """To the nearest integer, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def fit(
    frame: VideoFrame, aspect: Fraction, frame_height: int, frame_width: int
) -> UInt8[np.ndarray, "frame_height frame_width 3"]:
    """The frame turned upright, scaled and letterboxed on black, 8-bit RGB (WS-MEDIA-4).

    Args:
        frame: a decoded frame; its rotation is taken to the nearest quarter turn.
        aspect: the stream's sample aspect ratio.
        frame_height, frame_width: the frame of the preset, in pixels.
    """
    turns = round(frame.rotation / 90) % 4
    upright = (frame.width, frame.height, aspect)
    if turns % 2:
        upright = (frame.height, frame.width, 1 / aspect)
    width, height = fitted_size(*upright, frame_width, frame_height)
    scaled = frame.reformat(
        width=height if turns % 2 else width,
        height=width if turns % 2 else height,
        format="rgb24",
        interpolation=SCALING,
        threads=1,
    )
    picture = np.rot90(scaled.to_ndarray(), turns)
    top, left = (frame_height - height) // 2, (frame_width - width) // 2
    boxed = np.zeros((frame_height, frame_width, 3), np.uint8)
    boxed[top : top + height, left : left + width] = picture
    return boxed


def to_signal(
    pictures: UInt8[np.ndarray, "ticks height width 3"],
) -> Float32[Tensor, "ticks 3 height width"]:
    """x / 127.5 - 1 in float32: black is -1, white is 1 (WS-MEDIA-5)."""
    channels_first = rearrange(torch.from_numpy(pictures), "n h w c -> n c h w")
    return channels_first.float() / 127.5 - 1.0
