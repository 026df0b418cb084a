"""The causal resampler: definition, delay, chunking, causality."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64

from reference.media.resample import delay, resample, start
from spec import clock

RATES = (4_000, 8_000, 11_025, 12_345, 15_000, 17_000, 22_050, 32_000, 44_100, 48_000, 96_000)


def noise(count: int, seed: int = 0) -> Float64[np.ndarray, "count"]:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, count)


def whole(samples: Float64[np.ndarray, "n"], rate: int) -> Float64[np.ndarray, "m"]:
    return resample(samples, start(rate))[0]


@pytest.mark.parametrize("rate", RATES)
def test_ws_media_6_agrees_with_torchaudio_shifted_by_the_delay(rate: int) -> None:
    """WS-MEDIA-6: second independent source, 1e-12 in float64."""
    x = noise(rate // 5)
    ours = whole(x, rate)
    theirs = torchaudio.functional.resample(
        torch.from_numpy(x), rate, 16_000, lowpass_filter_width=6, rolloff=0.99
    ).numpy()
    shift = delay(rate)
    assert len(ours) == len(theirs) == math.ceil(len(x) * 16_000 / rate)
    np.testing.assert_allclose(ours[shift:], theirs[: len(theirs) - shift], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [767_999, 768_000, 4_001])
def test_ws_media_6_reaches_the_ends_of_the_rate_range(rate: int) -> None:
    """WS-MEDIA-6: a slow sine comes out as the same sine, D samples later."""
    n = np.arange(rate // 4)
    y = whole(np.sin(2 * np.pi * 200 * n / rate), rate)
    at = np.arange(len(y)) - delay(rate)
    settled = slice(400, None)
    np.testing.assert_allclose(
        y[settled], np.sin(2 * np.pi * 200 * at / 16_000)[settled], atol=2e-3
    )


@given(
    rate=st.sampled_from(RATES) | st.integers(4_000, 60_000),
    cuts=st.lists(st.integers(0, 3_000), max_size=8),
)
def test_ws_media_6_chunked_equals_whole_bit_for_bit(rate: int, cuts: list[int]) -> None:
    """WS-MEDIA-6: the cutting of the input changes no bit of the output."""
    x = noise(3_000)
    borders = [0, *sorted(cuts), len(x)]
    state = start(rate)
    parts = []
    for left, right in pairwise(borders):
        out, state = resample(x[left:right], state)
        parts.append(out)
    assert np.array_equal(np.concatenate(parts), whole(x, rate))
    assert state.made == math.ceil(len(x) * 16_000 / rate)


@given(rate=st.sampled_from(RATES), at=st.integers(0, 2_999), unit=st.integers(0, 1))
def test_ws_media_7_output_never_depends_on_later_input(rate: int, at: int, unit: int) -> None:
    """WS-MEDIA-7: causality by perturbation, bit-exact: outputs before the changed input's time."""
    x = noise(3_000, seed=unit)
    changed = x.copy()
    changed[at:] = noise(3_000 - at, seed=9)
    before = -(-at * 16_000 // rate)
    one, other = whole(x, rate), whole(changed, rate)
    assert np.array_equal(one[:before], other[:before])
    assert before >= len(one) - delay(rate) - 1 or not np.array_equal(one, other)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_ws_media_7_the_delay_is_the_least_that_is_causal(rate: int) -> None:
    """WS-MEDIA-7: the window's right edge is within one output sample of the output's own time."""
    edge = 6 / (0.99 * min(rate, 16_000))
    assert delay(rate) - 1 < edge * 16_000 <= delay(rate)


def test_ws_media_7_states_its_numbers() -> None:
    """WS-MEDIA-7: the numbers that the clause gives."""
    given_rates = {4_000: 25, 8_000: 13, 16_000: 0, 44_100: 7, 48_000: 7, 768_000: 7}
    assert {rate: delay(rate) for rate in given_rates} == given_rates


def test_ws_media_7_an_impulse_arrives_after_the_delay() -> None:
    """WS-MEDIA-7: the peak of an impulse stands exactly D samples late."""
    x = np.zeros(4_800)
    x[2_400] = 1.0
    assert np.abs(whole(x, 48_000)).argmax() == 800 + delay(48_000)


def test_ws_media_7_sixteen_kilohertz_passes_through() -> None:
    """WS-MEDIA-7: bits unchanged, delay 0."""
    x = noise(clock.USER_SAMPLES_PER_UNIT)
    assert np.array_equal(whole(x, 16_000), x)


def test_ws_media_12_the_state_does_not_grow() -> None:
    """WS-MEDIA-12: what is kept is bounded by the filter's width, whatever has passed."""
    state = start(44_100)
    sizes = set()
    for seed in range(50):
        _, state = resample(noise(1_024, seed), state)
        sizes.add(len(state.tail))
    assert max(sizes) <= 64
