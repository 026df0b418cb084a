"""A model with its weights, from wherever its preset says they come.

Source: PAPER §2.3 (initialised from a language model); the recipe is CHOICE.
"""

from __future__ import annotations

import torch

from reference import checkpoint, recipe, smollm2
from reference.model import WanStreamer
from spec.errors import WeightsError
from spec.sizes import Preset


def build_model(preset: Preset, dtype: torch.dtype = torch.float32) -> WanStreamer:
    """A new model of ``preset``, ready to be served (WS-WEIGHTS-1, WS-PRESETS-7).

    Raises:
        WeightsError: the language model is not installed, does not fit the preset, or is the
            user's to give.
    """
    if preset.weights == "given":
        raise WeightsError(
            f"weights of preset {preset.name}", "none", "`wanstreamer plan`, which needs none"
        )
    if preset.weights == "recipe":
        model = WanStreamer(preset, dtype)
        recipe.fill(model)
    else:
        model = checkpoint.initialise(preset, checkpoint.read(smollm2.gguf_path()), dtype)
    return model.requires_grad_(requires_grad=False)
