"""The randomness of a seeded session: one ε and a few numbers for its text a unit, by the recipe.

It is an input of the model, never drawn inside it (WS-FLOW-7); this is where a caller gets it.
Source: PAPER Eq. (2), ε ~ N(0, I); the recipe is CHOICE.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

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


def unit_uniform(config: SessionConfig, seed: int, unit: int) -> Float[Tensor, " slots"]:
    """A number in [0, 1) for each agent text slot of one unit, float64 (WS-RECIPE-8)."""
    return recipe.text_numbers(seed, unit, config.layout.agent_text_slots)
