"""A training run: from first weights or a checkpoint to its last update.

The run is a function of its config and its first weights alone. Interrupted after any update and
resumed from a checkpoint, it ends with the same bits (WS-TRAINING-17).
Source: PAPER §2.3 (each stage starts from the one before); the rest CHOICE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from safetensors.torch import save_file

from reference import weights
from reference.model import WanStreamer
from reference.training import saved
from reference.training.config import TrainingConfig
from reference.training.distillation import Teacher
from reference.training.evaluation import Scores, evaluate
from reference.training.learner import Learner
from reference.training.saved import Progress
from reference.training.stages import Distillation, update
from spec.errors import ConfigError

Report = Callable[[int, float], None]
"""Called after each update with their number so far and the loss."""

TEACHER = "teacher.safetensors"


@attrs.define(eq=False)
class Run:
    """A run at some point: the models, and how far they have come."""

    out: Path
    progress: Progress
    student: Learner
    extra: Distillation | None

    @property
    def learners(self) -> dict[str, Learner]:
        """All that learn, by the name of their files."""
        critic = {} if self.extra is None else {"critic": self.extra.critic}
        return {"model": self.student, **critic}


def start(config: TrainingConfig, out: Path, init: Path | None) -> Run:
    """A new run, evaluated once before its first update.

    Args:
        out: where checkpoints go; must not hold a run already.
        init: the run whose newest weights this one starts from; None for the preset's own
            (a language model where the preset names one, WS-WEIGHTS-1).

    Raises:
        ConfigError: ``out`` is taken, or ``init`` is no run of this preset.
        WeightsError: weights that do not fit.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("--out", str(out), "a new or empty folder; --resume goes on with a run")
    model = first_model(config, init)
    out.mkdir(parents=True, exist_ok=True)
    if config.stage == 3:
        save_file(saved.tensors_of(model), out / TEACHER)
    run = assemble(config, out, model)
    run.progress.scores.append(scores_of(run))
    return run


def first_model(config: TrainingConfig, init: Path | None) -> WanStreamer:
    """The model that a run starts from."""
    model = weights.build_model(config.preset_value)
    if init is not None:
        folder = saved.newest(init)
        before = saved.load_progress(folder).config.preset
        if before != config.preset:
            raise ConfigError(f"preset of {folder}", before, f"{config.preset}, that of this run")
        saved.load_weights(model, folder / saved.file_names("model")[0])
    return model


def assemble(config: TrainingConfig, out: Path, model: WanStreamer) -> Run:
    """A run around ``model``; in stage 3 with the teacher in ``out``, and a critic that starts as
    the unguided teacher (WS-TRAINING-14)."""
    extra = None
    if config.stage == 3:
        frozen, critic = (weights.build_model(config.preset_value) for _ in range(2))
        for copy in (frozen, critic):
            saved.load_weights(copy, out / TEACHER)
        teacher = Teacher(
            model=frozen, scale=config.guidance_scale, substeps=config.teacher_substeps
        )
        extra = Distillation(teacher=teacher, critic=Learner.of(critic, config))
    progress = Progress(config=config, step=0, scores=[])
    return Run(out=out, progress=progress, student=Learner.of(model, config), extra=extra)


def resume(out: Path) -> Run:
    """The run in ``out`` as its newest checkpoint left it (WS-TRAINING-17).

    Raises:
        ConfigError: there is none.
        WeightsError: it is damaged.
    """
    folder = saved.newest(out)
    progress = saved.load_progress(folder)
    run = assemble(progress.config, out, weights.build_model(progress.config.preset_value))
    run.progress = progress
    saved.load(folder, run.learners)
    return run


def go(run: Run, report: Report, stop_at: int | None = None) -> Path:
    """Make the updates that are left; returns the last checkpoint (WS-TRAINING-17).

    Args:
        stop_at: stop after this many updates, as if interrupted there, with a checkpoint.
    """
    config = run.progress.config
    last = config.steps if stop_at is None else min(stop_at, config.steps)
    folder = run.out
    for step in range(run.progress.step, last):
        loss = update(run.student, run.extra, step)
        run.progress = attrs.evolve(run.progress, step=step + 1)
        if is_due(step + 1, config):
            run.progress.scores.append(scores_of(run))
        if (step + 1) % config.save_every == 0 or step + 1 == last:
            folder = saved.save(run.out, run.progress, run.learners)
        report(step + 1, loss)
    return folder


def is_due(step: int, config: TrainingConfig) -> bool:
    """True where ``step`` updates complete another of the evenly spread shares of the run."""
    share = config.evaluations * step // config.steps
    return share > config.evaluations * (step - 1) // config.steps


def scores_of(run: Run) -> Scores:
    """Held-out scores now, with the number of updates (WS-TRAINING-18)."""
    teacher = None if run.extra is None else run.extra.teacher
    scores = evaluate(run.student.model, run.progress.config, teacher)
    return {"step": float(run.progress.step), **scores}
