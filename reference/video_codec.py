"""The causal video VAE: 4 RGB frames to 1 latent frame, 16x down in space, and back.

    frames [b, 3, T, H, W] in [-1, 1]  ->  latents [b, C, T/4, H/16, W/16]

Source: PAPER §1 (strictly causal video VAE); its layers are CHOICE (WS-CODEC-8).
"""

from __future__ import annotations

from reference.causal_blocks import (
    RGB,
    VIDEO_STAGE,
    VIDEO_STEM,
    CausalChain,
    ChannelNorm,
    DepthToVolume,
    Residual,
    SiLU,
    same_conv,
    video_down,
    video_grids,
)
from reference.causal_vae import CausalVae
from spec import clock
from spec.sizes import Preset


class VideoCodec(CausalVae):
    """Causal video VAE of a preset: its sizes and its frame size (WS-CODEC-1)."""

    def __init__(self, preset: Preset) -> None:
        sizes = preset.video_codec
        super().__init__(
            video_encoder_chain(preset),
            video_decoder_chain(preset),
            sizes.latent_channels,
            clock.VIDEO_TEMPORAL_STRIDE,
        )


def video_encoder_chain(preset: Preset) -> CausalChain:
    """Frames [b, 3, T, H, W] to moments [b, 2 C, T/4, H/16, W/16] (WS-CODEC-8)."""
    sizes = preset.video_codec
    grids = video_grids(preset.frame_height, preset.frame_width)
    return CausalChain(
        {
            **video_down(sizes.channels, grids),
            "silu": SiLU(),
            "head": same_conv(sizes.channels[2], 2 * sizes.latent_channels, grids[2]),
        }
    )


def video_decoder_chain(preset: Preset) -> CausalChain:
    """Raw latents [b, C, t, h, w] to RGB [b, 3, 4 t, 16 h, 16 w], not clipped (WS-CODEC-8)."""
    sizes = preset.video_codec
    c0, c1, c2 = sizes.channels
    grid0, grid1, grid2 = video_grids(preset.frame_height, preset.frame_width)
    return CausalChain(
        {
            "stem": same_conv(sizes.latent_channels, c2, grid2),
            "residual2": Residual(c2, grid2),
            "up2": same_conv(c2, VIDEO_STAGE**3 * c1, grid2),
            "unfold2": DepthToVolume(VIDEO_STAGE, VIDEO_STAGE),
            "residual1": Residual(c1, grid1),
            "up1": same_conv(c1, VIDEO_STAGE**3 * c0, grid1),
            "unfold1": DepthToVolume(VIDEO_STAGE, VIDEO_STAGE),
            "norm": ChannelNorm(c0),
            "silu": SiLU(),
            "head": same_conv(c0, RGB * VIDEO_STEM**2, grid0),
            "unfold": DepthToVolume(1, VIDEO_STEM),
        }
    )
