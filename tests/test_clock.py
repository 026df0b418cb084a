"""The clock is integers, and every unit is like every other."""

from __future__ import annotations

import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec import clock

UNITS = st.integers(0, 10**15)


def test_unit_is_160_ms_of_four_ticks() -> None:
    """WS-CLOCK-1, WS-CLOCK-2: the numbers of the specification, written out."""
    assert clock.UNIT_NS == 160_000_000
    assert clock.TICK_NS == 40_000_000
    assert clock.TICKS_PER_UNIT * clock.TICK_NS == clock.UNIT_NS
    assert clock.FPS == 25
    assert clock.FPS * clock.TICK_NS == 10**9
    assert clock.FRAMES_PER_UNIT == 4


def test_samples_of_a_unit() -> None:
    """WS-CLOCK-2, WS-CLOCK-3: both rates divide the unit and the tick without rest."""
    assert (clock.USER_AUDIO_HZ, clock.USER_SAMPLES_PER_UNIT) == (16_000, 2_560)
    assert (clock.AGENT_AUDIO_HZ, clock.AGENT_SAMPLES_PER_UNIT) == (24_000, 3_840)
    assert (clock.USER_SAMPLES_PER_TICK, clock.AGENT_SAMPLES_PER_TICK) == (640, 960)
    for rate, per_unit in ((16_000, 2_560), (24_000, 3_840)):
        assert rate * clock.UNIT_NS == per_unit * 10**9


@given(UNITS)
def test_units_lie_end_to_end(k: int) -> None:
    """WS-CLOCK-1: unit k starts at k · 160 ms, an exact integer however long the session is."""
    start = clock.unit_start_ns(k)
    assert type(start) is int
    assert start == k * 160 * 10**6
    assert clock.unit_start_ns(k + 1) - start == clock.UNIT_NS


@given(UNITS)
def test_unit_is_available_when_its_last_sample_is(k: int) -> None:
    """WS-CLOCK-5: at the end of the unit, which is the start of the next one, and no earlier."""
    assert type(clock.unit_available_ns(k)) is int
    assert clock.unit_available_ns(k) == (k + 1) * 160 * 10**6


@given(st.integers(0, 10**18))
def test_a_clip_fills_whole_units(duration: int) -> None:
    """WS-CLOCK-6: the fewest units that hold the clip; the last one may be padded."""
    units = clock.units_covering_ns(duration)
    assert type(units) is int
    assert units * clock.UNIT_NS >= duration > (units - 1) * clock.UNIT_NS


@pytest.mark.parametrize(
    ("duration", "units"),
    [(0, 0), (1, 1), (159_999_999, 1), (160_000_000, 1), (160_000_001, 2), (5_280_000_000, 33)],
)
def test_borders_of_the_last_unit(duration: int, units: int) -> None:
    """WS-CLOCK-6: one nanosecond past a border is one unit more."""
    assert clock.units_covering_ns(duration) == units


def test_video_strides_hold_for_every_unit() -> None:
    """WS-CLOCK-4: 4 frames and 1 latent frame a unit, 16x in space, the first unit included."""
    assert (clock.VIDEO_SPATIAL_STRIDE, clock.VIDEO_TEMPORAL_STRIDE) == (16, 4)
    preset = samples.SMALL
    codec = samples.model_of(preset).video_codec
    frames = torch.zeros(1, 3, 4, preset.frame_height, preset.frame_width, dtype=samples.F64)
    encoder, decoder = codec.encoder_state(1), codec.decoder_state(1)
    for _unit in range(3):
        posterior, encoder = codec.encode(frames, encoder)
        rows, cols = preset.frame_height // 16, preset.frame_width // 16
        assert posterior.mean.shape[2:] == (1, rows, cols)
        out, decoder = codec.decode(posterior.mean, decoder)
        assert out.shape == frames.shape
