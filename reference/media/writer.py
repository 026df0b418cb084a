"""Agent audio and video become an MP4 file, aligned to the sample, whole or not at all.

Source: CHOICE (WS-MEDIA-13, WS-MEDIA-14, WS-MEDIA-15); 25 fps is PAPER §3.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from einops import rearrange
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from reference.media.frames import SCALING
from reference.media.source import MAX_SIDE
from spec import clock
from spec.errors import MediaError, TensorError

# One thread, so that the same input gives the same bytes. Without B-frames no picture waits for a
# later one, and a player that ignores edit lists still starts the video at 0.
X264_OPTIONS: Final = {"preset": "medium", "crf": "18", "bf": "0", "threads": "1"}
AAC_BITS_PER_SECOND: Final = 96_000


def to_pixels(
    video: Float[Tensor, "frames 3 height width"],
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Clip to [-1, 1], then round((x + 1) 127.5) with ties to even, in float64 (WS-MEDIA-14)."""
    _require_finite("agent video", video)
    scaled = torch.round((video.detach().double().clamp(-1.0, 1.0) + 1.0) * 127.5)
    pixels: UInt8[np.ndarray, "frames height width 3"] = (
        rearrange(scaled, "n c h w -> n h w c").to(torch.uint8).contiguous().cpu().numpy()
    )
    return pixels


def to_samples(audio: Float[Tensor, "samples"]) -> Float32[np.ndarray, "1 samples"]:
    """Clip to [-1, 1], in float32: what the AAC encoder is given (WS-MEDIA-14)."""
    _require_finite("agent audio", audio)
    samples: Float32[np.ndarray, "1 samples"] = (
        audio.detach().clamp(-1.0, 1.0).float().cpu().numpy()[None]
    )
    return samples


def _require_finite(what: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise TensorError(what, "NaN or Inf", "finite values")


class ClipWriter:
    """Writes one MP4 file unit by unit: H.264 at 25 fps, AAC mono at 24 kHz (WS-MEDIA-13).

    A context manager. All is written to a temporary file in the same folder, which takes the
    place of ``path`` only after a success; otherwise it is removed and a file that was at
    ``path`` stays as it was (WS-MEDIA-15).

    Args:
        path: the file to write; its name ends in ``.mp4``.
        height, width: size of the agent's frames in pixels, both even.
        audio, video: which of the two the file holds; at least one.

    Raises:
        MediaError: the path or the size cannot be used, before any work is done.
    """

    def __init__(self, path: Path, *, height: int, width: int, audio: bool, video: bool) -> None:
        self._path = path
        _check_target(path)
        if video:
            _check_even(path, height, width)
        if not (audio or video):
            raise MediaError(f"output {path}", "neither audio nor video", "at least one of them")
        self._temporary = path.with_name(f".wanstreamer-{secrets.token_hex(4)}.part")
        self._units = 0
        try:
            self._temporary.touch(exist_ok=False)
        except OSError as error:
            raise MediaError(f"output {path}", error.strerror, "a writable folder") from None
        try:
            with self._libav_errors():
                self._container: OutputContainer = av.open(
                    f"file:{self._temporary}",
                    mode="w",
                    format="mp4",
                    options={"movflags": "+faststart"},
                )
                self._video = self._add_video(height, width) if video else None
                self._audio = self._add_audio() if audio else None
        except BaseException:
            self._discard()
            raise

    def _add_video(self, height: int, width: int) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=clock.FPS, options=X264_OPTIONS)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = Colorspace.SMPTE170M
        context.color_primaries = ColorPrimaries.SMPTE170M
        context.color_trc = ColorTrc.SMPTE170M
        context.color_range = ColorRange.MPEG
        return stream

    def _add_audio(self) -> AudioStream:
        stream = self._container.add_stream("aac", rate=clock.AGENT_AUDIO_HZ, layout="mono")
        stream.bit_rate = AAC_BITS_PER_SECOND
        return stream

    def write(
        self,
        video: Float[Tensor, "4 3 height width"] | None,
        audio: Float[Tensor, "3840"] | None,
    ) -> None:
        """Append one unit; None for what the file does not hold (WS-MEDIA-13).

        Raises:
            TensorError: NaN or Inf.
            MediaError: the disk is full or gone.
        """
        assert (video is None) == (self._video is None)
        assert (audio is None) == (self._audio is None)
        with self._libav_errors():
            if video is not None:
                self._write_video(to_pixels(video))
            if audio is not None:
                self._write_audio(to_samples(audio))
        self._units += 1

    def _write_video(self, pixels: UInt8[np.ndarray, "4 height width 3"]) -> None:
        assert self._video is not None
        for i, picture in enumerate(pixels):
            rgb = VideoFrame.from_ndarray(picture, format="rgb24")
            frame = rgb.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.SMPTE170M,
                dst_color_range=ColorRange.MPEG,
                interpolation=SCALING,
                threads=1,
            )
            frame.pts = self._units * clock.FRAMES_PER_UNIT + i
            frame.time_base = Fraction(1, clock.FPS)
            self._container.mux(self._video.encode(frame))

    def _write_audio(self, samples: Float32[np.ndarray, "1 3840"]) -> None:
        assert self._audio is not None
        frame = AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = clock.AGENT_AUDIO_HZ
        frame.pts = self._units * clock.AGENT_SAMPLES_PER_UNIT
        frame.time_base = Fraction(1, clock.AGENT_AUDIO_HZ)
        self._container.mux(self._audio.encode(frame))

    def __enter__(self) -> ClipWriter:  # noqa: PYI034 - shape checks in tests refuse Self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        """Flush the encoders, close the file, put it in place (WS-MEDIA-15)."""
        if self._units == 0:
            raise MediaError(f"output {self._path}", "no unit", "at least one unit")
        with self._libav_errors():
            for stream in (self._video, self._audio):
                if stream is not None:
                    self._container.mux(stream.encode(None))
            self._container.close()
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            raise MediaError(f"output {self._path}", error.strerror, "a path to write") from None

    def _discard(self) -> None:
        """Remove the temporary file, if it is still there (WS-MEDIA-15)."""
        # Closing a file that broke may fail again; the first error is the one to show.
        with suppress(av.FFmpegError, AttributeError):
            self._container.close()
        self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _libav_errors(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise MediaError(f"output {self._path}", error.strerror, "a place to write") from None


def _check_target(path: Path) -> None:
    """The path's own faults, found before any work (WS-MEDIA-15)."""
    what = f"output {path}"
    if path.suffix.lower() != ".mp4":
        raise MediaError(what, path.suffix or "no suffix", ".mp4")
    if path.is_dir():
        raise MediaError(what, "a directory", "a file name")
    if not path.parent.is_dir():
        raise MediaError(what, f"no folder {path.parent}", "a folder that exists")
    if not os.access(path.parent, os.W_OK):
        raise MediaError(what, f"folder {path.parent} is read-only", "a folder to write in")


def _check_even(path: Path, height: int, width: int) -> None:
    """H.264 with 4:2:0 colour needs even sides (WS-MEDIA-13)."""
    for side in (height, width):
        if not 2 <= side <= MAX_SIDE or side % 2:
            raise MediaError(
                f"output {path}", f"{width}x{height} pixels", f"even sides, 2 to {MAX_SIDE}"
            )
