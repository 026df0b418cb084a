"""Every random choice of training, by name and by the integer recipe: no generator, no state.

A draw is a function of its name, so a run that is resumed draws what an uninterrupted one draws,
on any machine. Source: CHOICE (WS-TRAINING-15); PAPER Eq. (2) only asks for ε ~ N(0, I).
"""

from __future__ import annotations

from reference import noise
from reference.model import WanStreamer
from reference.units import Latents
from spec import recipe
from spec.session import SessionConfig


def integer(name: str, bound: int) -> int:
    """One of 0 ... ``bound`` - 1 (WS-TRAINING-15); off uniform by less than bound / 2**64."""
    return recipe.word(recipe.stream_id("training/" + name), 0) % bound


def fraction(name: str) -> float:
    """A number strictly between 0 and 1 (WS-TRAINING-15)."""
    return (1 + recipe.uniform(recipe.stream_id("training/" + name), 0)) / 2


def epsilon(model: WanStreamer, config: SessionConfig, name: str, unit: int) -> Latents:
    """ε of one unit in the model's dtype (WS-TRAINING-15, WS-RECIPE-4)."""
    return noise.unit_noise(config, recipe.stream_id("training/" + name), unit, model.dtype)
