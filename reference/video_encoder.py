"""The causal encoder of the user's video: the frames of a unit to one token a patch.

    frames [b, 3, T, H, W]  ->  features [b, (T/4) · rows · cols, C·p·p]

Source: PAPER §1, §2.3 (causal video encoder, separate from the codec); its layers are CHOICE.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from reference.causal_blocks import CausalChain, video_down, video_grids
from reference.causal_conv import State
from reference.causal_vae import require_multiple
from reference.patches import patchify
from spec import clock
from spec.sizes import Preset


class VideoEncoder(nn.Module):
    """Causal user video encoder of a preset: the codec's trunk with its own weights
    (WS-ENCODER-7, WS-ENCODER-9)."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.patch = preset.video_codec.patch
        self.channels = preset.encoders.video_channels
        grids = video_grids(preset.frame_height, preset.frame_width)
        self.trunk = CausalChain(video_down(self.channels, grids))

    @property
    def feature_dim(self) -> int:
        """Width of a feature vector: C·p·p (WS-ENCODER-7)."""
        return self.channels[-1] * self.patch**2

    def init_state(self, batch: int) -> State:
        """The state before unit 0: zeros (WS-ENCODER-8)."""
        return self.trunk.init_state(batch)

    def encode(
        self, frames: Float[Tensor, "b 3 t height width"], state: State
    ) -> tuple[Float[Tensor, "b tokens features"], State]:
        """Tokens of the next units, unit by unit, row-major (WS-ENCODER-7, WS-ENCODER-8).

        Raises:
            TensorError: the chunk is not a positive whole number of units.
        """
        require_multiple(frames, clock.VIDEO_TEMPORAL_STRIDE)
        grid, state = self.trunk.step(frames, state)
        return self._tokens(grid), state

    def encode_whole(
        self, frames: Float[Tensor, "b 3 t height width"]
    ) -> Float[Tensor, "b tokens features"]:
        """Offline form of `encode`: the clip from unit 0 on, no state (WS-ENCODER-8)."""
        require_multiple(frames, clock.VIDEO_TEMPORAL_STRIDE)
        return self._tokens(self.trunk.whole(frames))

    def _tokens(
        self, grid: Float[Tensor, "b c units rows cols"]
    ) -> Float[Tensor, "b tokens features"]:
        patches = patchify(rearrange(grid, "b c u h w -> b u c h w"), self.patch)
        return rearrange(patches, "b u n f -> b (u n) f")
