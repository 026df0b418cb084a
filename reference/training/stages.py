"""What one update minimises in each stage.

Source: PAPER §2.3 (three stages); the shares of the third are CHOICE (WS-TRAINING-16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
from torch import Tensor

from reference.training import data
from reference.training.config import TrainingConfig
from reference.training.distillation import Teacher, guidance_terms, step_terms
from reference.training.distribution_matching import critic_terms, matching_terms
from reference.training.learner import Learner
from reference.training.losses import mean_loss, total_counts
from reference.training.objective import likelihood
from reference.training.record import Record
from reference.training.rollout import Rollout, exit_step_of, roll_out

PHASES: Final = ("cfg", "steps", "rolling")
"""The thirds of stage 3, in order (WS-TRAINING-16)."""


@attrs.frozen(kw_only=True, eq=False)
class Distillation:
    """What stage 3 has besides its student."""

    teacher: Teacher
    critic: Learner


def phase_of(config: TrainingConfig, step: int) -> str:
    """Which third of stage 3 an update belongs to (WS-TRAINING-16)."""
    return PHASES[len(PHASES) * step // config.steps]


def update(student: Learner, extra: Distillation | None, step: int) -> float:
    """Update number ``step`` of the run; returns its loss (WS-TRAINING-16)."""
    config = student.config
    records = data.batch_of(config, step)
    if extra is None:
        return student.update(likelihoods(student, records), step)
    phase = phase_of(config, step)
    if phase == "cfg":
        return student.update(guided(student, extra.teacher, records), step)
    if phase == "steps":
        return student.update(chords(student, extra.teacher, records), step)
    steps = student.model.preset.solver_steps
    rollouts = [roll_out(student.model, r, exit_step_of(r, steps)) for r in records]
    loss = student.update(rolling(student, extra, records, rollouts), step)
    for i in range(config.critic_updates):
        extra.critic.update(fakes(extra.critic, records, rollouts, i), step)
    return loss


def likelihoods(student: Learner, records: Sequence[Record]) -> Iterator[Tensor]:
    """Stages 1 and 2: Eq. (1) and Eq. (3)."""
    config = student.config
    totals = total_counts(records, config.copies)
    for record in records:
        terms = likelihood(student.model, record, config.copies, checkpointing=config.checkpointing)
        yield mean_loss(terms, totals)


def guided(student: Learner, teacher: Teacher, records: Sequence[Record]) -> Iterator[Tensor]:
    """CFG distillation, and the cross-entropy of Eq. (1)."""
    copies = student.config.copies
    totals = total_counts(records, copies)
    for record in records:
        yield mean_loss(guidance_terms(student.model, teacher, record, copies), totals)


def chords(student: Learner, teacher: Teacher, records: Sequence[Record]) -> Iterator[Tensor]:
    """Step distillation, and the cross-entropy of Eq. (1)."""
    totals = total_counts(records, student.model.preset.solver_steps)
    for record in records:
        yield mean_loss(step_terms(student.model, teacher, record), totals)


def rolling(
    student: Learner,
    extra: Distillation,
    records: Sequence[Record],
    rollouts: Sequence[Rollout],
) -> Iterator[Tensor]:
    """Distribution matching on the student's own history; step distillation stays on beside it,
    as the regression that keeps it from drifting."""
    yield from chords(student, extra.teacher, records)
    totals = total_counts(records, 1)
    for record, rollout in zip(records, rollouts, strict=True):
        terms = matching_terms(extra.teacher, extra.critic.model, record, rollout)
        yield student.config.matching_weight * mean_loss(terms, totals)


def fakes(
    critic: Learner, records: Sequence[Record], rollouts: Sequence[Rollout], number: int
) -> Iterator[Tensor]:
    """The critic's flow loss on what the student generated."""
    totals = total_counts(records, 1)
    for record, rollout in zip(records, rollouts, strict=True):
        name = f"{record.name}/critic{number}"
        yield mean_loss(critic_terms(critic.model, record, rollout, name), totals)
