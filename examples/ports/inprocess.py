"""A port in the suite's own process: the codec profile in plain PyTorch, from the pages alone.

    PYTHONPATH=examples/ports wanstreamer check --port inprocess:Port --profile codec

A Python port is an object with the methods of `conformance.protocol.Port`. It derives from
`BasePort`, which answers "unsupported" to all that it does not override, and takes and gives numpy
arrays. Nothing of the reference is used here: weights by the recipe (``spec/recipe.md``), layers by
``spec/codec.md`` and ``spec/encoder.md``, sizes from the preset.
"""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from conformance.base_port import BasePort
from conformance.protocol import Array, CodecRequest, Hello, Unsupported
from conformance.shapes import codec_shapes
from spec.errors import TensorError
from spec.presets import preset_named
from spec.sizes import Preset

EPS = 1e-6
RULES = (
    (r"latent_std$", 0.25, 1.0, False),
    (r"latent_mean$", 0.25, 0.0, False),
    (r"norm[0-9]*\.weight$", 0.25, 1.0, False),
    (r"\.bias$", 0.125, 0.0, False),
    (r"decoder\.head\.weight$", 0.5, 0.0, True),
    (r"weight$", 1.0, 0.0, True),
)
"""Those of WS-RECIPE-3 that a codec needs: pattern, gain, center, scaled by the fan-in or not."""


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The weight called ``name``, float32 (WS-RECIPE-1, WS-RECIPE-2, WS-RECIPE-3)."""
    key = hashlib.sha256(f"weights/{name}".encode()).digest()[:8]
    n = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    z = np.frombuffer(key, "<u8") + n * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word = z ^ (z >> np.uint64(31))
    u = (2.0 * (word >> np.uint64(40)).astype(np.float64) + 1 - 2**24) / 2**24
    gain, center, scaled = next(rule[1:] for rule in RULES if re.search(rule[0], name))
    bound = math.sqrt(3 / math.prod(shape[1:])) * gain if scaled else gain
    return torch.from_numpy((center + bound * u).astype(np.float32).reshape(shape))


class Stream:
    """One codec or encoder from a fresh start. Tensors are [channels, time, ...]; ``past`` holds
    what each convolution still has to see of its input (WS-CODEC-5)."""

    def __init__(self, root: str, dtype: torch.dtype) -> None:
        self.root, self.dtype = root, dtype
        self.past: dict[str, Tensor] = {}

    def weight(self, name: str, *shape: int) -> Tensor:
        return weight(f"{self.root}.{name}", shape).to(self.dtype)

    def before(self, x: Tensor, name: str, length: int) -> Tensor:
        """``x`` with the ``length`` time steps before it, zeros at first (WS-CODEC-4)."""
        zeros = x.new_zeros(x.shape[0], length, *x.shape[2:])
        seen = torch.cat((self.past.get(name, zeros), x), dim=1)
        self.past[name] = seen[:, seen.shape[1] - length :]
        return seen

    def conv(
        self, x: Tensor, name: str, out: int, kernel: int = 3, time: int = 0, s: int = 1
    ) -> Tensor:
        """WS-CODEC-3, with a kernel of its own along ``time`` if there is one."""
        space = x.ndim - 2
        time = time or kernel
        w = self.weight(f"{name}.weight", out, x.shape[0], time, *(kernel,) * space)
        b = self.weight(f"{name}.bias", out)
        x = self.before(x, name, time - s)[None]
        if space:
            return F.conv3d(
                x, w, b, s if time > 1 else 1, (0, (kernel - s) // 2, (kernel - s) // 2)
            )[0]
        return F.conv1d(x, w, b, s)[0]

    def norm(self, x: Tensor, name: str) -> Tensor:
        w = self.weight(f"{name}.weight", x.shape[0]).reshape(-1, *(1,) * (x.ndim - 1))
        return w * x / (x.square().mean(0, keepdim=True) + EPS).sqrt()

    def residual(self, x: Tensor, name: str) -> Tensor:
        y = self.conv(F.silu(self.norm(x, f"{name}.norm1")), f"{name}.conv1", x.shape[0])
        return x + self.conv(F.silu(self.norm(y, f"{name}.norm2")), f"{name}.conv2", x.shape[0])

    def latents(self, x: Tensor, channels: int, *, into: bool) -> Tensor:
        """Normalised when they come out of an encoder, raw ``into`` a decoder (WS-CODEC-11)."""
        shape = (-1, *(1,) * (x.ndim - 1))
        mean = self.weight("latent_norm.latent_mean", channels).reshape(shape)
        std = self.weight("latent_norm.latent_std", channels).reshape(shape)
        return x * std + mean if into else (x[:channels] - mean) / std


def depth(x: Tensor, p: int) -> Tensor:
    """Space to depth (WS-CODEC-7)."""
    c, t, h, w = x.shape
    y = x.reshape(c, t, h // p, p, w // p, p).permute(3, 5, 0, 1, 2, 4)
    return y.reshape(p * p * c, t, h // p, w // p)


def up(x: Tensor, s: int, p: int = 1) -> Tensor:
    """Channels to s steps of time, and to p by p points of space where there is space."""
    if x.ndim == 2:
        return x.reshape(s, -1, x.shape[1]).permute(1, 2, 0).flatten(1)
    y = x.reshape(s, p, p, -1, *x.shape[1:]).permute(3, 4, 0, 5, 1, 6, 2)
    return y.flatten(5).flatten(3, 4).flatten(1, 2)


def video_trunk(s: Stream, x: Tensor, prefix: str, widths: tuple[int, ...]) -> Tensor:
    """WS-CODEC-8 up to ``norm``."""
    x = s.conv(depth(x, 4), f"{prefix}.stem", widths[0], 3, time=1)
    for i in (1, 2):
        x = s.residual(s.conv(x, f"{prefix}.down{i}", widths[i], 4, s=2), f"{prefix}.residual{i}")
    return s.norm(x, f"{prefix}.norm")


def video_encode(s: Stream, p: Preset, data: Tensor) -> Tensor:
    sizes = p.video_codec
    x = F.silu(video_trunk(s, data.transpose(0, 1), "encoder", sizes.channels))
    x = s.conv(x, "encoder.head", 2 * sizes.latent_channels)
    return s.latents(x, sizes.latent_channels, into=False).transpose(0, 1)


def video_decode(s: Stream, p: Preset, data: Tensor) -> Tensor:
    c = p.video_codec.channels
    x = s.latents(data.transpose(0, 1), p.video_codec.latent_channels, into=True)
    x = s.residual(s.conv(x, "decoder.stem", c[2]), "decoder.residual2")
    x = s.residual(up(s.conv(x, "decoder.up2", 8 * c[1]), 2, 2), "decoder.residual1")
    x = F.silu(s.norm(up(s.conv(x, "decoder.up1", 8 * c[0]), 2, 2), "decoder.norm"))
    return up(s.conv(x, "decoder.head", 48), 1, 4).transpose(0, 1)


def audio_encode(s: Stream, p: Preset, data: Tensor) -> Tensor:
    sizes = p.audio_codec
    x = s.conv(data[None], "encoder.stem", sizes.channels[0], 7)
    for i, stride in enumerate(sizes.strides):
        x = s.conv(x, f"encoder.down{i}", sizes.channels[i + 1], 2 * stride, s=stride)
        x = s.residual(x, f"encoder.residual{i}")
    x = s.conv(F.silu(s.norm(x, "encoder.norm")), "encoder.head", 2 * sizes.latent_channels)
    return s.latents(x, sizes.latent_channels, into=False).T


def audio_decode(s: Stream, p: Preset, data: Tensor) -> Tensor:
    sizes = p.audio_codec
    x = s.latents(data.T, sizes.latent_channels, into=True)
    x = s.conv(x, "decoder.stem", sizes.channels[-1])
    for i, stride in reversed([*enumerate(sizes.strides)]):
        x = s.residual(x, f"decoder.residual{i}")
        x = up(s.conv(x, f"decoder.up{i}", stride * sizes.channels[i]), stride)
    return s.conv(F.silu(s.norm(x, "decoder.norm")), "decoder.head", 1, 7)[0]


def log_mel(s: Stream, p: Preset, samples: Tensor) -> Tensor:
    """[mels, T / hop] (WS-ENCODER-2 to WS-ENCODER-5)."""
    sizes = p.encoders
    window, hop = sizes.mel_window, sizes.mel_hop
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, sizes.n_mels + 2) / 2595) - 1)
    hz = np.arange(window // 2 + 1) * 16000 / window
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = np.maximum(0, np.minimum((hz - low) / (peak - low), (high - hz) / (high - peak)))
    frames = s.before(samples[None], "mel", window - hop)[0].unfold(0, window, hop)
    power: Tensor = torch.fft.rfft(frames * torch.from_numpy(hann).to(s.dtype)).abs().square()
    mel: Tensor = power @ torch.from_numpy(filters).to(s.dtype).T
    return ((mel.clamp(min=1e-10).log10() + 4) / 4).T


def audio_features(s: Stream, p: Preset, data: Tensor) -> Tensor:
    c, f = p.encoders.audio_channels, 640 // p.encoders.mel_hop
    x = F.silu(s.conv(log_mel(s, p, data), "trunk.stem", c))
    x = s.residual(s.conv(x, "trunk.down", c, 2 * f, s=f), "trunk.residual")
    return s.norm(x, "trunk.norm").T


def video_features(s: Stream, p: Preset, data: Tensor) -> Tensor:
    x = video_trunk(s, data.transpose(0, 1), "trunk", p.encoders.video_channels)
    c, t, h, w = x.shape
    n = p.video_codec.patch
    tokens = x.reshape(c, t, h // n, n, w // n, n).permute(1, 2, 4, 0, 3, 5)
    return tokens.reshape(-1, c * n * n)


PARTS = {
    "video_codec.encode": video_encode,
    "video_codec.decode": video_decode,
    "audio_codec.encode": audio_encode,
    "audio_codec.decode": audio_decode,
    "audio_encoder": audio_features,
    "video_encoder": video_features,
}


class Port(BasePort):
    """See `conformance.protocol.Port`."""

    def hello(self) -> Hello:
        return Hello(
            name="inprocess",
            version="1.0",
            profiles=("codec",),
            dtypes=("float32", "float64"),
            deterministic=True,
            features=("codec",),
        )

    def codec(self, request: CodecRequest, data: Array) -> Array:
        if request.dtype not in self.hello().dtypes:
            raise Unsupported(request.dtype)
        preset = preset_named(request.preset)
        per_unit = codec_shapes(preset, request.part, 1)[0]
        units = sum(request.plan) or data.shape[0] // per_unit[0]
        if data.shape != (units * per_unit[0], *per_unit[1:]) or not np.isfinite(data).all():
            raise TensorError(request.part, data.shape, f"{units} whole units, all finite")
        stream = Stream(request.part.partition(".")[0], getattr(torch, request.dtype))
        lengths = [n * per_unit[0] for n in request.plan or (units,)]
        with torch.no_grad():
            chunks = torch.split(torch.tensor(data), lengths)
            made = [PARTS[request.part](stream, preset, chunk) for chunk in chunks]
        return torch.cat(made).numpy()
