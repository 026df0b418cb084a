"""Ports whose codecs are right at first, right for loud signals, or right but for a little."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import by_class, patched
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, CodecRequest
from reference import causal_blocks, log_mel
from reference.causal_conv import CausalConv, State

CONV_STEP = CausalConv.step
CONV_WHOLE = CausalConv.whole
SCALED_MEL = log_mel.scaled_log_mel


class AfterManyUnits(ReferencePort):
    """The streaming state is lost once, after 32 units."""

    name = "state-lost-after-32-units"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        result = super().codec(request, data)
        units = sum(request.plan)
        if units <= 32:
            return result
        cut, out = 32 * len(data) // units, 32 * len(result) // units
        first = CodecRequest(
            preset=request.preset, dtype=request.dtype, part=request.part, plan=(units - 32,)
        )
        return np.concatenate([result[:out], super().codec(first, data[cut:])])


class AutomaticGain(ReferencePort):
    """A slow automatic gain levels the signal: each unit is scaled a little by those before it."""

    name = "automatic-gain"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        if request.part != "audio_codec.encode":
            return super().codec(request, data)
        power = np.cumsum(data.astype(np.float64) ** 2) / np.arange(1, len(data) + 1)
        gain = 1 + 1e-3 * (np.sqrt(power) - 0.5)
        return super().codec(request, (data * gain).astype(data.dtype))


class NoiseGate(ReferencePort):
    """What is quieter than 0.001 is taken for silence."""

    name = "noise-gate"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        gated = np.where(np.abs(data) < 1e-3, data.dtype.type(0), data)
        return super().codec(request, gated if "audio" in request.part else data)


class Clipped(ReferencePort):
    """Samples and pixels are clipped to ±0.99 on the way in."""

    name = "clipped-input"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        limit = data.dtype.type(0.99)
        decoding = request.part.endswith("decode")
        return super().codec(request, data if decoding else np.clip(data, -limit, limit))


class BlueFirst(ReferencePort):
    """The codec reads its colours in the order blue, green, red."""

    name = "blue-green-red"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        swapped = np.ascontiguousarray(data[:, ::-1]) if "video" in request.part else data
        encoding = not request.part.endswith("decode")
        return super().codec(request, swapped if encoding else data)


class LastUnitHeld(ReferencePort):
    """Offline, the last two samples of the whole input are averaged."""

    name = "end-of-clip-smoothed"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        if request.plan or request.part != "audio_codec.encode":
            return super().codec(request, data)
        smoothed = data.copy()
        smoothed[-2:] = data[-2:].mean()
        return super().codec(request, smoothed)


class NotANumber(ReferencePort):
    """NaN and infinity are silently replaced by zero."""

    name = "nan-to-zero"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        return super().codec(request, np.nan_to_num(data, posinf=0.0, neginf=0.0))


def context_of_silence(self: CausalConv, x: Tensor) -> Tensor:
    """The left context before unit 0 is a small constant, not zero."""
    past = x.new_full((*x.shape[:2], self.context, *x.shape[3:]), 1e-4)
    return self._convolve(torch.cat([past, x], dim=2), time_padding=0)


def state_in_half(self: CausalConv, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The streaming state is kept in bfloat16."""
    y, state = CONV_STEP(self, x, state)
    return y, tuple(part.bfloat16().to(part.dtype) for part in state)


def flipped_kernel(self: CausalConv, x: Tensor) -> Tensor:
    """Convolution as in mathematics: the kernel is turned round in time."""
    kept = self.weight.data
    try:
        self.weight.data = kept.flip(2)
        return CONV_WHOLE(self, x)
    finally:
        self.weight.data = kept


def symmetric_hann(window: int, dtype: torch.dtype) -> Tensor:
    """The symmetric window, which reaches zero at both ends."""
    n = torch.arange(window, dtype=torch.float64)
    return (0.5 - 0.5 * torch.cos(2 * torch.pi * n / (window - 1))).to(dtype)


def amplitude_mel(windows: Tensor, sizes: Any) -> Tensor:
    """Magnitude instead of power: half the slope, and another floor."""
    return (SCALED_MEL(windows, sizes) * 4 - 4) / 2 / 4 + 1


def higher_floor(windows: Tensor, sizes: Any) -> Tensor:
    """A floor of 1e-8 instead of 1e-10: only near-silence shows it."""
    return SCALED_MEL(windows, sizes).clamp(min=(-8 + 4) / 4)


class Leaky:
    """`torch.nn.functional` with an activation that is nearly the right one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.nn.functional, name)

    def silu(self, x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x) + 1e-4 * x


MUTANTS = (
    by_class("WS-CODEC-5", AfterManyUnits),
    by_class("WS-CODEC-12", AutomaticGain),
    by_class("WS-CODEC-5", NoiseGate),
    by_class("WS-CODEC-8", Clipped),
    by_class("WS-CODEC-8", BlueFirst),
    by_class("WS-CODEC-5", LastUnitHeld),
    by_class("WS-CONFORMANCE-4", NotANumber),
    patched(
        "quiet-hum-before-unit-0", "WS-CODEC-4", "offline, the left context is 0.0001, not zero",
        (CausalConv, "whole", context_of_silence),
    ),
    patched(
        "codec-state-in-bfloat16", "WS-CODEC-5", "the streaming state is rounded to bfloat16",
        (CausalConv, "step", state_in_half),
    ),
    patched(
        "kernel-turned-round", "WS-CODEC-3", "offline, kernels are flipped in time",
        (CausalConv, "whole", flipped_kernel),
    ),
    patched(
        "hann-symmetric", "WS-ENCODER-3", "the analysis window is symmetric, not periodic",
        (log_mel, "hann", symmetric_hann),
    ),
    patched(
        "mel-of-magnitude", "WS-ENCODER-5", "the logarithm is taken of magnitudes, not of powers",
        (log_mel, "scaled_log_mel", amplitude_mel),
    ),
    patched(
        "mel-floor-too-high", "WS-ENCODER-5", "power below 1e-8 counts as 1e-8",
        (log_mel, "scaled_log_mel", higher_floor),
    ),
    patched(
        "activation-leaks", "WS-CODEC-7", "the activation lets one part in ten thousand through",
        (causal_blocks, "F", Leaky()),
    ),
)  # fmt: skip
