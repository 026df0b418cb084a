"""Rolling self-forcing: the student answers on a history of its own making.

Source: PAPER §2.3 (rolling distillation, self-forcing [17]); design §11. Differs from the cited
work in one point: history holds what serving would commit, the whole solve, not the prediction of
the exit step, so that training sees exactly the distribution of serving.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from reference import flow, performer, session
from reference.model import WanStreamer
from reference.per_modality import each
from reference.training import draws
from reference.training.distillation import unit_noises
from reference.training.record import Record
from reference.units import Latents


@attrs.frozen(kw_only=True, eq=False)
class Rollout:
    """K units of the student's own."""

    history: list[Latents]
    """z_k as the streaming session commits it; carries no gradient."""
    generated: list[Latents]
    """x̂_0 of the exit step of every unit; its gradient ends at that one evaluation."""


def roll_out(student: WanStreamer, record: Record, exit_step: int) -> Rollout:
    """Stream the record's user through the student (WS-TRAINING-13).

    The session's own step runs without gradient: observation, language (the record's
    words), solve, and the clean pass at τ = 0 that writes the cache. Then the exit step alone is
    evaluated again with gradient over that cache: x̂_0 = z_τ - τ f_θ(z_τ, c_k, τ).

    Args:
        exit_step: solver step whose evaluation is learned from; the last one makes ``generated``
            equal to ``history``.
    """
    config = record.config
    grid = flow.tau_grid(student.preset.solver_steps)
    with torch.no_grad():
        state = session.open_session(student, config, record.identity)
    history, generated = [], []
    for k, (user, noise) in enumerate(zip(record.users, unit_noises(student, record), strict=True)):
        with torch.no_grad():
            agent, state = session.step(student, config, state, user, noise, record.text[k])
            # What the performer has committed of unit k by now is invisible to its own solve.
            field = performer.velocity_field(student, config, k, state.performer)
            z_tau = flow.solve(field, noise, grid[: exit_step + 1])
        velocity = field(z_tau, grid[exit_step], exit_step)
        history.append(agent.latents)
        generated.append(predict_clean(z_tau, velocity, grid[exit_step]))
    return Rollout(history=history, generated=generated)


def predict_clean(z_tau: Latents, velocity: Latents, tau: float) -> Latents:
    """x̂_0 = z_τ - τ v: solved from Eq. (2), where z_τ = z_0 + τ (ε - z_0) (WS-TRAINING-13)."""

    def clean(z: Tensor, v: Tensor) -> Tensor:
        return z - tau * v

    return each(clean, z_tau, velocity)


def exit_step_of(record: Record, steps: int) -> int:
    """The exit step of a rollout, the same for all its units (WS-TRAINING-13)."""
    return draws.integer(f"{record.name}/exit", steps)
