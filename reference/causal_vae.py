"""The public interface of a causal codec: encode and decode, streaming or whole.

Serving: ``x, state = codec.decode(z, state)``, a unit at a time. Offline: ``encode_whole`` and
``decode_whole`` on the clip from its unit 0; the streaming forms must give the same numbers for
any chunking (WS-CODEC-5). Source: PAPER §1 (strictly causal VAEs), design §6.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from reference.causal_blocks import CausalChain
from reference.causal_conv import TIME, State
from reference.latent_norm import LatentNorm, Posterior, posterior_from_moments
from spec.errors import TensorError


class CausalVae(nn.Module):
    """A causal encoder, a causal decoder and the latents' normalisation between them.

    Args:
        encoder: signal to moments, mean and log-variance stacked (WS-CODEC-10).
        decoder: raw latents to signal.
        latent_channels: channels of a latent.
        hop: samples or frames of signal a latent frame.
    """

    def __init__(
        self, encoder: CausalChain, decoder: CausalChain, latent_channels: int, hop: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_norm = LatentNorm(latent_channels)
        self.hop = hop

    def encoder_state(self, batch: int) -> State:
        """The encoder's state before unit 0 (WS-CODEC-4)."""
        return self.encoder.init_state(batch)

    def decoder_state(self, batch: int) -> State:
        """The decoder's state before unit 0 (WS-CODEC-4)."""
        return self.decoder.init_state(batch)

    def encode(self, x: Float[Tensor, "b c t *grid"], state: State) -> tuple[Posterior, State]:
        """Normalised posterior of the next chunk (WS-CODEC-5, WS-CODEC-11).

        Raises:
            TensorError: the chunk is not a positive whole number of latent frames.
        """
        require_multiple(x, self.hop)
        moments, state = self.encoder.step(x, state)
        return self.latent_norm.normalise(posterior_from_moments(moments)), state

    def decode(
        self, z: Float[Tensor, "b c t *grid"], state: State
    ) -> tuple[Float[Tensor, "b c_out t_out *grid_out"], State]:
        """The signal of the next normalised latents (WS-CODEC-5, WS-CODEC-11), not clipped
        (WS-CODEC-14).

        Raises:
            TensorError: there is no latent frame.
        """
        require_multiple(z, 1)
        return self.decoder.step(self.latent_norm.denormalise(z), state)

    def encode_whole(self, x: Float[Tensor, "b c t *grid"]) -> Posterior:
        """Offline form of `encode`: the clip from unit 0 on, no state (WS-CODEC-5)."""
        require_multiple(x, self.hop)
        moments = self.encoder.whole(x)
        return self.latent_norm.normalise(posterior_from_moments(moments))

    def decode_whole(
        self, z: Float[Tensor, "b c t *grid"]
    ) -> Float[Tensor, "b c_out t_out *grid_out"]:
        """Offline form of `decode`: the latents from unit 0 on, no state (WS-CODEC-5)."""
        require_multiple(z, 1)
        return self.decoder.whole(self.latent_norm.denormalise(z))


def require_multiple(x: Tensor, hop: int) -> None:
    """A chunk that splits a latent frame would shift every later one (WS-CODEC-5).

    Raises:
        TensorError: the time axis is empty or not a multiple of ``hop``.
    """
    length = x.shape[TIME]
    if length == 0 or length % hop:
        raise TensorError("time steps of a chunk", length, f"a positive multiple of {hop}")
