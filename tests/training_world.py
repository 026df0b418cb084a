"""Records and models for the training tests: small, float64, all by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import samples
import torch
from torch import Tensor

from reference import recipe
from reference.model import WanStreamer
from reference.prefill import IdentitySignals
from reference.training.config import TrainingConfig, default_config
from reference.training.learner import FROZEN
from reference.training.record import Record
from reference.units import Latents
from spec.layout import Modalities
from spec.prefill import Identity
from spec.session import SessionConfig
from spec.sizes import Preset


def learning_model(preset: Preset = samples.SMALL, dtype: torch.dtype = samples.F64) -> WanStreamer:
    """A model of its own with recipe weights, whose trained parameters want gradients."""
    model = WanStreamer(preset, dtype)
    recipe.fill(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(FROZEN))
    return model


def record_of(
    config: SessionConfig, units: int = 3, *, conditional: bool = True, name: str = "test/0"
) -> Record:
    """A record of arbitrary signals in all the session's modalities; everything is supervised."""
    preset, has = config.preset, config.modalities
    slots = config.layout.agent_text_slots
    frames = (4 * units, 3, preset.frame_height, preset.frame_width)
    return Record(
        name=name,
        task="test",
        config=config,
        identity=identity_of(config),
        users=tuple(samples.users_of(config, units)),
        text=tuple(samples.forced_of(config, units)),
        text_mask=((conditional,) * slots,) * units,
        audio=samples.signal(5, 0, "agent-audio", (3840 * units,)) if has.agent_audio else None,
        video=samples.signal(5, 0, "agent-video", frames) if has.agent_video else None,
        response_mask=(has.agent_audio or has.agent_video,) * units,
        conditional=conditional,
    )


def identity_of(config: SessionConfig) -> IdentitySignals:
    """Arbitrary signals for the session's identity."""
    preset, ticks = config.preset, config.identity.voice_ticks
    shape = (3, preset.frame_height, preset.frame_width)
    return IdentitySignals(
        image=samples.signal(6, 0, "face", shape) if config.identity.image else None,
        voice=samples.signal(6, 0, "voice", (960 * ticks,)) if ticks else None,
    )


def session_config(
    schedule: str = "overlapped",
    preset: Preset = samples.SMALL,
    modalities: Modalities | None = None,
    identity: Identity | None = None,
) -> SessionConfig:
    """A session of ``preset`` with a short prompt."""
    assert schedule in ("overlapped", "sequential")
    return SessionConfig(
        preset=preset,
        schedule="overlapped" if schedule == "overlapped" else "sequential",
        modalities=modalities or Modalities(),
        identity=identity or Identity(),
        prompt=(72, 105),
    )


def gradients(model: WanStreamer) -> dict[str, Tensor]:
    """The gradients there are, by parameter name."""
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def tensors(z: Latents) -> list[Tensor]:
    """Audio and video, as far as there are."""
    return [t for t in (z.audio, z.video) if t is not None]


def largest_error(ours: Sequence[Latents], expected: Sequence[Latents]) -> float:
    """The largest difference of any element; 0 where there is none."""
    pairs = zip(ours, expected, strict=True)
    errors = [
        float((a - b).abs().max())
        for x, y in pairs
        for a, b in zip(tensors(x), tensors(y), strict=True)
    ]
    return max(errors, default=0.0)


def small_run(stage: int, **changes: Any) -> TrainingConfig:
    """A run of `tiny` that takes seconds."""
    small: dict[str, Any] = {"steps": 4, "batch": 2, "units": 2, "held_out": 2, "evaluations": 2,
             "save_every": 2, "warmup": 2, "teacher_substeps": 2}  # fmt: skip
    return attrs.evolve(default_config("tiny", stage, seed=3), **(small | changes))
