"""The written MP4: exact counts, alignment, values, whole or not at all."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from jaxtyping import Float32, UInt8
from media_clips import grey, write_clip

from reference.media.reader import open_clip
from reference.media.writer import ClipWriter, to_pixels, to_samples
from spec.errors import MediaError, TensorError

HEIGHT, WIDTH = 48, 96


def video_unit(value: float = 0.0) -> torch.Tensor:
    return torch.full((4, 3, HEIGHT, WIDTH), value)


def audio_unit(value: float = 0.0) -> torch.Tensor:
    return torch.full((3_840,), value)


def write(path: Path, units: int, *, audio: bool = True, video: bool = True) -> Path:
    generator = torch.Generator().manual_seed(0)
    with ClipWriter(path, height=HEIGHT, width=WIDTH, audio=audio, video=video) as writer:
        for k in range(units):
            picture = torch.rand(4, 3, HEIGHT, WIDTH, generator=generator) * 0.2 + k / 50 - 0.5
            sound = torch.randn(3_840, generator=generator) * 0.1
            writer.write(picture if video else None, sound if audio else None)
    return path


def decoded_video(path: Path) -> tuple[list[int], UInt8[np.ndarray, "n h w 3"]]:
    """Presentation times in frames of 25 a second, and the pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        times, pictures = [], []
        for frame in container.decode(stream):
            assert frame.pts is not None
            time = frame.pts * stream.time_base * 25
            assert time.denominator == 1
            times.append(int(time))
            pictures.append(frame.to_ndarray(format="rgb24"))
    return times, np.stack(pictures)


def decoded_audio(path: Path) -> tuple[int, Float32[np.ndarray, "n"]]:
    """Time of the first sample, and the samples up to the end of the track's edit."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.time_base == Fraction(1, 24_000)
        frames = list(container.decode(stream))
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        assert stream.duration is not None
        assert frames[0].pts is not None
        return frames[0].pts, sound[: stream.duration]


@pytest.mark.parametrize("units", [1, 2, 5, 33])
def test_ws_media_13_counts_are_exact(tmp_path: Path, units: int) -> None:
    """WS-MEDIA-13: 4 K frames at 25 fps, 3,840 K samples at 24 kHz, both from time 0."""
    path = write(tmp_path / "out.mp4", units)
    times, pictures = decoded_video(path)
    assert times == list(range(4 * units))
    assert pictures.shape == (4 * units, HEIGHT, WIDTH, 3)
    begin, sound = decoded_audio(path)
    assert (begin, len(sound)) == (0, 3_840 * units)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == 25
        assert (audio.codec_context.name, audio.sample_rate) == ("aac", 24_000)
        assert audio.layout.nb_channels == 1
        assert (video.frames, video.start_time, audio.start_time) == (4 * units, 0, 0)
        assert container.duration == 160_000 * units


@pytest.mark.parametrize("instant", [4, 13, 27])
def test_ws_media_13_a_click_and_a_flash_stay_together(tmp_path: Path, instant: int) -> None:
    """WS-MEDIA-13: a click at the first sample of a white frame comes back at that sample."""
    video = torch.full((32, 3, HEIGHT, WIDTH), -1.0)
    video[instant] = 1.0
    audio = torch.zeros(8 * 3_840)
    audio[960 * instant] = 0.9
    path = tmp_path / "out.mp4"
    with ClipWriter(path, height=HEIGHT, width=WIDTH, audio=True, video=True) as writer:
        for k in range(8):
            writer.write(video[4 * k : 4 * k + 4], audio[3_840 * k : 3_840 * (k + 1)])
    _, pictures = decoded_video(path)
    begin, sound = decoded_audio(path)
    assert pictures.mean(axis=(1, 2, 3)).argmax() == instant
    assert begin + np.abs(sound).argmax() == 960 * instant


@pytest.mark.parametrize(("audio", "video"), [(True, False), (False, True)])
def test_ws_media_13_one_stream_alone(tmp_path: Path, *, audio: bool, video: bool) -> None:
    """WS-MEDIA-13: the other stream is absent, not empty."""
    path = write(tmp_path / "out.mp4", 3, audio=audio, video=video)
    with av.open(str(path)) as container:
        assert (len(container.streams.audio), len(container.streams.video)) == (audio, video)
    with open_clip(path, frame_height=HEIGHT, frame_width=WIDTH) as clip:
        assert sum(1 for _ in clip.units()) == 3


def test_ws_media_13_what_was_written_reads_back(tmp_path: Path) -> None:
    """WS-MEDIA-13, WS-MEDIA-2: K units out are K units in; flat colours survive the coding."""
    colours = torch.tensor(
        [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [0.8, -0.6, 0.1], [0.0, 0.3, -0.9]]
    )
    path = tmp_path / "out.mp4"
    with ClipWriter(path, height=HEIGHT, width=WIDTH, audio=True, video=True) as writer:
        for colour in colours:
            writer.write(colour[None, :, None, None].expand(4, 3, HEIGHT, WIDTH), audio_unit())
    with open_clip(path, frame_height=HEIGHT, frame_width=WIDTH) as clip:
        units = list(clip.units())
    assert len(units) == 4
    for unit, colour in zip(units, colours, strict=True):
        assert unit.video is not None
        assert float((unit.video - colour[None, :, None, None]).abs().max()) < 0.06


def test_ws_media_13_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """WS-MEDIA-13: one encoder thread, no clock and no name in the file."""
    digests = {
        hashlib.sha256(write(tmp_path / f"{name}.mp4", 6).read_bytes()).hexdigest()
        for name in ("a", "b", "c")
    }
    assert len(digests) == 1


def test_ws_media_14_pixels_are_rounded_to_even() -> None:
    """WS-MEDIA-14: clip, then the nearest of 256 levels, ties to even; every level survives."""
    levels = torch.arange(256) / 127.5 - 1.0
    video = levels.reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert np.array_equal(to_pixels(video)[0, :, :, 1].ravel(), np.arange(256))
    values = torch.tensor([-7.0, 7.0, 0.0, 2.4 / 255 - 1.0]).reshape(1, 1, 1, 4)
    pixels = to_pixels(values.double().expand(1, 3, 1, 4))
    assert pixels[0, 0, :, 0].tolist() == [0, 255, 128, 1]


def test_ws_media_14_samples_are_clipped() -> None:
    """WS-MEDIA-14: beyond ±1 is ±1; float32, one plane."""
    samples = to_samples(torch.tensor([-3.0, -0.5, 0.25, 3.0], dtype=torch.float64))
    assert samples.dtype == np.float32
    assert samples.tolist() == [[-1.0, -0.5, 0.25, 1.0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_ws_media_14_nan_and_inf_are_refused_and_nothing_is_left(
    tmp_path: Path, bad: float
) -> None:
    """WS-MEDIA-14, WS-MEDIA-15: an error, and no file."""
    for video, audio in ((video_unit(bad), audio_unit()), (video_unit(), audio_unit(bad))):
        with (
            pytest.raises(TensorError),
            ClipWriter(
                tmp_path / "out.mp4", height=HEIGHT, width=WIDTH, audio=True, video=True
            ) as writer,
        ):
            writer.write(video, audio)
    assert list(tmp_path.iterdir()) == []


class Stop(BaseException):
    """What ends a run in the middle; no Exception, like KeyboardInterrupt."""


def stop_in_the_middle(path: Path) -> None:
    def run() -> None:
        with ClipWriter(path, height=HEIGHT, width=WIDTH, audio=True, video=True) as writer:
            for _ in range(3):
                writer.write(video_unit(), audio_unit())
            raise Stop

    with pytest.raises(Stop):
        run()


def test_ws_media_15_a_failed_run_leaves_the_old_file(tmp_path: Path) -> None:
    """WS-MEDIA-15: a good file stays, byte for byte, and no other file is left."""
    path = write(tmp_path / "out.mp4", 2)
    before = path.read_bytes()
    stop_in_the_middle(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    stop_in_the_middle(tmp_path / "new.mp4")
    assert list(tmp_path.iterdir()) == [path]


def test_ws_media_15_an_interruption_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-MEDIA-15: no temporary file is left when the writer is not even made."""

    def stop(_writer: ClipWriter) -> None:
        raise Stop

    monkeypatch.setattr(ClipWriter, "_add_audio", stop)
    with pytest.raises(Stop):
        write(tmp_path / "out.mp4", 1)
    assert list(tmp_path.iterdir()) == []


def test_ws_media_15_the_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """WS-MEDIA-15: until the end the old content stands; then the new one does."""
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with ClipWriter(path, height=HEIGHT, width=WIDTH, audio=True, video=True) as writer:
        writer.write(video_unit(), audio_unit())
        assert path.read_bytes() == b"old"
        (temporary,) = (other for other in tmp_path.iterdir() if other != path)
        assert temporary.stat().st_dev == path.stat().st_dev
    assert len(decoded_video(path)[0]) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_ws_media_15_no_unit_is_no_file(tmp_path: Path) -> None:
    """WS-MEDIA-15: a run without output does not replace anything."""
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with (
        pytest.raises(MediaError, match="no unit"),
        ClipWriter(path, height=HEIGHT, width=WIDTH, audio=True, video=True),
    ):
        pass
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_ws_media_15_a_disk_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-MEDIA-15: the rename is refused; the old file stays and the temporary one goes."""
    path = tmp_path / "out.mp4"

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(MediaError, match="No space left"):
        write(path, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/out.mp4", "no folder"),
        ("out.mkv", ".mkv"),
        ("out", "no suffix"),
        ("folder.mp4", "a directory"),
        ("file/out.mp4", "no folder"),
    ],
)
def test_ws_media_15_bad_paths_are_found_before_any_work(
    tmp_path: Path, name: str, reason: str
) -> None:
    """WS-MEDIA-15: raised when the writer is made."""
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MediaError) as caught:
        ClipWriter(tmp_path / name, height=HEIGHT, width=WIDTH, audio=True, video=True)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} == {"folder.mp4", "file"}


def test_ws_media_15_a_folder_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-MEDIA-15: by its mode, or by the system when the file is made."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        with pytest.raises(MediaError, match="read-only"):
            write(tmp_path / "out.mp4", 1)
    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(MediaError, match="Read-only file system"):
        write(tmp_path / "out.mp4", 1)


@pytest.mark.parametrize(("height", "width"), [(47, 96), (48, 95), (0, 96), (48, 16_386)])
def test_ws_media_13_odd_and_absurd_sizes_are_refused(
    tmp_path: Path, height: int, width: int
) -> None:
    """WS-MEDIA-13: 4:2:0 colour needs even sides."""
    with pytest.raises(MediaError, match="even sides"):
        ClipWriter(tmp_path / "out.mp4", height=height, width=width, audio=True, video=True)
    with pytest.raises(MediaError, match="neither"):
        ClipWriter(tmp_path / "out.mp4", height=48, width=96, audio=False, video=False)
    assert list(tmp_path.iterdir()) == []


def test_ws_media_15_a_clip_can_be_read_while_its_name_is_written(tmp_path: Path) -> None:
    """WS-MEDIA-15: the input is not touched before the end."""
    path = write_clip(
        tmp_path / "clip.mp4", pictures=grey(8), video_codec="libx264", pix_fmt="yuv420p"
    )
    with (
        open_clip(path, frame_height=HEIGHT, frame_width=WIDTH) as clip,
        ClipWriter(path, height=HEIGHT, width=WIDTH, audio=False, video=True) as writer,
    ):
        for unit in clip.units():
            writer.write(unit.video, None)
    assert len(decoded_video(path)[0]) == 8
