"""Ports whose codecs or encoders lose state, skip a step or look ahead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import PatchedPort, by_class, patched
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, CodecRequest
from reference import audio_encoder, causal_vae, log_mel
from reference.causal_conv import CausalConv, State
from reference.causal_vae import CausalVae
from reference.latent_norm import LatentNorm, Posterior, posterior_from_moments
from spec import clock

CONV_STEP = CausalConv.step
INIT_STATE = CausalConv.init_state
WHOLE_MEL = log_mel.log_mel_whole


def state_not_kept(self: CausalConv, x: Tensor, state: State) -> tuple[Tensor, State]:
    """A wrapper clones the state and never gives the new one back."""
    y, _ = CONV_STEP(self, x, state)
    return y, state


def unnormalised_encode(self: CausalVae, x: Tensor, state: State) -> tuple[Posterior, State]:
    """The streaming path forgets the latent statistics that the offline path applies."""
    causal_vae.require_multiple(x, self.hop)
    moments, state = self.encoder.step(x, state)
    return posterior_from_moments(moments), state


def unnormalised_decode(self: CausalVae, z: Tensor, state: State) -> tuple[Tensor, State]:
    """The streaming decoder reads normalised latents as raw ones."""
    y: tuple[Tensor, State] = self.decoder.step(z, state)
    return y


def inverse_std(self: LatentNorm, posterior: Posterior) -> Posterior:
    """Multiplied by the standard deviation instead of divided."""
    mu, sigma = self._per_channel(posterior.mean)
    return Posterior(mean=(posterior.mean - mu) * sigma, log_variance=posterior.log_variance)


def logvar_for_mean(moments: Tensor) -> Posterior:
    """The halves of the moments swapped."""
    log_variance, mean = moments.chunk(2, dim=1)
    return Posterior(mean=mean, log_variance=log_variance)


def replicated_start(self: CausalConv, x: Tensor) -> Tensor:
    """Before unit 0 the first input is repeated instead of zeros."""
    first = x.narrow(2, 0, 1)
    past = first.expand(*first.shape[:2], self.context, *first.shape[3:])
    return self._convolve(torch.cat([past, x], dim=2), time_padding=0)


def symmetric_padding(self: CausalConv, x: Tensor) -> Tensor:
    """Offline, half of the context is taken from the future."""
    ahead = self.context // 2
    late = x.new_zeros(*x.shape[:2], ahead, *x.shape[3:])
    early = x.new_zeros(*x.shape[:2], self.context - ahead, *x.shape[3:])
    return self._convolve(torch.cat([early, x, late], dim=2), time_padding=0)


def centred_window(x: Tensor, sizes: Any) -> Tensor:
    """Analysis windows are centred, so each hears half a window of the future."""
    return WHOLE_MEL(x.roll(-sizes.mel_window // 2, dims=-1), sizes)


def natural_logarithm(power: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """ln where log10 is asked for."""

    def scaled(windows: Tensor, sizes: Any) -> Tensor:
        return (power(windows, sizes) * 4 - 4) * 2.302585092994046 / 4 + 1

    return scaled


class StateOutlivesCall(PatchedPort):
    """Streaming state sits in a default argument: the second call goes on where the first ended."""

    name = "second-call-not-fresh"

    def __init__(self) -> None:
        kept: dict[tuple[int, torch.dtype], State] = defaultdict(tuple)

        def step(conv: CausalConv, x: Tensor, state: State) -> tuple[Tensor, State]:
            y, state = CONV_STEP(conv, x, state)
            kept[id(conv), x.dtype] = state
            return y, state

        def init_state(conv: CausalConv, batch: int) -> State:
            return kept[id(conv), conv.weight.dtype] or INIT_STATE(conv, batch)

        super().__init__(
            self.name, ((CausalConv, "step", step), (CausalConv, "init_state", init_state))
        )


class DelayedAudio(ReferencePort):
    """Agent audio comes 190 ms late, constantly."""

    name = "audio-190-ms-late"
    delay = clock.AGENT_AUDIO_HZ * 190 // 1000

    def codec(self, request: CodecRequest, data: Array) -> Array:
        result = super().codec(request, data)
        if request.part != "audio_codec.decode":
            return result
        silence = np.zeros(min(self.delay, len(result)), result.dtype)
        return np.concatenate([silence, result])[: len(result)]


class DelayedTick(ReferencePort):
    """User audio features come one tick late."""

    name = "hears-one-tick-late"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        result = super().codec(request, data)
        if request.part != "audio_encoder":
            return result
        return np.concatenate([np.zeros_like(result[:1]), result[:-1]])


class Padding(ReferencePort):
    """A unit that is too short is filled up with zeros."""

    name = "short-unit-padded"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        unit = {"video_codec.encode": clock.FRAMES_PER_UNIT, "video_encoder": clock.FRAMES_PER_UNIT}
        missing = -len(data) % unit.get(request.part, 1)
        padding = np.zeros((missing, *data.shape[1:]), data.dtype)
        return super().codec(request, np.concatenate([data, padding]))


MUTANTS = (
    patched(
        "conv-state-not-kept", "WS-CODEC-5", "streaming state never accumulates",
        (CausalConv, "step", state_not_kept),
    ),
    patched(
        "first-frame-repeated", "WS-CODEC-3", "offline, the first input is repeated before unit 0",
        (CausalConv, "whole", replicated_start),
    ),
    patched(
        "streaming-encode-unnormalised", "WS-CODEC-11",
        "the streaming encoder skips the latent statistics",
        (CausalVae, "encode", unnormalised_encode),
    ),
    patched(
        "streaming-decode-unnormalised", "WS-CODEC-11",
        "the streaming decoder skips the latent statistics",
        (CausalVae, "decode", unnormalised_decode),
    ),
    patched(
        "latent-std-multiplied", "WS-CODEC-11", "latents are multiplied by their deviation",
        (LatentNorm, "normalise", inverse_std),
    ),
    patched(
        "log-variance-for-mean", "WS-CODEC-10", "mean and log-variance are swapped",
        (causal_vae, "posterior_from_moments", logvar_for_mean),
    ),
    patched(
        "codec-looks-ahead", "WS-CODEC-6", "offline, convolutions are centred",
        (CausalConv, "whole", symmetric_padding),
    ),
    patched(
        "mel-window-centred", "WS-ENCODER-8", "offline, the spectrogram hears the future",
        (audio_encoder, "log_mel_whole", centred_window),
    ),
    patched(
        "mel-natural-logarithm", "WS-ENCODER-5", "features use ln instead of log10",
        (log_mel, "scaled_log_mel", natural_logarithm(log_mel.scaled_log_mel)),
    ),
    by_class("WS-CODEC-4", StateOutlivesCall),
    by_class("WS-CODEC-6", DelayedAudio),
    by_class("WS-ENCODER-8", DelayedTick),
    by_class("WS-CLOCK-4", Padding),
)  # fmt: skip
