"""One stream of one file, decoded packet by packet with integer times and one-line errors.

Every stream has a container of its own, so badly interleaved files never build up a queue
(WS-MEDIA-12). Source: CHOICE; the decoders are libav's, through PyAV.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Final, Generic, Literal, TypeVar

import attrs
import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reference.media.resample import MAX_RATE_HZ, MIN_RATE_HZ
from spec import clock
from spec.errors import MediaError

T_co = TypeVar("T_co", covariant=True)
Kind = Literal["audio", "video"]

DECODABLE: Final = "a media file that libav can decode"
MAX_SIDE: Final = 16_384
MAX_FPS: Final = 1_000
MAX_GAP_NS: Final = 3_600_000_000_000
"""A longer hole between time stamps is taken for damage (WS-MEDIA-10)."""

DRAWN_TEXT: Final = frozenset({"tty", "bin", "adf", "idf", "xbin"})
"""Formats in which libav draws a text file as pictures: no clips (WS-MEDIA-10)."""

DECLARES_LENGTH: Final = frozenset({"mov", "mp4", "matroska", "webm", "flac"})
"""Formats whose header states the duration; elsewhere libav takes it from what is there
(WS-MEDIA-11)."""


@attrs.frozen(kw_only=True)
class Timed(Generic[T_co]):
    """Something that is shown or heard from ``start_ns`` up to ``end_ns``."""

    start_ns: int
    end_ns: int
    data: T_co


@contextmanager
def libav_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn what libav raises into one `MediaError` line (WS-MEDIA-10)."""
    try:
        yield
    except av.FFmpegError as error:
        value = f"{doing}: {error.strerror}"
        raise MediaError(f"clip {path}", value, DECODABLE) from None


def check_readable(path: Path) -> None:
    """Refuse what is not a readable, non-empty file before libav sees it (WS-MEDIA-10).

    Raises:
        MediaError: missing, a directory, a device, empty or not readable.
    """
    what, allowed = f"clip {path}", "a readable media file"
    try:
        # Asked before opening: opening a pipe would wait for a writer.
        regular = S_ISREG(path.stat().st_mode)
        if regular:
            with path.open("rb") as file:
                empty = not file.read(1)
    except OSError as error:
        raise MediaError(what, error.strerror, allowed) from None
    if not regular:
        raise MediaError(what, "a directory or a device", allowed)
    if empty:
        raise MediaError(what, "an empty file", allowed)


class Source:
    """The audio or the video stream of the clip at ``path``, open for decoding once.

    ``stream`` is None when the clip has no usable stream of that kind (WS-MEDIA-1).
    ``whole`` makes the source read the packets of every stream, so that at the end it can tell a
    complete file from a truncated one (WS-MEDIA-11).

    Raises:
        MediaError: the file cannot be opened; its picture size or frame rate is out of bounds.
    """

    def __init__(self, path: Path, kind: Kind, *, whole: bool = False) -> None:
        self.path = path
        self.kind = kind
        self.whole = whole
        self._decoded_ns = 0
        self._packets_end_ns = 0
        with libav_errors(path, "opening"):
            # "file:" keeps a colon in a name from being read as a protocol.
            self.container: InputContainer = av.open(
                f"file:{path}", mode="r", metadata_errors="replace"
            )
        if self._formats & DRAWN_TEXT:
            self.close()
            raise MediaError(f"clip {path}", "a text file", DECODABLE)
        self.stream = self._pick()
        self._check_bounds()

    def __enter__(self) -> Source:  # noqa: PYI034 - shape checks in tests refuse Self
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def close(self) -> None:
        self.container.close()

    @property
    def _formats(self) -> set[str]:
        return set(self.container.format.name.split(","))

    def _pick(self) -> AudioStream | VideoStream | None:
        """The first default stream of the kind, else the first; never cover art (WS-MEDIA-1)."""
        streams: tuple[AudioStream | VideoStream, ...] = (
            self.container.streams.audio if self.kind == "audio" else self.container.streams.video
        )
        usable = [
            s
            for s in streams
            if s.codec_context is not None and not s.disposition & Disposition.attached_pic
        ]
        usable.sort(key=lambda s: not s.disposition & Disposition.default)
        return usable[0] if usable else None

    def _check_bounds(self) -> None:
        if isinstance(self.stream, VideoStream):
            check_size(self.path, self.stream.width, self.stream.height)
            rate = self.stream.average_rate
            if rate is not None and not 0 < rate <= MAX_FPS:
                value = f"{rate} frames a second"
                raise MediaError(f"clip {self.path}", value, f"up to {MAX_FPS}")

    @property
    def duration_ns(self) -> int | None:
        """Length of the stream, else of the file, as the container tells it; a hint."""
        if self.stream is None:
            return None
        if self.stream.duration is not None and self.stream.time_base is not None:
            return int(self.stream.duration * self.stream.time_base * 1_000_000_000)
        return None if self.container.duration is None else self.container.duration * 1_000

    def frames(self) -> Iterator[Timed[AudioFrame | VideoFrame]]:
        """Decoded frames with their times in ns on the file's own time line.

        A frame without a time stamp follows the one before it.

        Raises:
            MediaError: a packet that does not decode, with the time where it broke
                (WS-MEDIA-11); a hole of more than `MAX_GAP_NS` (WS-MEDIA-10); a file that ends
                long before its declared duration (WS-MEDIA-11).
        """
        first: int | None = None
        end = 0
        for frame in self._decoded():
            start = end if frame.pts is None else nanoseconds(frame, frame.pts)
            if first is None:
                first = end = start
            if start - end > MAX_GAP_NS:
                value = f"a hole of {(start - end) // 1_000_000_000} s in its {self.kind}"
                raise MediaError(f"clip {self.path}", value, "holes of up to an hour")
            end = max(end, start + self._frame_ns(frame))
            self._decoded_ns = end - first
            yield Timed(start_ns=start, end_ns=start + self._frame_ns(frame), data=frame)
        if self.whole:
            self._check_complete()

    def _decoded(self) -> Iterator[AudioFrame | VideoFrame]:
        assert self.stream is not None
        packets = self.container.demux() if self.whole else self.container.demux(self.stream)
        damage: MediaError | None = None
        while True:
            with libav_errors(self.path, self._broken_at()):
                packet = next(packets, None)
            if packet is None:
                return
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base * 1_000_000_000
                self._packets_end_ns = max(self._packets_end_ns, int(end))
            if packet.stream_index != self.stream.index:
                continue
            # A file that was cut ends in a broken packet, which is left out; any other is an error.
            if damage is not None and packet.size:
                raise damage
            try:
                frames = self._decode(packet)
            except MediaError as error:
                damage, frames = error, []
            yield from frames

    def _decode(self, packet: Packet[Stream]) -> list[AudioFrame | VideoFrame]:
        if packet.is_corrupt:
            value = f"{self._broken_at()}: a corrupt packet"
            raise MediaError(f"clip {self.path}", value, DECODABLE)
        with libav_errors(self.path, self._broken_at()):
            return [f for f in packet.decode() if isinstance(f, AudioFrame | VideoFrame)]

    def _broken_at(self) -> str:
        return f"after {self._decoded_ns // 1_000_000} ms of its {self.kind}"

    def _frame_ns(self, frame: AudioFrame | VideoFrame) -> int:
        if isinstance(frame, AudioFrame):
            return frame.samples * 1_000_000_000 // frame.sample_rate
        if frame.duration > 0:
            return nanoseconds(frame, frame.duration)
        assert isinstance(self.stream, VideoStream)
        rate = self.stream.average_rate
        return int(1_000_000_000 / rate) if rate else clock.TICK_NS

    def _check_complete(self) -> None:
        """A file that ends more than a unit before its declared end is truncated (WS-MEDIA-11)."""
        duration = self.container.duration
        if duration is None or not self._formats & DECLARES_LENGTH:
            return
        # Matroska counts it from 0, the others from the first packet: take the smaller end.
        declared_ns = duration * 1_000
        if declared_ns - self._packets_end_ns > clock.UNIT_NS:
            raise MediaError(
                f"clip {self.path}",
                f"truncated: it ends after {self._packets_end_ns // 1_000_000} ms",
                f"a whole file, of the {declared_ns // 1_000_000} ms that its header declares",
            )


def nanoseconds(frame: AudioFrame | VideoFrame, ticks: int) -> int:
    """``ticks`` of the frame's time base in ns, to the nearest (WS-MEDIA-1)."""
    base = frame.time_base
    assert base is not None
    return (2_000_000_000 * ticks * base.numerator + base.denominator) // (2 * base.denominator)


def check_size(path: Path, width: int, height: int) -> None:
    """Bounds of a source frame (WS-MEDIA-10)."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise MediaError(f"clip {path}", f"{width}x{height} pixels", f"1 to {MAX_SIDE} a side")


def check_rate(path: Path, rate: int) -> None:
    """Bounds of a source sample rate (WS-MEDIA-10)."""
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise MediaError(
            f"clip {path}", f"audio at {rate} Hz", f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        )
