"""The noise of a seeded session: one ε a unit, by the integer recipe.

Noise is an input of the model, never drawn inside it (WS-FLOW-7); this is where a caller gets it.
Source: PAPER Eq. (2), ε ~ N(0, I); the recipe is CHOICE.
"""

from __future__ import annotations

import torch

from reference import recipe
from reference.units import Latents
from spec import clock
from spec.session import SessionConfig


def unit_noise(config: SessionConfig, seed: int, unit: int, dtype: torch.dtype) -> Latents:
    """ε of one unit, for the modalities that the agent has (WS-RECIPE-4)."""
    preset, has = config.preset, config.modalities
    audio_shape = (clock.TICKS_PER_UNIT, preset.audio_codec.latent_channels)
    video_shape = (preset.video_codec.latent_channels, preset.latent_height, preset.latent_width)
    return Latents(
        audio=recipe.noise(seed, unit, "audio", audio_shape, dtype) if has.agent_audio else None,
        video=recipe.noise(seed, unit, "video", video_shape, dtype) if has.agent_video else None,
    )
