"""Building blocks, latents and patches, each against a second way to compute it."""

from __future__ import annotations

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from reference import recipe
from reference.audio_codec import AudioCodec
from reference.causal_blocks import (
    ChannelNorm,
    DepthToTime,
    DepthToVolume,
    Residual,
    SiLU,
    SpaceToDepth,
)
from reference.causal_vae import CausalVae
from reference.latent_norm import LatentNorm, Posterior, posterior_from_moments
from reference.patches import patchify, unpatchify
from reference.video_codec import VideoCodec
from spec.presets import TINY


def test_channel_norm_is_rms_over_channels_only() -> None:
    """WS-CODEC-7: each point is divided by its own channels' RMS, whatever stands beside it."""
    norm = ChannelNorm(5).double()
    recipe.fill(norm)
    x = recipe.noise(2, 0, "test", (2, 5, 3, 4, 2), torch.float64)
    y = norm.whole(x)
    for b, t, h, w in np.ndindex(2, 3, 4, 2):
        v = x[b, :, t, h, w].numpy()
        expected = norm.weight.detach().numpy() * v / np.sqrt(np.dot(v, v) / 5 + 1e-6)
        np.testing.assert_allclose(y[b, :, t, h, w].detach().numpy(), expected, atol=1e-13)


def test_norm_floor_is_one_millionth() -> None:
    """WS-CODEC-7: at x = 1e-3 in every channel the floor halves the power."""
    x = torch.full((1, 3, 1), 1e-3, dtype=torch.float64)
    expected = torch.full_like(x, 0.5**0.5)
    torch.testing.assert_close(ChannelNorm(3).double().whole(x), expected, rtol=1e-12, atol=0)


def test_residual_is_its_equation() -> None:
    """WS-CODEC-7: x + conv2(silu(norm2(conv1(silu(norm1(x)))))) by plain functions."""
    block = Residual(4).double()
    recipe.fill(block)
    p = dict(block.named_parameters())
    x = y = recipe.noise(2, 1, "test", (1, 4, 6), torch.float64)
    for i in ("1", "2"):
        y = p[f"norm{i}.weight"][:, None] * y / (y.square().sum(1, keepdim=True) / 4 + 1e-6).sqrt()
        y = y / (1 + torch.exp(-y))
        y = F.conv1d(F.pad(y, (2, 0)), p[f"conv{i}.weight"], p[f"conv{i}.bias"])
    torch.testing.assert_close(block.whole(x), x + y, rtol=0, atol=1e-12)


def test_silu() -> None:
    """WS-CODEC-7: x · sigmoid(x)."""
    x = torch.linspace(-9, 9, 31, dtype=torch.float64).reshape(1, 1, 31)
    torch.testing.assert_close(SiLU().whole(x), x * torch.sigmoid(x), rtol=1e-14, atol=0)


def test_rearrangements_by_index() -> None:
    """WS-CODEC-7: the sub-pixel index is the slow part of the channel index."""
    x = torch.arange(2 * 12 * 5, dtype=torch.float64).reshape(2, 12, 5)
    y = DepthToTime(3).whole(x)
    assert y.shape == (2, 4, 15)
    assert y[1, 2, 3 * 4 + 1] == x[1, 1 * 4 + 2, 4]

    v = torch.arange(24 * 2 * 3 * 5, dtype=torch.float64).reshape(1, 24, 2, 3, 5)
    u = DepthToVolume(2, 2).whole(v)
    assert u.shape == (1, 3, 4, 6, 10)
    s, p, q, c = 1, 0, 1, 2
    assert u[0, c, 2 * 1 + s, 2 * 2 + p, 2 * 4 + q] == v[0, ((s * 2 + p) * 2 + q) * 3 + c, 1, 2, 4]

    f = SpaceToDepth(2).whole(u)
    assert f[0, (1 * 2 + 0) * 3 + 2, 3, 1, 4] == u[0, 2, 3, 2 * 1 + 1, 2 * 4 + 0]
    assert torch.equal(DepthToVolume(1, 2).whole(f), u)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_patches_invert_and_run_row_by_row(c: int, p: int, rows: int, cols: int) -> None:
    """WS-CODEC-13: token r·cols + s holds the patch (r, s), channel slowest, column fastest."""
    z = recipe.noise(3, 0, "test", (2, c, rows * p, cols * p), torch.float64)
    tokens = patchify(z, p)
    assert torch.equal(unpatchify(tokens, p, rows), z)
    for r in range(rows):
        for s in range(cols):
            block = z[:, :, r * p : (r + 1) * p, s * p : (s + 1) * p]
            assert torch.equal(tokens[:, r * cols + s], block.reshape(2, -1))


def test_posterior_halves_and_clamp() -> None:
    """WS-CODEC-10: the mean is the first half; only the log-variance is clamped to [-30, 20]."""
    moments = torch.tensor([-50.0, 50.0, 3.0, -31.0, 21.0, 3.0]).reshape(1, 6, 1)
    posterior = posterior_from_moments(moments)
    assert posterior.mean.flatten().tolist() == [-50.0, 50.0, 3.0]
    assert posterior.log_variance.flatten().tolist() == [-30.0, 20.0, 3.0]


def test_latent_norm_is_affine_per_channel() -> None:
    """WS-CODEC-11: mean and variance transform as (z - μ) / σ does; denormalise is the inverse."""
    norm = LatentNorm(3).double()
    recipe.fill(norm)
    assert not any(p.requires_grad for p in norm.parameters())
    mean = recipe.noise(4, 0, "test", (2, 3, 5), torch.float64)
    posterior = norm.normalise(Posterior(mean=mean, log_variance=mean))
    mu, sigma = norm.latent_mean, norm.latent_std
    for c in range(3):
        torch.testing.assert_close(posterior.mean[:, c], (mean[:, c] - mu[c]) / sigma[c])
        variance = mean[:, c].exp() / sigma[c] ** 2
        torch.testing.assert_close(posterior.log_variance[:, c].exp(), variance)
    torch.testing.assert_close(norm.denormalise(posterior.mean), mean, rtol=0, atol=1e-14)


def test_both_paths_of_a_codec_normalise() -> None:
    """WS-CODEC-11: streaming and offline read and write normalised latents, raw ones never."""
    cases: list[tuple[CausalVae, tuple[int, ...], tuple[int, ...]]] = [
        (VideoCodec(TINY), (1, 3, 4, 96, 144), (1, 5, 1, 6, 9)),
        (AudioCodec(TINY), (1, 960), (1, 7, 1)),
    ]
    for codec, signal_shape, latent_shape in cases:
        recipe.fill(codec)
        codec.double()
        x = recipe.noise(5, 0, "x", signal_shape, torch.float64)
        z = recipe.noise(5, 0, "z", latent_shape, torch.float64)
        raw = codec.encoder.whole(x if x.ndim > 2 else x[:, None])
        expected = codec.latent_norm.normalise(posterior_from_moments(raw))
        streamed, _ = codec.encode(x, codec.encoder_state(1))
        for got in (streamed, codec.encode_whole(x)):
            for field in attrs.fields(Posterior):
                torch.testing.assert_close(getattr(got, field.name), getattr(expected, field.name))
        decoded = codec.decoder.whole(codec.latent_norm.denormalise(z)).reshape(-1)
        streamed_signal, _ = codec.decode(z, codec.decoder_state(1))
        for signal in (streamed_signal, codec.decode_whole(z)):
            torch.testing.assert_close(signal.reshape(-1), decoded)
