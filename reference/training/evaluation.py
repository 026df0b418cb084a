"""Held-out records: the same ones with the same noise every time, and nothing learned from them.

Source: CHOICE (WS-TRAINING-18).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from reference.model import WanStreamer
from reference.per_modality import each
from reference.training import data
from reference.training.config import TrainingConfig
from reference.training.distillation import Teacher, chords, guidance_terms, step_terms, unit_noises
from reference.training.forward import history_of
from reference.training.layout import NoisyCopy
from reference.training.losses import TERMS, Terms, response_sums, total_counts
from reference.training.objective import likelihood
from reference.training.record import Record
from reference.training.rollout import roll_out

Scores = Mapping[str, float]


def evaluate(model: WanStreamer, config: TrainingConfig, teacher: Teacher | None) -> Scores:
    """Losses on the held-out records, "loss" their sum (WS-TRAINING-18).

    Stages 1 and 2: ``text``, ``audio``, ``video``. Stage 3: ``text``; ``cfg`` and ``steps``, what
    its first two phases minimise; ``rolling``, see `rolling_error`.
    """
    records = data.held_out(config)
    with torch.no_grad():
        scores: Scores
        if teacher is None:
            scores = means(records, config.copies, lambda r: likelihood(model, r, config.copies))
        else:
            scores = distilled(model, config, teacher, records)
    return {"loss": sum(scores.values()), **scores}


def distilled(
    model: WanStreamer, config: TrainingConfig, teacher: Teacher, records: Sequence[Record]
) -> Scores:
    """How far the student is from its teacher; audio and video added."""
    steps = model.preset.solver_steps
    by_phase = {
        "cfg": means(
            records, config.copies, lambda r: guidance_terms(model, teacher, r, config.copies)
        ),
        "steps": means(records, steps, lambda r: step_terms(model, teacher, r)),
        "rolling": means(records, 1, lambda r: rolling_error(model, teacher, r)),
    }
    errors = {name: terms["audio"] + terms["video"] for name, terms in by_phase.items()}
    return {"text": by_phase["steps"]["text"], **errors}


def means(
    records: Sequence[Record], copies: int, terms_of: Callable[[Record], Terms]
) -> dict[str, float]:
    """Each term over all records, as one mean (WS-TRAINING-9)."""
    totals = total_counts(records, copies)
    sums = [terms_of(record) for record in records]
    return {
        term: sum(float(s[term]) for s in sums if term in s) / totals[term]
        for term in TERMS
        if totals[term]
    }


def rolling_error(student: WanStreamer, teacher: Teacher, record: Record) -> Terms:
    """‖z_student - z_teacher‖² of the whole solve, from the same noise on the student's own history
    (WS-TRAINING-18).

    The teacher walks from 1 to 0 in N · M guided steps.
    """
    config, steps = record.config, student.preset.solver_steps
    rollout = roll_out(student, record, exit_step=steps - 1)
    fine = Teacher(model=teacher.model, scale=teacher.scale, substeps=teacher.substeps * steps)
    starts = [[NoisyCopy(z=eps, tau=1.0)] for eps in unit_noises(student, record)]
    given = history_of(teacher.model, record, rollout.history)
    # A chord from the same start over a length of 1: velocities differ as the ends do.
    theirs = chords(fine, config, given, starts, (1.0, 0.0))
    ours = [
        [each(torch.sub, start.z, z)] for (start,), z in zip(starts, rollout.history, strict=True)
    ]
    return response_sums(record, ours, theirs)
