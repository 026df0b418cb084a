"""User video: which frame a tick shows, and how it is fitted."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import UInt8
from media_clips import write_clip

from reference.media.frames import fit, fitted_size, hold, to_signal
from reference.media.source import Timed

MS = 1_000_000


def timed(times_ms: list[int], last_ms: int = 40) -> list[Timed[int]]:
    ends = [*times_ms[1:], times_ms[-1] + last_ms]
    return [
        Timed(start_ns=start * MS, end_ns=end * MS, data=i)
        for i, (start, end) in enumerate(zip(times_ms, ends, strict=True))
    ]


@given(times=st.lists(st.integers(0, 2_000), min_size=1, max_size=40, unique=True).map(sorted))
def test_ws_media_3_a_tick_shows_the_last_frame_up_to_its_midpoint(times: list[int]) -> None:
    """WS-MEDIA-3: against the definition, written out."""
    shown = list(hold(iter(timed(times))))
    end = times[-1] + 40
    assert len(shown) == sum(1 for n in range(100) if 40 * n + 20 < end)
    for n, frame in enumerate(shown):
        before = [i for i, time in enumerate(times) if time <= 40 * n + 20]
        assert frame == (before[-1] if before else None)


@given(
    times=st.lists(st.integers(0, 1_000), min_size=2, max_size=30, unique=True).map(sorted),
    cut=st.integers(0, 30),
)
def test_ws_media_3_a_tick_never_depends_on_a_frame_after_its_midpoint(
    times: list[int], cut: int
) -> None:
    """WS-MEDIA-3: frames after the midpoint can be changed or taken away."""
    early = [time for time in times if time <= 40 * cut + 20]
    changed = [*early, 40 * cut + 21, 5_000]
    one, other = (list(islice(hold(iter(timed(t))), cut + 1)) for t in (times, changed))
    settled = min(len(one), cut + 1)
    assert one[:settled] == other[:settled]


@given(jitter=st.lists(st.integers(-19, 20), min_size=25, max_size=25))
def test_ws_media_3_jitter_of_half_a_tick_changes_nothing(jitter: list[int]) -> None:
    """WS-MEDIA-3: 25 fps with time stamps off by up to 20 ms shows each frame once."""
    times = [40 * n + (j if n else 0) for n, j in enumerate(jitter)]
    assert list(hold(iter(timed(times))))[:24] == list(range(24))


def test_ws_media_3_a_frame_out_of_order_is_left_out() -> None:
    """WS-MEDIA-3: time does not run backwards."""
    frames = timed([0, 40, 80, 120])
    frames.insert(2, Timed(start_ns=10 * MS, end_ns=50 * MS, data=99))
    assert list(hold(iter(frames))) == [0, 1, 2, 3]


def test_ws_media_12_hold_reads_no_further_than_it_must() -> None:
    """WS-MEDIA-12: one frame past the midpoint settles a tick."""
    read: list[int] = []

    def endless() -> Iterator[Timed[int]]:
        for n in count():
            read.append(n)
            yield Timed(start_ns=40 * n * MS, end_ns=40 * (n + 1) * MS, data=n)

    assert list(islice(hold(endless()), 4)) == [0, 1, 2, 3]
    assert max(read) == 4


class Picture:
    """Something that can be seen to be gone."""


def test_ws_media_12_hold_keeps_one_frame() -> None:
    """WS-MEDIA-12: what was shown before is let go; one frame is held and one is at hand."""
    alive: weakref.WeakSet[Picture] = weakref.WeakSet()

    def endless() -> Iterator[Timed[Picture]]:
        for n in count():
            picture = Picture()
            alive.add(picture)
            yield Timed(start_ns=40 * n * MS, end_ns=40 * (n + 1) * MS, data=picture)

    for _ in islice(hold(endless()), 50):
        assert len(alive) <= 3


@pytest.mark.parametrize(
    ("width", "height", "aspect", "expected"),
    [
        (1_920, 1_080, Fraction(1), (144, 81)),
        (640, 480, Fraction(1), (128, 96)),
        (1_080, 1_920, Fraction(1), (54, 96)),
        (720, 576, Fraction(64, 45), (144, 81)),
        (144, 96, Fraction(1), (144, 96)),
        (16_384, 1, Fraction(1), (144, 1)),
        (1, 16_384, Fraction(1), (1, 96)),
        (3, 2, Fraction(1), (144, 96)),
    ],
)
def test_ws_media_4_letterbox_sizes(
    width: int, height: int, aspect: Fraction, expected: tuple[int, int]
) -> None:
    """WS-MEDIA-4: known shapes in a frame of 144x96."""
    assert fitted_size(width, height, aspect, 144, 96) == expected


@given(width=st.integers(1, 16_384), height=st.integers(1, 16_384), num=st.integers(1, 64))
def test_ws_media_4_the_picture_fills_one_side_and_keeps_its_shape(
    width: int, height: int, num: int
) -> None:
    """WS-MEDIA-4: inside the frame, one side full, the other within half a pixel."""
    aspect = Fraction(num, 45)
    w, h = fitted_size(width, height, aspect, 144, 96)
    shape = aspect * width / height
    assert 1 <= w <= 144
    assert 1 <= h <= 96
    assert w == 144 or h == 96
    assert abs(h - 144 / shape) <= 0.5 or abs(w - 96 * shape) <= 0.5 or 1 in (w, h)


def quarters() -> UInt8[np.ndarray, "96 160 3"]:
    """Red, green over blue, black."""
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:48, :80, 0] = picture[:48, 80:, 1] = picture[48:, :80, 2] = 255
    return picture


def near(picture: UInt8[np.ndarray, "h w 3"], y: int, x: int, colour: list[int]) -> bool:
    return np.allclose(picture[y, x], colour, rtol=0, atol=4)


def test_ws_media_4_bars_are_black_and_the_picture_is_centred() -> None:
    """WS-MEDIA-4: 160x96 into 96x96 leaves 19 rows above and below."""
    white = np.full((96, 160, 3), 255, np.uint8)
    boxed = fit(VideoFrame.from_ndarray(white, "rgb24"), Fraction(1), 96, 96)
    assert not boxed[:19].any()
    assert np.array_equal(boxed[19:77], np.full((58, 96, 3), 255))
    assert not boxed[77:].any()


def test_ws_media_4_pixel_aspect_is_respected() -> None:
    """WS-MEDIA-4: 80x96 with pixels twice as wide shows as 160x96."""
    white = np.full((96, 80, 3), 255, np.uint8)
    boxed = fit(VideoFrame.from_ndarray(white, "rgb24"), Fraction(2), 96, 192)
    assert np.array_equal(boxed[:, 16:176], np.full((96, 160, 3), 255))
    assert not boxed[:, :16].any()
    assert not boxed[:, 176:].any()


@pytest.mark.parametrize(
    ("rotation", "corners"),
    [  # red's corner and green's corner, as (y, x)
        (0, ((0, 0), (0, -1))),
        (90, ((-1, 0), (0, 0))),
        (180, ((-1, -1), (-1, 0))),
        (-90, ((0, -1), (-1, -1))),
    ],
)
def test_ws_media_4_rotation_metadata_is_respected(
    tmp_path: Path, rotation: int, corners: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    """WS-MEDIA-4: counter-clockwise quarter turns, read back from a container."""
    path = write_clip(
        tmp_path / "turned.mp4",
        pictures=np.stack([quarters()] * 4),
        video_codec="libx264rgb",
        pix_fmt="rgb24",
        rotation=rotation,
    )
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        height, width = (160, 96) if rotation % 180 else (96, 160)
        picture = fit(frame, Fraction(1), height, width)
    assert picture.shape == (height, width, 3)
    assert near(picture, *corners[0], [255, 0, 0])
    assert near(picture, *corners[1], [0, 255, 0])


def test_ws_media_4_a_turned_picture_turns_its_pixels_too(tmp_path: Path) -> None:
    """WS-MEDIA-4: 80x96 with double-wide pixels, turned, is 96x160 upright."""
    path = write_clip(
        tmp_path / "turned.mp4",
        pictures=np.full((4, 96, 80, 3), 255, np.uint8),
        video_codec="libx264rgb",
        pix_fmt="rgb24",
        rotation=90,
        pixel_aspect=Fraction(2),
    )
    with av.open(str(path)) as container:
        boxed = fit(next(container.decode(video=0)), Fraction(2), 160, 160)
    assert bool((boxed[:, 32:128] > 250).all())
    assert not boxed[:, :32].any()
    assert not boxed[:, 128:].any()


def test_ws_media_4_a_frame_of_the_right_size_is_unchanged() -> None:
    """WS-MEDIA-4: nothing is filtered when nothing needs scaling."""
    picture = np.random.default_rng(0).integers(0, 256, (96, 144, 3), dtype=np.uint8)
    frame = VideoFrame.from_ndarray(picture, "rgb24")
    assert np.array_equal(fit(frame, Fraction(1), 96, 144), picture)


def test_ws_media_5_pixels_become_a_signal() -> None:
    """WS-MEDIA-5: x / 127.5 - 1 in float32, channels first."""
    pictures = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    signal = to_signal(pictures)
    assert signal.shape == (1, 3, 16, 16)
    expected = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    for channel in range(3):
        assert np.array_equal(signal[0, channel].numpy().ravel(), expected)
    assert (float(signal.min()), float(signal.max())) == (-1.0, 1.0)
