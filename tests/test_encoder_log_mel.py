"""Causal log-mel: frames, window, filters and scale, against torchaudio and numpy."""

from __future__ import annotations

import warnings

import attrs
import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from reference import recipe
from reference.log_mel import hann, log_mel, log_mel_whole, mel_filters, mel_state
from spec.errors import TensorError
from spec.presets import TINY
from spec.sizes import Encoders

SIZES = TINY.encoders
WIDE = attrs.evolve(SIZES, n_mels=12, mel_window=320, mel_hop=320)


def voice(samples: int) -> torch.Tensor:
    return 0.1 * recipe.noise(11, 0, "voice", (1, samples), torch.float64)


def test_agrees_with_torchaudio_where_both_are_defined() -> None:
    """WS-ENCODER-2, WS-ENCODER-3, WS-ENCODER-4: torchaudio's uncentred mel spectrogram, whose
    frame i starts at i hops, on the clip after window - hop zeros."""
    x = voice(2560)
    theirs = torchaudio.transforms.MelSpectrogram(
        sample_rate=16_000,
        n_fft=SIZES.mel_window,
        hop_length=SIZES.mel_hop,
        n_mels=SIZES.n_mels,
        center=False,
        mel_scale="htk",
        norm=None,
    ).double()
    padded = torch.nn.functional.pad(x, (SIZES.mel_window - SIZES.mel_hop, 0))
    expected = (theirs(padded).clamp(min=1e-10).log10() + 4) / 4
    ours, _ = log_mel(x, mel_state(1, SIZES, torch.float64), SIZES)
    # Their window and filters are rounded to float32 before they are widened.
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert ours.shape == (1, SIZES.n_mels, 16)


def test_filters_are_torchaudios_htk_triangles() -> None:
    """WS-ENCODER-4: same triangles, rounded once."""
    for n_mels, window in ((20, 400), (12, 320), (80, 400)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of empty filters, which ours share
            theirs = torchaudio.functional.melscale_fbanks(
                window // 2 + 1, 0.0, 8000.0, n_mels, 16_000, norm=None, mel_scale="htk"
            )
        ours = mel_filters(n_mels, window, torch.float64)
        torch.testing.assert_close(ours, theirs.T.double(), rtol=0, atol=2e-5)


def test_window_is_periodic_hann() -> None:
    """WS-ENCODER-3: N points of a period, so the first is zero and the last is not."""
    expected = torch.hann_window(400, periodic=True, dtype=torch.float64)
    torch.testing.assert_close(hann(400, torch.float64), expected, rtol=0, atol=1e-15)
    assert hann(400, torch.float32).dtype == torch.float32


def test_one_frame_by_numpy() -> None:
    """WS-ENCODER-2, WS-ENCODER-3: frame 5 is the spectrum of the 400 samples that end with it."""
    x = voice(1600)
    end = 6 * SIZES.mel_hop
    cut = x[0, end - SIZES.mel_window : end].numpy()
    n = np.arange(SIZES.mel_window)
    window = 0.5 * (1 - np.cos(2 * np.pi * n / SIZES.mel_window))
    k = np.arange(SIZES.mel_window // 2 + 1)[:, None]
    dft = np.exp(-2j * np.pi * k * n / SIZES.mel_window) @ (cut * window)
    filters = mel_filters(SIZES.n_mels, SIZES.mel_window, torch.float64).numpy()
    expected = (np.log10(filters @ np.abs(dft) ** 2) + 4) / 4
    ours = log_mel_whole(x, SIZES)[0, :, 5].numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


def test_silence_is_the_floor() -> None:
    """WS-ENCODER-5: log10(1e-10) = -10, scaled to -1.5, in every band."""
    mel, _ = log_mel(torch.zeros(1, 640), mel_state(1, SIZES, torch.float32), SIZES)
    assert torch.equal(mel, torch.full((1, SIZES.n_mels, 4), -1.5))


@pytest.mark.parametrize("sizes", [SIZES, WIDE], ids=["overlapping", "no-context"])
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_chunked_equals_whole(sizes: Encoders, chunks: list[int]) -> None:
    """WS-ENCODER-2, WS-ENCODER-8: any chunks of whole hops; the state is window - hop samples."""
    x = voice(sum(chunks) * sizes.mel_hop)
    state, parts = mel_state(1, sizes, torch.float64), []
    for part in torch.split(x, [c * sizes.mel_hop for c in chunks], dim=1):
        mel, state = log_mel(part, state, sizes)
        assert state.shape == (1, sizes.mel_window - sizes.mel_hop)
        parts.append(mel)
    whole = log_mel_whole(x, sizes)
    torch.testing.assert_close(torch.cat(parts, dim=2), whole, rtol=0, atol=1e-10)


def test_a_frame_never_hears_the_next_sample() -> None:
    """WS-ENCODER-2: frame i ends with sample (i + 1) hop - 1, bit by bit."""
    x = voice(1600)
    changed = x.clone()
    changed[:, 5 * SIZES.mel_hop :] = 1.0
    before, after = log_mel_whole(x, SIZES), log_mel_whole(changed, SIZES)
    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert not torch.equal(before[:, :, 5], after[:, :, 5])


def test_a_chunk_that_splits_a_hop_is_refused() -> None:
    """WS-ENCODER-2: a part of a hop would shift every later frame."""
    with pytest.raises(TensorError, match="got 161; allowed: a positive multiple of 160"):
        log_mel(voice(161), mel_state(1, SIZES, torch.float64), SIZES)
