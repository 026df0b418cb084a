"""User audio: scaling and mixing, the gapless signal, units."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.audio.frame import AudioFrame
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64
from media_clips import noise

from reference.media import resample
from reference.media.audio import UserAudio, gapless, to_mono
from reference.media.source import Timed
from spec.errors import MediaError

CLIP = Path("clip.mkv")


def frame_of(raw: np.ndarray, fmt: str, layout: str) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(raw), fmt, layout)
    frame.sample_rate = 16_000
    frame.time_base = Fraction(1, 16_000)
    return frame


@pytest.mark.parametrize(
    ("fmt", "raw", "expected"),
    [
        ("u8", [[0, 128, 255]], [-1.0, 0.0, 127 / 128]),
        ("s16", [[-32_768, 0, 32_767]], [-1.0, 0.0, 32_767 / 32_768]),
        ("s32", [[-(2**31), 0, 2**30]], [-1.0, 0.0, 0.5]),
        ("fltp", [[-1.0, 0.25, 1.5]], [-1.0, 0.25, 1.5]),
        ("dbl", [[-1.0, 0.1, 1.0]], [-1.0, 0.1, 1.0]),
    ],
)
def test_ws_media_8_full_scale_is_one(
    fmt: str, raw: list[list[float]], expected: list[float]
) -> None:
    """WS-MEDIA-8: every sample format on the same scale."""
    dtypes = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "fltp": np.float32}
    frame = frame_of(np.array(raw, dtypes.get(fmt, np.float64)), fmt, "mono")
    assert to_mono(frame, CLIP).tolist() == expected


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
@pytest.mark.parametrize("planar", [True, False])
def test_ws_media_8_mono_is_the_mean_of_the_channels(
    layout: str, channels: int, *, planar: bool
) -> None:
    """WS-MEDIA-8: planar and packed, one to six channels, float64."""
    sound = noise(channels, 500).astype(np.float32)
    raw = sound if planar else sound.T.reshape(1, -1)
    frame = frame_of(raw, "fltp" if planar else "flt", layout)
    assert np.array_equal(to_mono(frame, CLIP), sound.astype(np.float64).mean(axis=0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ws_media_10_nan_and_inf_are_refused(bad: float) -> None:
    """WS-MEDIA-10: one line, not silence and not noise."""
    raw = np.zeros((2, 100), np.float32)
    raw[1, 50] = bad
    with pytest.raises(MediaError, match="NaN or Inf"):
        to_mono(frame_of(raw, "fltp", "stereo"), CLIP)


def test_ws_media_8_an_encoders_padding_is_left_out() -> None:
    """WS-MEDIA-8: samples past the stated duration, where the container counts samples."""
    frame = frame_of(np.ones((1, 1_024), np.float32), "fltp", "mono")
    frame.duration = 768
    assert len(to_mono(frame, CLIP)) == 768
    frame.time_base = Fraction(1, 1_000)
    for rounded in (63, 64):
        frame.duration = rounded
        assert len(to_mono(frame, CLIP)) == 1_024


def block(start_ms: float, samples: Float64[np.ndarray, "n"], rate: int) -> Timed[np.ndarray]:
    start = round(start_ms * 1_000_000)
    return Timed(start_ns=start, end_ns=start + len(samples) * 10**9 // rate, data=samples)


def joined(blocks: list[Timed[np.ndarray]], rate: int = 8_000) -> Float64[np.ndarray, "n"]:
    return np.concatenate(list(gapless(iter(blocks), rate)))


def test_ws_media_9_late_audio_is_preceded_by_silence() -> None:
    """WS-MEDIA-9: the first block stands at its own sample, however small the lead."""
    signal = joined([block(5, np.ones(800), 8_000)])
    assert signal.tolist() == [0.0] * 40 + [1.0] * 800
    # 0.1 ms are 0.8 of a sample, 0.05 ms are 0.4.
    for start_ms, silent in ((0.1, 1), (0.05, 0)):
        assert joined([block(start_ms, np.ones(8), 8_000)]).tolist() == [0.0] * silent + [1.0] * 8


def test_ws_media_9_gaps_are_silence_and_overlaps_are_dropped() -> None:
    """WS-MEDIA-9: both counted in samples."""
    one, two, three = (np.full(800, value) for value in (1.0, 2.0, 3.0))
    gap = joined([block(0, one, 8_000), block(150, two, 8_000)])
    assert gap.tolist() == [1.0] * 800 + [0.0] * 400 + [2.0] * 800
    overlap = joined([block(0, one, 8_000), block(50, two, 8_000), block(60, three, 8_000)])
    assert overlap.tolist() == [1.0] * 800 + [2.0] * 400 + [3.0] * 80


def test_ws_media_9_more_than_half_a_tick_off_is_no_jitter() -> None:
    """WS-MEDIA-9: 21 ms late is a gap, 21 ms early an overlap of 168 samples."""
    one, two = np.full(800, 1.0), np.arange(800.0)
    late = joined([block(0, one, 8_000), block(121, two, 8_000)])
    assert late.tolist() == [1.0] * 800 + [0.0] * 168 + two.tolist()
    early = joined([block(0, one, 8_000), block(79, two, 8_000)])
    assert early.tolist() == [1.0] * 800 + two[168:].tolist()


@given(jitter=st.lists(st.integers(-20, 20), min_size=1, max_size=12))
def test_ws_media_9_rounded_time_stamps_leave_no_holes(jitter: list[int]) -> None:
    """WS-MEDIA-9: 20 ms either way, as containers with coarse time bases write."""
    blocks = [block(100 * i + (j if i else 0), np.ones(800), 8_000) for i, j in enumerate(jitter)]
    assert joined(blocks).tolist() == [1.0] * 800 * len(jitter)


def test_ws_media_12_a_long_gap_comes_in_pieces() -> None:
    """WS-MEDIA-12: an hour of silence is never one array."""
    blocks = [block(3_600_000, np.ones(1), 8_000)]
    assert max(len(piece) for piece in gapless(iter(blocks), 8_000)) <= 8_000


def units_of(sound: Float64[np.ndarray, "n"], rate: int, size: int) -> list[np.ndarray]:
    pieces = iter([sound[at : at + size] for at in range(0, len(sound), size)])
    audio = UserAudio(pieces, rate)
    units = []
    while audio.has_unit():
        units.append(audio.unit())
    return units


@given(rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]), size=st.integers(300, 9_000))
def test_ws_media_6_units_do_not_depend_on_the_blocks(rate: int, size: int) -> None:
    """WS-MEDIA-6: any cutting into packets gives the same units, bit for bit;
    the 20 ms after unit 2 do not reach a midpoint and make no unit (WS-MEDIA-2)."""
    sound = noise(1, rate // 2)[0]
    one, other = units_of(sound, rate, size), units_of(sound, rate, 1_024)
    assert len(one) == len(other) == 3
    assert np.array_equal(np.stack(one), np.stack(other))


@given(count=st.integers(2_560, 11_000))
def test_ws_media_2_audio_alone_gives_the_units(count: int) -> None:
    """WS-MEDIA-2: ticks whose midpoint lies in the audio, filled up with silence."""
    units = units_of(np.ones(count), 16_000, 700)
    ticks = sum(1 for n in range(20) if 640 * n + 320 < count)
    assert len(units) == -(-ticks // 4)
    signal = np.concatenate(units)
    assert (signal[: min(count, len(signal))] == 1.0).all()
    assert (signal[count:] == 0.0).all()


def test_ws_media_2_audio_goes_on_as_silence() -> None:
    """WS-MEDIA-2: after the end, for as long as it is asked."""
    audio = UserAudio(iter([np.ones(100)]), 16_000)
    first, second = audio.unit(), audio.unit()
    assert first.tolist() == [1.0] * 100 + [0.0] * 2_460
    assert not second.any()


def test_ws_media_8_samples_beyond_full_scale_are_clipped() -> None:
    """WS-MEDIA-8: float PCM may exceed ±1; a unit does not."""
    unit = UserAudio(iter([np.array([7.0, -7.0, 0.5])]), 16_000).unit()
    assert unit[:3].tolist() == [1.0, -1.0, 0.5]


def test_ws_media_8_clipping_comes_after_resampling() -> None:
    """WS-MEDIA-8: the resampler is given the samples as they are, beyond full scale or not."""
    sound = 4 * noise(1, 8_000)[0]
    resampled, _ = resample.resample(sound, resample.start(48_000))
    unit = UserAudio(iter([sound]), 48_000).unit()
    assert np.abs(resampled[:2_560]).max() > 1
    assert np.array_equal(unit, np.clip(resampled[:2_560], -1.0, 1.0))


def test_ws_media_12_the_buffer_is_bounded() -> None:
    """WS-MEDIA-12: at most a unit and a block are held, whatever has passed."""

    def endless() -> Iterator[Float64[np.ndarray, "n"]]:
        while True:
            yield np.zeros(1_024)

    audio = UserAudio(endless(), 44_100)
    for _ in range(200):
        audio.unit()
        assert audio.buffered_samples <= 1_024 + 2 * resample.half_taps(44_100)
