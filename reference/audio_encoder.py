"""The causal encoder of the user's audio: log-mel to one feature vector a tick.

    waveform [b, T] at 16 kHz  ->  features [b, T/640, C], four a unit

Source: PAPER §1, §2.3 (causal audio encoder, separate from the codec); its layers are CHOICE.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from reference.causal_blocks import CausalChain, ChannelNorm, Residual, SiLU, down_conv, same_conv
from reference.causal_conv import State
from reference.log_mel import log_mel, log_mel_whole, mel_state
from spec import clock
from spec.errors import TensorError
from spec.sizes import Preset


class AudioEncoder(nn.Module):
    """Causal user audio encoder of a preset (WS-ENCODER-6, WS-ENCODER-9)."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.sizes = preset.encoders
        channels = self.sizes.audio_channels
        frames_per_tick = clock.USER_SAMPLES_PER_TICK // self.sizes.mel_hop
        self.trunk = CausalChain(
            {
                "stem": same_conv(self.sizes.n_mels, channels),
                "silu": SiLU(),
                "down": down_conv(channels, channels, frames_per_tick),
                "residual": Residual(channels),
                "norm": ChannelNorm(channels),
            }
        )

    @property
    def feature_dim(self) -> int:
        """Width of a feature vector (WS-ENCODER-6)."""
        return self.sizes.audio_channels

    def init_state(self, batch: int) -> State:
        """Zeros: the spectrogram's samples, then the trunk's inputs (WS-ENCODER-8)."""
        dtype = next(self.parameters()).dtype
        return (mel_state(batch, self.sizes, dtype), *self.trunk.init_state(batch))

    def encode(
        self, x: Float[Tensor, "b samples"], state: State
    ) -> tuple[Float[Tensor, "b ticks features"], State]:
        """Features of the next chunk, one a tick of 640 samples (WS-ENCODER-6, WS-ENCODER-8).

        Raises:
            TensorError: the chunk is not a positive whole number of ticks.
        """
        require_ticks(x)
        mel, heard = log_mel(x, state[0], self.sizes)
        features, trunk_state = self.trunk.step(mel, state[1:])
        return rearrange(features, "b c t -> b t c"), (heard, *trunk_state)

    def encode_whole(self, x: Float[Tensor, "b samples"]) -> Float[Tensor, "b ticks features"]:
        """Offline form of `encode`: the clip from unit 0 on, no state (WS-ENCODER-8)."""
        require_ticks(x)
        return rearrange(self.trunk.whole(log_mel_whole(x, self.sizes)), "b c t -> b t c")


def require_ticks(x: Float[Tensor, "b samples"]) -> None:
    """A chunk that splits a tick would shift every later one (WS-ENCODER-8).

    Raises:
        TensorError: the samples are not a positive whole number of ticks.
    """
    samples, tick = x.shape[1], clock.USER_SAMPLES_PER_TICK
    if samples == 0 or samples % tick:
        raise TensorError("samples of a chunk", samples, f"a positive multiple of {tick}")
