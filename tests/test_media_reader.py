"""Clips of every kind become units: length, time zero, streaming, causality."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from jaxtyping import UInt8
from media_clips import grey, noise, write_clip

from reference.media import resample
from reference.media.reader import open_clip
from reference.media.source import nanoseconds
from reference.units import UserUnit
from spec import clock

HEIGHT, WIDTH = 32, 48


def read(path: Path, *, audio: bool = True, video: bool = True) -> list[UserUnit]:
    with open_clip(path, frame_height=HEIGHT, frame_width=WIDTH, audio=audio, video=video) as clip:
        return list(clip.units())


def shown(units: list[UserUnit]) -> list[int]:
    """The number of the picture that each tick shows; 0 is black."""
    numbers = []
    for unit in units:
        assert unit.video is not None
        pixels = ((unit.video + 1.0) * 127.5).round().to(torch.int64)
        assert bool((pixels == pixels[:, :1, :1, :1]).all())
        numbers += pixels[:, 0, 0, 0].tolist()
    return numbers


def heard(units: list[UserUnit]) -> torch.Tensor:
    return torch.cat([unit.audio for unit in units if unit.audio is not None])


@pytest.mark.parametrize(
    "fps", [Fraction(10), Fraction(24), Fraction(30_000, 1_001), *map(Fraction, (25, 30, 50, 60))]
)
def test_ws_media_3_any_frame_rate_becomes_25(tmp_path: Path, fps: Fraction) -> None:
    """WS-MEDIA-3, WS-MEDIA-2: the tick rule over a real container, 0.8 s of each rate."""
    count = round(0.8 * fps)
    units = read(
        write_clip(
            tmp_path / "clip.mov",
            pictures=grey(count),
            fps=fps,
            video_codec="png",
            pix_fmt="rgb24",
        )
    )
    by_rule = [1 + int(Fraction(40 * n + 20, 1_000) * fps) for n in range(20)]
    assert shown(units) == [min(number, count) for number in by_rule]
    assert [unit.unit for unit in units] == list(range(5))


def test_ws_media_2_the_last_unit_holds_the_last_frame(tmp_path: Path) -> None:
    """WS-MEDIA-2: 14 frames are 3 units and a half, so 4 units."""
    path = write_clip(tmp_path / "clip.mkv", pictures=grey(14), sound=noise(1, 3_000))
    units = read(path)
    assert shown(units) == [*range(1, 15), 14, 14]
    assert heard(units).shape == (4 * 2_560,)
    assert not heard(units)[3_000:].any()
    assert heard(units)[2_999] != 0


def test_ws_media_2_audio_past_the_video_is_left_out(tmp_path: Path) -> None:
    """WS-MEDIA-2: the video gives the length; without it the audio does."""
    sound = noise(1, 16_000)
    path = write_clip(tmp_path / "clip.mkv", pictures=grey(8), sound=sound)
    units = read(path)
    assert len(units) == 2
    assert np.array_equal(heard(units).numpy(), sound[0, :5_120].astype(np.float32))
    assert len(read(path, video=False)) == 7


def test_ws_media_1_streams_that_are_missing_or_not_wanted(tmp_path: Path) -> None:
    """WS-MEDIA-1: None in the unit, False on the clip."""
    both = write_clip(tmp_path / "both.mkv", pictures=grey(8), sound=noise(1, 6_000))
    mute = write_clip(tmp_path / "mute.mkv", pictures=grey(8))
    blind = write_clip(tmp_path / "blind.wav", sound=noise(1, 6_000))
    cases = [
        (both, True, True, (True, True)),
        (both, False, True, (False, True)),
        (both, True, False, (True, False)),
        (mute, True, True, (False, True)),
        (blind, True, True, (True, False)),
    ]
    for path, audio, video, has in cases:
        with open_clip(path, frame_height=32, frame_width=48, audio=audio, video=video) as clip:
            assert (clip.has_audio, clip.has_video) == has
            for unit in clip.units():
                assert (unit.audio is not None, unit.video is not None) == has
                assert unit.text == ()


def three_streams(path: Path, defaults: tuple[int, ...]) -> Path:
    """A file with audio streams that hold 0, 1/4 and 1/2; some are marked default."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_f32le", rate=16_000, layout="mono") for _ in range(3)]
        for i, stream in enumerate(streams):
            assert isinstance(stream, av.AudioStream)
            stream.disposition = Disposition.default if i in defaults else Disposition.dub
        for i, stream in enumerate(streams):
            assert isinstance(stream, av.AudioStream)
            values = np.full((1, 4_000), i / 4, np.float32)
            frame = av.AudioFrame.from_ndarray(values, "flt", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_ws_media_1_the_default_stream_is_read(tmp_path: Path) -> None:
    """WS-MEDIA-1: the first default stream, else the first."""
    defaults: tuple[int, ...]
    for defaults, expected in (((), 0.0), ((1,), 0.25), ((2,), 0.5)):
        path = three_streams(tmp_path / f"{expected}.mkv", defaults)
        assert float(heard(read(path))[0]) == expected


def test_ws_media_1_the_first_of_several_defaults_is_read(tmp_path: Path) -> None:
    """WS-MEDIA-1: of streams 1 and 2, both marked default, stream 1; stream 0 is not marked."""
    path = three_streams(tmp_path / "clip.mkv", (1, 2))
    assert float(heard(read(path))[0]) == 0.25


def test_ws_media_1_a_stream_without_a_frame_does_not_exist(tmp_path: Path) -> None:
    """WS-MEDIA-1: declared and empty; nor does it set time zero."""
    path = write_clip(
        tmp_path / "clip.mkv",
        pictures=grey(8),
        times_ms=[400 + 40 * i for i in range(8)],
        sound=np.zeros((1, 0)),
    )
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
    units = read(path)
    assert shown(units) == [*range(1, 9)]
    assert all(unit.audio is None for unit in units)


@pytest.mark.parametrize(("pts", "expected"), [(5, 55_556), (4, 44_444), (-5, -55_556)])
def test_ws_media_1_times_are_to_the_nearest_nanosecond(pts: int, expected: int) -> None:
    """WS-MEDIA-1: ticks of 1/90,000 s, as MPEG has them."""
    frame = av.VideoFrame(16, 16, "rgb24")
    frame.time_base = Fraction(1, 90_000)
    assert nanoseconds(frame, pts) == expected


def test_ws_media_1_time_zero_is_the_earliest_start(tmp_path: Path) -> None:
    """WS-MEDIA-1, WS-MEDIA-9: late audio after silence, late video after black."""
    late_audio = write_clip(
        tmp_path / "a.mkv", pictures=grey(8), sound=np.ones((1, 3_000)), sound_starts_ms=[100]
    )
    signal = heard(read(late_audio))
    assert not signal[:1_600].any()
    assert signal[1_600:4_600].tolist() == [1.0] * 3_000
    late_video = write_clip(
        tmp_path / "v.mkv",
        pictures=grey(8),
        times_ms=[200 + 40 * i for i in range(8)],
        sound=np.ones((1, 3_000)),
    )
    units = read(late_video)
    assert shown(units) == [0] * 5 + [*range(1, 9)] + [8] * 3
    assert heard(units)[0] == 1.0
    offset = write_clip(
        tmp_path / "o.mkv", pictures=grey(8), times_ms=[5_000 + 40 * i for i in range(8)]
    )
    assert shown(read(offset)) == [*range(1, 9)]


def test_ws_media_9_gaps_in_the_container_become_silence(tmp_path: Path) -> None:
    """WS-MEDIA-9: 100 ms heard, 100 ms missing, 100 ms heard."""
    path = write_clip(tmp_path / "clip.mkv", sound=np.ones((1, 3_200)), sound_starts_ms=[0, 200])
    signal = heard(read(path))
    assert signal[:4_800].tolist() == [1.0] * 1_600 + [0.0] * 1_600 + [1.0] * 1_600


def test_ws_media_3_a_variable_frame_rate_holds_frames(tmp_path: Path) -> None:
    """WS-MEDIA-3: frames at 0, 300 and 330 ms."""
    path = write_clip(tmp_path / "clip.mkv", pictures=grey(3), times_ms=[0, 300, 330])
    assert shown(read(path))[:8] == [1] * 7 + [2]


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_345, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
def test_ws_media_8_any_rate_and_layout(
    tmp_path: Path, rate: int, layout: str, channels: int
) -> None:
    """WS-MEDIA-6, WS-MEDIA-8: the container's audio equals the resampled mean."""
    sound = noise(channels, rate // 2).astype(np.float32)
    path = write_clip(
        tmp_path / "clip.wav", sound=sound.astype(np.float64), rate=rate, layout=layout
    )
    got = heard(read(path)).numpy()
    mono = sound.astype(np.float64).mean(axis=0)
    expected, _ = resample.resample(mono, resample.start(rate))
    assert len(got) == 3 * 2_560
    assert np.array_equal(got, expected[: len(got)].astype(np.float32))


def test_ws_media_8_an_mp4s_audio_ends_where_the_container_says(tmp_path: Path) -> None:
    """WS-MEDIA-8: AAC fills its last packet; the surplus is not heard, so 2 units stay 2."""
    path = write_clip(tmp_path / "clip.m4a", sound=noise(1, 7_680), rate=24_000, audio_codec="aac")
    assert len(read(path)) == 2


@pytest.mark.parametrize(
    ("name", "codec", "fmt"),
    [("container.mp4", "libx264rgb", "rgb24"), ("codec.ts", "libx264", "yuv420p")],
)
def test_ws_media_4_pixel_aspect_comes_from_the_stream(
    tmp_path: Path, name: str, codec: str, fmt: str
) -> None:
    """WS-MEDIA-4: 24x32 with double-wide pixels fills the frame's width; square ones do not."""
    white = np.full((8, 32, 24, 3), 255, np.uint8)
    for aspect, lit in ((Fraction(2), slice(0, 48)), (Fraction(1), slice(12, 36))):
        path = write_clip(
            tmp_path / name, pictures=white, pixel_aspect=aspect, video_codec=codec, pix_fmt=fmt
        )
        video = read(path)[0].video
        assert video is not None
        assert float(video[..., lit].min()) > 0.9
        assert float(video.mean()) == pytest.approx(2 * (lit.stop - lit.start) / 48 - 1, abs=0.02)


def test_ws_media_5_units_hold_the_stated_shapes(tmp_path: Path) -> None:
    """WS-MEDIA-5: float32, [4, 3, height, width] and [2560]."""
    path = write_clip(
        tmp_path / "clip.mkv", pictures=grey(4), sound=noise(2, 3_000), layout="stereo"
    )
    (unit,) = read(path)
    assert unit.video is not None
    assert unit.audio is not None
    assert (unit.video.shape, unit.video.dtype) == ((4, 3, HEIGHT, WIDTH), torch.float32)
    assert (unit.audio.shape, unit.audio.dtype) == ((2_560,), torch.float32)


def random_pictures(count: int, seed: int) -> UInt8[np.ndarray, "n h w 3"]:
    return np.random.default_rng(seed).integers(0, 256, (count, 40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("unit", [0, 1, 2, 4])
@pytest.mark.parametrize(("fps", "rate"), [(25, 16_000), (30, 44_100), (60, 48_000), (24, 8_000)])
def test_ws_media_7_units_never_depend_on_what_comes_after_them(
    tmp_path: Path, unit: int, fps: int, rate: int
) -> None:
    """WS-MEDIA-7, WS-MEDIA-3: end to end over lossless codecs, bit-exact. Everything from the end
    of the unit on is another recording; the unit and those before it stay the same."""
    pictures, other_pictures = (random_pictures(fps * 4 // 5, seed) for seed in (1, 2))
    sound, other_sound = (noise(1, rate * 4 // 5, seed) for seed in (1, 2))
    frames_until = -(-160 * (unit + 1) * fps // 1_000)
    samples_until = -(-160 * (unit + 1) * rate // 1_000)
    other_pictures[:frames_until] = pictures[:frames_until]
    other_sound[:, :samples_until] = sound[:, :samples_until]
    one = write_clip(
        tmp_path / "1.mkv", pictures=pictures, fps=Fraction(fps), sound=sound, rate=rate
    )
    other = write_clip(
        tmp_path / "2.mkv", pictures=other_pictures, fps=Fraction(fps), sound=other_sound, rate=rate
    )
    for k, (a, b) in enumerate(zip(read(one), read(other), strict=True)):
        assert a.video is not None
        assert b.video is not None
        assert a.audio is not None
        assert b.audio is not None
        if k <= unit:
            assert torch.equal(a.video, b.video)
            assert torch.equal(a.audio, b.audio)
        else:
            assert not torch.equal(a.video, b.video)
            assert not torch.equal(a.audio, b.audio)


def test_ws_media_12_a_long_clip_is_streamed(tmp_path: Path) -> None:
    """WS-MEDIA-12: one minute; units come while reading, and what is held stays bounded."""
    path = write_clip(
        tmp_path / "long.mkv",
        pictures=np.zeros((1_500, 16, 16, 3), np.uint8),
        sound=noise(1, 44_100 * 60),
        rate=44_100,
    )
    bound = 2_560 + 1_000 + 2 * resample.half_taps(44_100)
    with open_clip(path, frame_height=16, frame_width=16) as clip:
        assert clip.unit_count_hint == 375
        seen = 0
        for unit in clip.units():
            assert clip.buffered_samples <= bound
            for source in (clip._video_source, clip._audio_source):
                assert source is not None
                assert source._decoded_ns <= clock.unit_available_ns(unit.unit + 1)
            seen = unit.unit + 1
    assert seen == 375


def test_ws_media_12_badly_interleaved_streams_need_no_queue(tmp_path: Path) -> None:
    """WS-MEDIA-12: all the video first, then all the audio."""
    path = write_clip(
        tmp_path / "apart.mkv", pictures=grey(100), sound=noise(1, 64_000), sound_starts_ms=[0]
    )
    with open_clip(path, frame_height=HEIGHT, frame_width=WIDTH) as clip:
        units = clip.units()
        first = next(units)
        assert first.audio is not None
        assert bool(first.audio.any())
        assert clip.buffered_samples <= 2_560
        assert len(list(units)) == 24


def test_ws_media_2_reading_twice_gives_the_same_units(tmp_path: Path) -> None:
    """WS-MEDIA-2: the clip alone decides."""
    path = write_clip(
        tmp_path / "clip.mp4",
        pictures=random_pictures(12, 3),
        video_codec="libx264",
        pix_fmt="yuv420p",
        sound=noise(2, 24_000),
        rate=48_000,
        audio_codec="aac",
        layout="stereo",
    )
    for a, b in zip(read(path), read(path), strict=True):
        assert a.video is not None
        assert b.video is not None
        assert a.audio is not None
        assert b.audio is not None
        assert torch.equal(a.video, b.video)
        assert torch.equal(a.audio, b.audio)
