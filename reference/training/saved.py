"""Checkpoints: weights and optimizer state in safetensors, the rest in JSON; never a pickle.

    OUT/teacher.safetensors             stage 3 only, written once
    OUT/step-000100/model.safetensors
                    optimizer.safetensors
                    critic.safetensors, critic_optimizer.safetensors   stage 3 only
                    state.json          step, config, held-out scores so far

A checkpoint folder appears whole or not at all, and the one before it goes only then.
Source: CHOICE (WS-TRAINING-17).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import torch
from safetensors.torch import save_file
from torch import Tensor

from reference import safetensors_file
from reference.model import WanStreamer
from reference.training.config import TrainingConfig, config_from
from reference.training.evaluation import Scores
from reference.training.learner import Learner, trained
from spec.errors import ConfigError, WeightsError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW remembers of a parameter."""

STATE = "state.json"


@attrs.frozen(kw_only=True, eq=False)
class Progress:
    """How far a run has come: updates made, and the held-out scores so far."""

    config: TrainingConfig
    step: int
    scores: list[Scores]


def newest(out: Path) -> Path:
    """The newest checkpoint of a run.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(out.glob("step-[0-9]*")) if out.is_dir() else []
    if not found:
        raise ConfigError("checkpoint", str(out), "a folder that a training run has written")
    return found[-1]


def save(out: Path, progress: Progress, learners: Mapping[str, Learner]) -> Path:
    """Write a checkpoint, then remove older ones (WS-TRAINING-17).

    Args:
        learners: by the prefix of their files: ``""`` for the model, ``critic``.
    """
    folder = out / f"step-{progress.step:06d}"
    partial = out / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, learner in learners.items():
        weights, moments = file_names(name)
        save_file(tensors_of(learner.model), partial / weights)
        save_file(moments_of(learner), partial / moments)
    state = {
        "step": progress.step,
        "config": attrs.asdict(progress.config),
        "held_out": progress.scores,
    }
    (partial / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for other in out.glob("step-[0-9]*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def file_names(learner: str) -> tuple[str, str]:
    """Names of a learner's two files."""
    if learner == "model":
        return "model.safetensors", "optimizer.safetensors"
    return f"{learner}.safetensors", f"{learner}_optimizer.safetensors"


def tensors_of(model: WanStreamer) -> dict[str, Tensor]:
    """The weights under their names, each once: a tied head is its embedding."""
    return {name: p.detach().contiguous() for name, p in model.named_parameters()}


def moments_of(learner: Learner) -> dict[str, Tensor]:
    """AdamW's memory as ``PARAMETER/moment``; empty before the first update."""
    memory = learner.optimizer.state
    return {
        f"{name}/{moment}": memory[parameter][moment].contiguous()
        for name, parameter in trained(learner.model).items()
        if parameter in memory
        for moment in MOMENTS
    }


def load_progress(folder: Path) -> Progress:
    """The JSON part of a checkpoint.

    Raises:
        WeightsError: it cannot be read.
        ConfigError: it says something else than a checkpoint of ours.
    """
    path = folder / STATE
    state = safetensors_file.read_json(path)
    if state.keys() != {"step", "config", "held_out"}:
        raise ConfigError(f"file {path}", sorted(state), "step, config, held_out")
    config = config_from(state["config"], path)
    return Progress(config=config, step=state["step"], scores=list(state["held_out"]))


def load(folder: Path, learners: Mapping[str, Learner]) -> None:
    """Give ``learners`` the weights and the memory of a checkpoint (WS-TRAINING-17).

    Raises:
        WeightsError: a file is missing or damaged, or its tensors are not the model's.
    """
    for name, learner in learners.items():
        weights, moments = (folder / file for file in file_names(name))
        load_weights(learner.model, weights)
        load_moments(learner, moments)


def load_weights(model: WanStreamer, path: Path) -> None:
    """Copy a file's tensors into ``model``, all or none of them.

    Raises:
        WeightsError: a tensor is missing, extra, of another shape or type, or not finite.
    """
    own = dict(model.named_parameters())
    came = read_exactly(path, {name: p.detach() for name, p in own.items()})
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(came[name])


def load_moments(learner: Learner, path: Path) -> None:
    """Give the optimizer its memory back, bit by bit; a learner that has not been updated yet, as
    the critic before the rolling phase, has none.

    Raises:
        WeightsError: it is not that of this model.
    """
    own = trained(learner.model)
    step = torch.zeros(())
    wanted = {
        f"{name}/{moment}": step if moment == "step" else p.detach()
        for name, p in own.items()
        for moment in MOMENTS
    }
    if not safetensors_file.read_file(path):
        return
    came = read_exactly(path, wanted)
    for name, parameter in own.items():
        learner.optimizer.state[parameter] = {m: came[f"{name}/{m}"] for m in MOMENTS}


def read_exactly(path: Path, like: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a file, if they have the names, shapes and types of ``like`` and are finite.

    Raises:
        WeightsError: they do not; the first few are named.
    """
    came = safetensors_file.read_file(path)
    odd = sorted(came.keys() ^ like.keys())
    odd += [
        name
        for name, tensor in came.items()
        if name in like
        and (
            tensor.shape != like[name].shape
            or tensor.dtype != like[name].dtype
            or not bool(torch.isfinite(tensor).all())
        )
    ]
    if odd:
        allowed = "the tensors of this preset, in their shapes and type, finite"
        raise WeightsError(f"file {path}", listed(odd), allowed)
    return came


def listed(names: Sequence[str]) -> str:
    """The first three names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
