"""Every codec and encoder rebuilt from its clause, by plain functions of the public library.

The blocks are those of WS-CODEC-7.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference import recipe
from reference.audio_codec import AudioCodec
from reference.audio_encoder import AudioEncoder
from reference.log_mel import log_mel_whole
from reference.patches import patchify
from reference.video_codec import VideoCodec
from reference.video_encoder import VideoEncoder
from spec.presets import TINY

Weights = Mapping[str, Tensor]


def filled(module: nn.Module) -> Weights:
    recipe.fill(module)
    return dict(module.double().named_parameters())


def conv(x: Tensor, p: Weights, name: str, stride: int = 1) -> Tensor:
    """One convolution on a clip that was padded by hand."""
    weight = p[f"{name}.weight"]
    left = weight.shape[2] - stride
    if weight.ndim == 3:
        return F.conv1d(F.pad(x, (left, 0)), weight, p[f"{name}.bias"], stride)
    side = (weight.shape[3] - stride) // 2
    x = F.pad(x, (side, side, side, side, left, 0))
    return F.conv3d(x, weight, p[f"{name}.bias"], stride)


def norm(x: Tensor, p: Weights, name: str) -> Tensor:
    weight = p[f"{name}.weight"].reshape(-1, *[1] * (x.ndim - 2))
    return x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() * weight


def residual(x: Tensor, p: Weights, name: str) -> Tensor:
    y = conv(F.silu(norm(x, p, f"{name}.norm1")), p, f"{name}.conv1")
    return x + conv(F.silu(norm(y, p, f"{name}.norm2")), p, f"{name}.conv2")


def upsample(x: Tensor, *factors: int) -> Tensor:
    """Channels to points, one axis at a time: the first factor is the slowest."""
    for axis, factor in enumerate(factors, start=2):
        groups = x.chunk(factor, dim=1)
        x = torch.stack(groups, dim=axis + 1).flatten(axis, axis + 1)
    return x


def video_trunk(frames: Tensor, p: Weights, at: str) -> Tensor:
    b, c, t, h, w = frames.shape
    x = frames.reshape(b, c, t, h // 4, 4, w // 4, 4).permute(0, 4, 6, 1, 2, 3, 5)
    x = conv(x.reshape(b, 16 * c, t, h // 4, w // 4), p, f"{at}.stem")
    x = residual(conv(x, p, f"{at}.down1", 2), p, f"{at}.residual1")
    x = residual(conv(x, p, f"{at}.down2", 2), p, f"{at}.residual2")
    return norm(x, p, f"{at}.norm")


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-11)


def test_video_encoder() -> None:
    """WS-CODEC-8: the trunk, SiLU, head; the mean is the first half (WS-CODEC-10)."""
    codec = VideoCodec(TINY)
    p = filled(codec)
    frames = 0.5 * recipe.noise(13, 0, "seen", (1, 3, 8, 96, 144), torch.float64)
    moments = conv(F.silu(video_trunk(frames, p, "encoder")), p, "encoder.head")
    posterior = codec.encode_whole(frames)
    close(codec.latent_norm.denormalise(posterior.mean), moments[:, :5])
    log_sigma = p["latent_norm.latent_std"].log().reshape(-1, 1, 1, 1)
    close(posterior.log_variance, moments[:, 5:] - 2 * log_sigma)


def test_video_decoder() -> None:
    """WS-CODEC-8, WS-CODEC-11: stem, two residual and sub-pixel stages, norm, SiLU, head."""
    codec = VideoCodec(TINY)
    p = filled(codec)
    z = recipe.noise(13, 1, "latents", (1, 5, 2, 6, 9), torch.float64)
    mu, sigma = (p[f"latent_norm.latent_{k}"].reshape(-1, 1, 1, 1) for k in ("mean", "std"))
    y = residual(conv(z * sigma + mu, p, "decoder.stem"), p, "decoder.residual2")
    y = residual(upsample(conv(y, p, "decoder.up2"), 2, 2, 2), p, "decoder.residual1")
    y = F.silu(norm(upsample(conv(y, p, "decoder.up1"), 2, 2, 2), p, "decoder.norm"))
    close(codec.decode_whole(z), upsample(conv(y, p, "decoder.head"), 1, 4, 4))


def test_audio_encoder() -> None:
    """WS-CODEC-9: stem, strided stages with a residual block each, norm, SiLU, head."""
    codec = AudioCodec(TINY)
    p = filled(codec)
    x = 0.3 * recipe.noise(14, 0, "wave", (1, 1, 3840), torch.float64)
    y = conv(x, p, "encoder.stem")
    for i, stride in enumerate(TINY.audio_codec.strides):
        y = residual(conv(y, p, f"encoder.down{i}", stride), p, f"encoder.residual{i}")
    moments = conv(F.silu(norm(y, p, "encoder.norm")), p, "encoder.head")
    mean = codec.encode_whole(x[:, 0]).mean
    close(codec.latent_norm.denormalise(mean), moments[:, :7])


def test_audio_decoder() -> None:
    """WS-CODEC-9, WS-CODEC-11: stem, residual and sub-pixel stages, norm, SiLU, head."""
    codec = AudioCodec(TINY)
    p = filled(codec)
    z = recipe.noise(14, 1, "latents", (1, 7, 4), torch.float64)
    mu, sigma = (p[f"latent_norm.latent_{k}"][:, None] for k in ("mean", "std"))
    y = conv(z * sigma + mu, p, "decoder.stem")
    for i, stride in reversed(list(enumerate(TINY.audio_codec.strides))):
        y = conv(residual(y, p, f"decoder.residual{i}"), p, f"decoder.up{i}")
        y = upsample(y, stride)
    wave = conv(F.silu(norm(y, p, "decoder.norm")), p, "decoder.head")
    close(codec.decode_whole(z), wave[:, 0])


def test_user_audio() -> None:
    """WS-ENCODER-6: log-mel, stem, SiLU, strided convolution, residual block, norm."""
    encoder = AudioEncoder(TINY)
    p = filled(encoder)
    x = 0.1 * recipe.noise(12, 0, "voice", (1, 5120), torch.float64)
    y = F.silu(conv(log_mel_whole(x, TINY.encoders), p, "trunk.stem"))
    y = residual(conv(y, p, "trunk.down", 4), p, "trunk.residual")
    expected = norm(y, p, "trunk.norm").movedim(1, 2)
    assert expected.shape == (1, 8, encoder.feature_dim)
    close(encoder.encode_whole(x), expected)


def test_user_video() -> None:
    """WS-ENCODER-7: the trunk with its own weights, then patches, unit by unit, row-major."""
    encoder = VideoEncoder(TINY)
    p = filled(encoder)
    frames = 0.5 * recipe.noise(13, 0, "seen", (1, 3, 8, 96, 144), torch.float64)
    grid = video_trunk(frames, p, "trunk")
    expected = torch.cat([patchify(grid[:, :, k], 3) for k in range(2)], dim=1)
    assert expected.shape == (1, 2 * 6, encoder.feature_dim)
    close(encoder.encode_whole(frames), expected)
