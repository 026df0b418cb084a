"""Every clip that cannot be read is one clear line."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import grey, noise, write_clip

from reference.media.reader import open_clip
from reference.media.source import Source, check_rate, check_size
from spec.errors import MediaError


def read(path: Path, *, audio: bool = True, video: bool = True) -> int:
    with open_clip(path, frame_height=32, frame_width=48, audio=audio, video=video) as clip:
        return sum(1 for _ in clip.units())


def refused(path: Path, **wanted: bool) -> str:
    """The error's text: one line that names the file and what is allowed."""
    with pytest.raises(MediaError) as caught:
        read(path, **wanted)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"clip {path}: got ")
    assert "; allowed: " in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


def wav(rate: int, count: int = 8_000) -> bytes:
    data = bytes(2 * count)
    fmt = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate & 0xFFFFFFFF, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(tmp_path: Path) -> bytes:
    path = tmp_path / "made.jpg"
    write_clip(path, pictures=grey(1), video_codec="mjpeg", pix_fmt="yuvj420p")
    return path.read_bytes()


NOT_CLIPS: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "empty": ("a.mp4", lambda _: b"", "an empty file"),
    "text": ("a.mp4", lambda _: b"hello world\n" * 500, "opening"),
    "text that libav would draw": ("a.txt", lambda _: b"hello\n" * 500, "a text file"),
    "text for another screen": ("a.adf", lambda _: b"\1" + b"hello\n" * 5_000, "a text file"),
    "random": ("a.mp4", lambda _: np.random.default_rng(0).bytes(100_000), "opening"),
    "zeros": ("a.mkv", lambda _: bytes(50_000), "opening"),
    "a still": ("a.jpg", jpeg, "40 ms of video"),
    "a still renamed": ("a.mp4", jpeg, "40 ms of video"),
    "1 Hz": ("a.wav", lambda _: wav(1), "audio at 1 Hz"),
    "3,999 Hz": ("a.wav", lambda _: wav(3_999), "audio at 3999 Hz"),
    "10 MHz": ("a.wav", lambda _: wav(10_000_000, 4_000_000), "audio at 10000000 Hz"),
    "0 Hz": ("a.wav", lambda _: wav(0), "opening"),
}


@pytest.mark.parametrize("case", NOT_CLIPS)
def test_ws_media_10_what_is_no_clip(tmp_path: Path, case: str) -> None:
    """WS-MEDIA-10: content that libav cannot open, or opens as something absurd."""
    name, content, reason = NOT_CLIPS[case]
    path = tmp_path / name
    path.write_bytes(content(tmp_path))
    assert reason in refused(path)


def test_ws_media_10_paths_that_are_no_file(tmp_path: Path) -> None:
    """WS-MEDIA-10: missing, a folder, below a file, a device."""
    below = tmp_path / "file"
    below.write_bytes(b"x")
    assert "No such file" in refused(tmp_path / "missing.mp4")
    assert "a directory" in refused(tmp_path)
    assert "Not a directory" in refused(below / "clip.mp4")
    assert "a device" in refused(Path("/dev/null"))


def test_ws_media_10_a_file_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-MEDIA-10: permission is asked of the system, once, before libav."""
    path = write_clip(tmp_path / "clip.mkv", pictures=grey(8))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in refused(path)


def test_ws_media_10_shorter_than_a_unit(tmp_path: Path) -> None:
    """WS-MEDIA-10: 3 frames, or 2,559 samples, are an error; 4 and 2,560 are a unit."""
    assert "120 ms of video" in refused(write_clip(tmp_path / "3.mkv", pictures=grey(3)))
    assert read(write_clip(tmp_path / "4.mkv", pictures=grey(4))) == 1
    assert "of audio" in refused(write_clip(tmp_path / "s.wav", sound=noise(1, 2_559)))
    assert read(write_clip(tmp_path / "u.wav", sound=noise(1, 2_560))) == 1


def test_ws_media_10_no_stream_that_was_asked_for(tmp_path: Path) -> None:
    """WS-MEDIA-10: neither audio nor video, or only the one not wanted."""
    sound = write_clip(tmp_path / "sound.wav", sound=noise(1, 6_000))
    mute = write_clip(tmp_path / "mute.mkv", pictures=grey(8))
    assert "a stream of video" in refused(sound, audio=False)
    assert "a stream of audio" in refused(mute, video=False)
    assert "no stream" in refused(mute, audio=False, video=False)
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:05,000\nhello\n")
    assert "a stream of audio or video" in refused(words)


def test_ws_media_10_sizes_and_rates_are_bounded(tmp_path: Path) -> None:
    """WS-MEDIA-10: 1 to 16,384 pixels a side, 4,000 to 768,000 Hz."""
    for width, height in ((0, 10), (10, 0), (16_385, 1), (1, 16_385), (-4, 8)):
        with pytest.raises(MediaError, match="pixels"):
            check_size(tmp_path, width, height)
    for rate in (0, 3_999, 768_001):
        with pytest.raises(MediaError, match="Hz"):
            check_rate(tmp_path, rate)
    check_size(tmp_path, 16_384, 1)
    check_rate(tmp_path, 4_000)
    check_rate(tmp_path, 768_000)
    huge = write_clip(tmp_path / "huge.mkv", pictures=np.zeros((4, 2, 16_386, 3), np.uint8))
    with pytest.raises(MediaError, match="16386x2 pixels"):
        open_clip(huge, frame_height=32, frame_width=48)


def test_ws_media_10_frame_rates_are_bounded(tmp_path: Path) -> None:
    """WS-MEDIA-10: up to 1,000 frames a second."""
    pictures = np.zeros((400, 16, 16, 3), np.uint8)
    fast, faster = (
        write_clip(
            tmp_path / f"{fps}.mov",
            pictures=pictures,
            fps=Fraction(fps),
            video_codec="png",
            pix_fmt="rgb24",
        )
        for fps in (1_000, 2_000)
    )
    assert read(fast) == 3
    assert "2000 frames a second" in refused(faster)


def test_ws_media_10_absurd_times(tmp_path: Path) -> None:
    """WS-MEDIA-10: a hole of days is damage, not a long pause."""
    hole = write_clip(
        tmp_path / "hole.mkv", pictures=grey(8), times_ms=[0, 40, 80, 120, 160, 200, 240, 10**9]
    )
    assert "a hole of 999999 s" in refused(hole)
    apart = write_clip(
        tmp_path / "apart.mkv",
        pictures=grey(8),
        times_ms=[10**9 + 40 * i for i in range(8)],
        sound=noise(1, 8_000),
    )
    # An hour is a pause; a millisecond more is not.
    for name, late in (("hour", 3_600_160), ("more", 3_600_161)):
        path = write_clip(
            tmp_path / f"{name}.mkv", pictures=grey(5), times_ms=[0, 40, 80, 120, late]
        )
        with Source(path, "video") as source:
            frames = source.frames()
            assert len([next(frames) for _ in range(4)]) == 4
            if name == "hour":
                assert next(frames).start_ns == late * 1_000_000
            else:
                with pytest.raises(MediaError, match="a hole of 3600 s"):
                    next(frames)
    assert "999999 s apart" in refused(apart) or "1000000 s apart" in refused(apart)


def test_ws_media_10_nan_in_the_clips_audio(tmp_path: Path) -> None:
    """WS-MEDIA-10: float PCM can hold NaN."""
    sound = noise(1, 8_000)
    sound[0, 5_000] = np.nan
    assert "NaN or Inf" in refused(write_clip(tmp_path / "nan.wav", sound=sound))


def h264(path: Path, seconds: int = 3) -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (25 * seconds, 64, 64, 3), dtype=np.uint8)
    return write_clip(
        path,
        pictures=pictures,
        video_codec="libx264",
        pix_fmt="yuv420p",
        sound=noise(1, 24_000 * seconds),
        rate=24_000,
        audio_codec="aac",
    )


@pytest.mark.parametrize("share", [30, 60, 90])
def test_ws_media_11_a_cut_file_is_an_error(tmp_path: Path, share: int) -> None:
    """WS-MEDIA-11: MP4 loses its index at the end of the file; with the index in front, and in
    Matroska and FLAC, the packets end before the declared duration."""
    flac = tmp_path / "a.flac"
    write_clip(flac, sound=noise(1, 48_000), audio_codec="flac")
    with av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=25)
        assert isinstance(video, av.VideoStream)
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        for picture in np.random.default_rng(0).integers(0, 256, (75, 32, 48, 3), dtype=np.uint8):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    paths = [h264(tmp_path / "a.mp4"), h264(tmp_path / "a.mkv"), tmp_path / "front.mp4", flac]
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size * share // 100])
    assert "opening" in refused(paths[0])
    for path in paths[1:]:
        assert "truncated: it ends after" in refused(path)


def test_ws_media_11_a_cut_broadcast_is_just_shorter(tmp_path: Path) -> None:
    """WS-MEDIA-11: MPEG-TS declares no duration, so what is there is the clip; the packet that
    was cut is left out."""
    path = h264(tmp_path / "a.ts")
    whole = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert whole // 3 < read(path) < whole


def test_ws_media_11_a_whole_file_is_whole_whatever_is_read(tmp_path: Path) -> None:
    """WS-MEDIA-11: a stream that ends before the other is no truncation."""
    path = write_clip(tmp_path / "a.mkv", pictures=grey(8), sound=noise(1, 48_000))
    assert read(path) == read(path, audio=False) == 2
    path = write_clip(tmp_path / "b.mkv", pictures=grey(50), sound=noise(1, 4_000))
    assert read(path, video=False) == 2


def test_ws_media_11_damage_names_the_time_where_it_broke(tmp_path: Path) -> None:
    """WS-MEDIA-11: a packet that does not decode, in the middle of the video and of the audio."""
    path = write_clip(tmp_path / "a.mov", pictures=grey(50), video_codec="png", pix_fmt="rgb24")
    with av.open(str(path)) as container:
        positions = [p.pos for p in container.demux(video=0) if p.pos is not None and p.size]
    content = bytearray(path.read_bytes())
    content[positions[30] : positions[30] + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert "after 1200 ms of its video: Invalid data" in refused(path)

    path = h264(tmp_path / "b.mp4")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(audio=0) if p.pos is not None and p.size > 50]
        place, size = packets[40].pos, packets[40].size
    assert place is not None
    content = bytearray(path.read_bytes())
    content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    assert "after 1663 ms of its audio: " in refused(path)


def test_ws_media_11_the_last_packet_of_a_stream_may_be_broken(tmp_path: Path) -> None:
    """WS-MEDIA-11: it is left out, also where another stream goes on after it."""
    path = write_clip(
        tmp_path / "a.mov",
        pictures=grey(8),
        video_codec="png",
        pix_fmt="rgb24",
        sound=noise(1, 24_000),
        audio_codec="pcm_s16le",
    )
    with av.open(str(path)) as container:
        position = [p.pos for p in container.demux(video=0) if p.pos is not None and p.size][-1]
    assert position is not None
    content = bytearray(path.read_bytes())
    content[position : position + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert read(path) == 2


def test_ws_media_11_a_rate_that_changes_is_refused(tmp_path: Path) -> None:
    """WS-MEDIA-11: two ADTS streams of different rates, one after the other."""
    first, second = (
        write_clip(tmp_path / f"{rate}.aac", sound=noise(1, rate), rate=rate, audio_codec="aac")
        for rate in (24_000, 48_000)
    )
    first.write_bytes(first.read_bytes() + second.read_bytes())
    assert "changes from 24000 to 48000 Hz" in refused(first)


def test_ws_media_10_a_playlist_reaches_no_network(tmp_path: Path) -> None:
    """WS-MEDIA-10: a clip's content opens no connection."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        path = tmp_path / "list.m3u8"
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"
        )
        refused(path)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_ws_media_1_cover_art_is_no_video(tmp_path: Path) -> None:
    """WS-MEDIA-1: an attached picture does not make a clip of 40 ms."""
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=24_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=25)
        assert isinstance(audio, av.AudioStream)
        assert isinstance(cover, av.VideoStream)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(grey(1, width=32)[0], "rgb24")
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        container.mux(cover.encode(picture))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 24_000), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts, sound.time_base = 24_000, 0, Fraction(1, 24_000)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
        container.mux(cover.encode(None))
    with open_clip(path, frame_height=32, frame_width=48) as clip:
        assert (clip.has_audio, clip.has_video) == (True, False)
        assert sum(1 for _ in clip.units()) == 7


SCRIPT = """
import sys
from pathlib import Path
import torch
from reference.media.reader import open_clip
from reference.media.writer import ClipWriter
from spec.errors import MediaError
for name in sys.argv[2:]:
    try:
        with open_clip(Path(name), frame_height=32, frame_width=48) as clip:
            list(clip.units())
    except MediaError as error:
        print(error)
with ClipWriter(Path(sys.argv[1]), height=32, width=48, audio=True, video=True) as writer:
    writer.write(torch.zeros(4, 3, 32, 48), torch.zeros(3840))
"""


def test_ws_media_10_libav_says_nothing_on_stderr(tmp_path: Path) -> None:
    """WS-MEDIA-10: its own log never reaches the user, in reading or in writing."""
    broken = h264(tmp_path / "broken.mkv")
    content = bytearray(broken.read_bytes())
    content[20_000:22_000] = bytes(2_000)
    broken.write_bytes(content)
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk" * 1_000)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "out.mp4"), str(broken), str(junk)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert f"clip {junk}: got 'opening: Invalid data" in done.stdout
