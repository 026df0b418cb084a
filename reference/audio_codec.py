"""The causal audio VAE: mono 24 kHz to 25 Hz latents, and back.

    waveform [b, T] in [-1, 1]  ->  latents [b, C, T/960]

Source: PAPER §1 (strictly causal audio VAE); its layers are CHOICE (WS-CODEC-9).
"""

from __future__ import annotations

from typing import Final

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from reference.causal_blocks import (
    CausalChain,
    ChannelNorm,
    DepthToTime,
    Residual,
    SiLU,
    down_conv,
    same_conv,
)
from reference.causal_conv import CausalConv, CausalLayer, State
from reference.causal_vae import CausalVae
from reference.latent_norm import Posterior
from spec import clock
from spec.sizes import AudioCodec as AudioCodecSizes
from spec.sizes import Preset

WAVE_KERNEL: Final = 7
"""Kernel of the two convolutions at the waveform's own rate (WS-CODEC-9)."""


class AudioCodec(CausalVae):
    """Causal audio VAE of a preset; the signal is mono and has no channel axis (WS-CODEC-2)."""

    def __init__(self, preset: Preset) -> None:
        sizes = preset.audio_codec
        super().__init__(
            audio_encoder_chain(sizes),
            audio_decoder_chain(sizes),
            sizes.latent_channels,
            clock.AGENT_SAMPLES_PER_TICK,
        )

    def encode(self, x: Float[Tensor, "b t"], state: State) -> tuple[Posterior, State]:
        """Waveform to the normalised posterior [b, C, T/960] (WS-CODEC-2)."""
        return super().encode(rearrange(x, "b t -> b 1 t"), state)

    def decode(
        self, z: Float[Tensor, "b c t"], state: State
    ) -> tuple[Float[Tensor, "b samples"], State]:
        """Normalised latents to a waveform [b, 960 t], not clipped (WS-CODEC-2)."""
        wave, state = super().decode(z, state)
        return rearrange(wave, "b 1 t -> b t"), state

    def encode_whole(self, x: Float[Tensor, "b t"]) -> Posterior:
        """Offline form of `encode` (WS-CODEC-5)."""
        return super().encode_whole(rearrange(x, "b t -> b 1 t"))

    def decode_whole(self, z: Float[Tensor, "b c t"]) -> Float[Tensor, "b samples"]:
        """Offline form of `decode` (WS-CODEC-5)."""
        return rearrange(super().decode_whole(z), "b 1 t -> b t")


def audio_encoder_chain(sizes: AudioCodecSizes) -> CausalChain:
    """Waveform [b, 1, T] to moments [b, 2 C, T/960] (WS-CODEC-9)."""
    layers: dict[str, CausalLayer] = {"stem": wave_conv(1, sizes.channels[0])}
    for i, stride in enumerate(sizes.strides):
        layers[f"down{i}"] = down_conv(sizes.channels[i], sizes.channels[i + 1], stride)
        layers[f"residual{i}"] = Residual(sizes.channels[i + 1])
    layers["norm"] = ChannelNorm(sizes.channels[-1])
    layers["silu"] = SiLU()
    layers["head"] = same_conv(sizes.channels[-1], 2 * sizes.latent_channels)
    return CausalChain(layers)


def audio_decoder_chain(sizes: AudioCodecSizes) -> CausalChain:
    """Raw latents [b, C, t] to a waveform [b, 1, 960 t], not clipped (WS-CODEC-9)."""
    layers: dict[str, CausalLayer] = {"stem": same_conv(sizes.latent_channels, sizes.channels[-1])}
    for i in reversed(range(len(sizes.strides))):
        stride = sizes.strides[i]
        layers[f"residual{i}"] = Residual(sizes.channels[i + 1])
        layers[f"up{i}"] = same_conv(sizes.channels[i + 1], stride * sizes.channels[i])
        layers[f"unfold{i}"] = DepthToTime(stride)
    layers["norm"] = ChannelNorm(sizes.channels[0])
    layers["silu"] = SiLU()
    layers["head"] = wave_conv(sizes.channels[0], 1)
    return CausalChain(layers)


def wave_conv(c_in: int, c_out: int) -> CausalConv:
    """Kernel 7, stride 1 (WS-CODEC-9)."""
    return CausalConv((c_in, c_out), (WAVE_KERNEL,), (1,))
