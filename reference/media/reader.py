"""A clip becomes user units, streamed: bounded memory whatever the clip's length.

Source: CHOICE (WS-MEDIA-1, WS-MEDIA-2, WS-MEDIA-12); units are PAPER §2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

import attrs
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from reference.media.audio import UserAudio, gapless, to_mono
from reference.media.frames import fit, hold, midpoint_ns, to_signal
from reference.media.source import (
    MAX_GAP_NS,
    Kind,
    Source,
    Timed,
    check_rate,
    check_readable,
    libav_errors,
)
from reference.units import UserUnit
from spec import clock
from spec.errors import MediaError

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Opening:
    """What the first unit of a stream tells about it.

    ``start_ns`` is its first time stamp; ``end_ns`` is the stream's end if that comes before one
    unit has passed, else some time past it; ``rate`` is the sample rate (0 for video).
    """

    start_ns: int
    end_ns: int
    rate: int


def look_at(path: Path, kind: Kind) -> Opening | None:
    """Decode the first unit of a stream and close it again (WS-MEDIA-1).

    None when the clip has no such stream or the stream is empty.
    """
    with Source(path, kind) as source:
        if source.stream is None:
            return None
        opening: Opening | None = None
        for frame in source.frames():
            opening = Opening(
                start_ns=frame.start_ns if opening is None else opening.start_ns,
                end_ns=frame.end_ns if opening is None else max(opening.end_ns, frame.end_ns),
                rate=frame.data.sample_rate if isinstance(frame.data, AudioFrame) else 0,
            )
            if opening.end_ns - opening.start_ns >= clock.UNIT_NS:
                break
        return opening


def open_clip(
    path: Path, *, frame_height: int, frame_width: int, audio: bool = True, video: bool = True
) -> Clip:
    """Open the clip at ``path`` for reading units (WS-MEDIA-1).

    Args:
        path: any file that libav decodes.
        frame_height, frame_width: the preset's frame, in pixels.
        audio, video: which streams the session wants.

    Raises:
        MediaError: not a readable clip, no stream that was asked for, or shorter than a unit
            (WS-MEDIA-10).
    """
    check_readable(path)
    heard = look_at(path, "audio") if audio else None
    seen = look_at(path, "video") if video else None
    if heard is None and seen is None:
        asked = [kind for kind, wanted in (("audio", audio), ("video", video)) if wanted]
        raise MediaError(
            f"clip {path}",
            "no stream that can be used",
            f"a file with a stream of {' or '.join(asked) or 'a kind that is asked for'}",
        )
    if heard is not None:
        check_rate(path, heard.rate)
    starts = [opening.start_ns for opening in (heard, seen) if opening is not None]
    if max(starts) - min(starts) > MAX_GAP_NS:
        gap = (max(starts) - min(starts)) // 1_000_000_000
        raise MediaError(f"clip {path}", f"audio and video {gap} s apart", "up to an hour")
    leading = seen or heard
    assert leading is not None
    length = leading.end_ns - min(starts)
    if length < clock.UNIT_NS:
        value = f"{length / 1e6:g} ms of {'audio' if seen is None else 'video'}"
        raise MediaError(f"clip {path}", value, "at least one unit, 160 ms")
    return Clip(
        path,
        zero_ns=min(starts),
        audio_rate=None if heard is None else heard.rate,
        has_video=seen is not None,
        frame_height=frame_height,
        frame_width=frame_width,
    )


class Clip:
    """A clip that is being read, and a context manager that closes its files.

    ``has_audio`` and ``has_video`` say that the stream exists and was asked for;
    ``unit_count_hint`` is what the container's metadata promises, for a progress bar only.
    """

    def __init__(
        self,
        path: Path,
        *,
        zero_ns: int,
        audio_rate: int | None,
        has_video: bool,
        frame_height: int,
        frame_width: int,
    ) -> None:
        self._path = path
        self._zero_ns = zero_ns
        self._rate = audio_rate
        self._height, self._width = frame_height, frame_width
        self.has_audio = audio_rate is not None
        self.has_video = has_video
        # The stream that gives the clip its length also watches over the file's completeness.
        self._video_source = Source(path, "video", whole=True) if has_video else None
        self._audio_source = Source(path, "audio", whole=not has_video) if self.has_audio else None
        self._audio = self._open_audio()
        leading = self._video_source or self._audio_source
        assert leading is not None
        self.unit_count_hint = _units_of(leading.duration_ns)

    def __enter__(self) -> Clip:  # noqa: PYI034 - shape checks in tests refuse Self
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def close(self) -> None:
        for source in (self._video_source, self._audio_source):
            if source is not None:
                source.close()

    @property
    def buffered_samples(self) -> int:
        """Audio samples held between two units; bounded (WS-MEDIA-12)."""
        return 0 if self._audio is None else self._audio.buffered_samples

    def units(self) -> Iterator[UserUnit]:
        """The clip's units in order, decoded as they are asked for; one pass (WS-MEDIA-2).

        Raises:
            MediaError: the clip breaks or ends early (WS-MEDIA-11).
        """
        pictures = self._pictures()
        for k in count():
            video = None
            if self.has_video:
                shown = list(islice(pictures, clock.FRAMES_PER_UNIT))
                if not shown:
                    return
                # The last unit holds the last frame.
                shown += [shown[-1]] * (clock.FRAMES_PER_UNIT - len(shown))
                video = to_signal(np.stack(shown))
            elif self._audio is not None and not self._audio.has_unit():
                return
            yield UserUnit(unit=k, audio=self._audio_unit(), video=video)

    def _audio_unit(self) -> Float32[Tensor, "2560"] | None:
        if self._audio is None:
            return None
        return torch.from_numpy(self._audio.unit().astype(np.float32))

    def _open_audio(self) -> UserAudio | None:
        if self._audio_source is None or self._rate is None:
            return None
        return UserAudio(gapless(self._blocks(self._audio_source), self._rate), self._rate)

    def _blocks(self, source: Source) -> Iterator[Timed[Float64[np.ndarray, "n"]]]:
        """Mono blocks, timed from the clip's time zero (WS-MEDIA-8)."""
        for frame in source.frames():
            assert isinstance(frame.data, AudioFrame)
            if frame.data.sample_rate != self._rate:
                value = f"audio that changes from {self._rate} to {frame.data.sample_rate} Hz"
                raise MediaError(f"clip {self._path}", value, "one rate")
            yield self._from_zero(frame, to_mono(frame.data, self._path))

    def _pictures(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """The picture of each tick; a source frame is fitted once, when it is first shown."""
        if self._video_source is None:
            return
        stream = self._video_source.stream
        assert isinstance(stream, VideoStream)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        picture = np.zeros((self._height, self._width, 3), np.uint8)
        fitted: VideoFrame | None = None
        for shown in hold(self._video_frames(self._video_source)):
            if shown is not None and shown is not fitted:
                with libav_errors(self._path, "scaling"):
                    picture = fit(shown, aspect, self._height, self._width)
                fitted = shown
            yield picture

    def _video_frames(self, source: Source) -> Iterator[Timed[VideoFrame]]:
        for frame in source.frames():
            assert isinstance(frame.data, VideoFrame)
            yield self._from_zero(frame, frame.data)

    def _from_zero(self, frame: Timed[AudioFrame | VideoFrame], data: T) -> Timed[T]:
        zero = self._zero_ns
        return Timed(start_ns=frame.start_ns - zero, end_ns=frame.end_ns - zero, data=data)


def _units_of(duration_ns: int | None) -> int | None:
    """Units of a clip of that length by the rule of WS-MEDIA-2."""
    if duration_ns is None or duration_ns <= 0:
        return None
    ticks = -(-(duration_ns - midpoint_ns(0)) // clock.TICK_NS)
    return max(1, clock.units_covering_ns(ticks * clock.TICK_NS))
