"""All that a training run depends on, as one value that is saved with it.

Source: CHOICE throughout: the paper gives no hyperparameter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from spec.errors import ConfigError
from spec.presets import preset_named
from spec.sizes import Preset

STAGES: Final = (1, 2, 3)


@attrs.frozen(kw_only=True)
class TrainingConfig:
    """One run: with the same value and the same first weights, the same bits (WS-TRAINING-15)."""

    preset: str
    stage: int
    steps: int
    seed: int
    batch: int
    """Records an update; they pass one by one and their gradients are added up."""
    units: int
    """K of a record."""
    copies: int
    """Noisy copies of each response in one pass (WS-TRAINING-2)."""
    drop: float
    """Share of generation records without condition (WS-TRAINING-7)."""
    learning_rate: float
    warmup: int
    """Updates in which the learning rate rises from 0 to its value."""
    weight_decay: float
    max_gradient_norm: float
    evaluations: int
    """How often held-out records are looked at after the first time, evenly spread."""
    held_out: int
    """How many held-out records there are."""
    save_every: int
    checkpointing: bool
    """Compute layers again in the backward pass instead of keeping them (WS-TRAINING-6)."""
    guidance_scale: float
    """s of the teacher (WS-TRAINING-12)."""
    teacher_substeps: int
    """M of the teacher (WS-TRAINING-12)."""
    critic_updates: int
    """Updates of the critic for each of the student (WS-TRAINING-14)."""
    matching_weight: float
    """Weight of distribution matching beside step distillation (WS-TRAINING-16)."""

    def __attrs_post_init__(self) -> None:
        preset_named(self.preset)
        if self.stage not in STAGES:
            raise ConfigError("stage", self.stage, "1, 2 or 3")
        positive = ("steps", "batch", "units", "copies", "evaluations", "held_out", "save_every",
                    "warmup", "teacher_substeps", "critic_updates", "learning_rate",
                    "max_gradient_norm", "matching_weight")  # fmt: skip
        for name in positive:
            if not getattr(self, name) > 0:
                raise ConfigError(name, getattr(self, name), "a positive number")
        if not 0 <= self.drop < 1:
            raise ConfigError("drop", self.drop, "a share from 0 to below 1")

    @property
    def preset_value(self) -> Preset:
        """The preset itself."""
        return preset_named(self.preset)


_STAGE_1: Final[dict[str, Any]] = {
    "steps": 400,
    "batch": 4,
    "units": 4,
    "copies": 2,
    "drop": 0.1,
    "learning_rate": 2e-3,
    "warmup": 20,
    "weight_decay": 0.01,
    "max_gradient_norm": 1.0,
    "evaluations": 4,
    "held_out": 26,
    "save_every": 100,
    "checkpointing": False,
    "guidance_scale": 2.0,
    "teacher_substeps": 4,
    "critic_updates": 2,
    "matching_weight": 0.1,
}

DEFAULTS: Final[Mapping[int, Mapping[str, Any]]] = {
    1: _STAGE_1,
    2: _STAGE_1 | {"steps": 200, "batch": 2, "units": 8, "learning_rate": 1e-3, "held_out": 8},
    3: _STAGE_1
    | {
        "steps": 90,
        "batch": 1,
        "units": 6,
        "drop": 0.0,
        "learning_rate": 3e-4,
        "held_out": 4,
        "evaluations": 3,
        "save_every": 30,
    },
}
"""What a stage of `tiny` is run with unless told otherwise: minutes on two cores."""


def default_config(preset: str, stage: int, seed: int) -> TrainingConfig:
    """The defaults of a stage.

    Raises:
        ConfigError: no such preset or stage.
    """
    if stage not in STAGES:
        raise ConfigError("stage", stage, "1, 2 or 3")
    return TrainingConfig(preset=preset, stage=stage, seed=seed, **DEFAULTS[stage])


def config_from(value: object, path: Path) -> TrainingConfig:
    """The config that a checkpoint was saved with.

    Raises:
        ConfigError: it is not one.
    """
    names = {field.name for field in attrs.fields(TrainingConfig)}
    if not isinstance(value, dict) or value.keys() != names:
        raise ConfigError(f"config in {path}", json.dumps(value)[:80], ", ".join(sorted(names)))
    return TrainingConfig(**value)
