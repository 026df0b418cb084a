"""Distribution matching: the student's samples are moved from where a critic of its own finds
them towards where the teacher finds data.

At flow time τ, with z_τ = (1 - τ) x + τ ε and a velocity v that estimates E[ε - x | z_τ]:

    x̂_0   = z_τ - τ v
    ε̂     = z_τ + (1 - τ) v
    score = ∇ log p_τ(z_τ) = -ε̂ / τ = -(z_τ + (1 - τ) v) / τ

so score_real - score_fake = (1 - τ) (v_fake - v_real) / τ = (1 - τ) (x̂_0^real - x̂_0^fake) / τ².
Source: PAPER §2.3; Yin et al. [46] (gradient and weight; theirs keeps one factor 1 - τ more), [45];
the conversion from velocities is DERIVED from Eq. (2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reference import flow
from reference.model import WanStreamer
from reference.per_modality import each
from reference.training import draws
from reference.training.distillation import Teacher
from reference.training.forward import forced_pass, history_of
from reference.training.layout import NoisyCopy
from reference.training.losses import Terms, response_sums
from reference.training.objective import interpolated
from reference.training.record import Record
from reference.training.rollout import Rollout
from reference.units import Latents

TAU_RANGE = (0.02, 0.98)
"""Flow times at which samples are compared: at 0 distributions need not overlap, at 1 all are
equal."""

FLOOR = 1e-6
"""Keeps the weight of `matching_gradient` finite where the teacher returns the sample itself."""


def score(
    z_tau: Float[Tensor, "*s"], velocity: Float[Tensor, "*s"], tau: float
) -> Float[Tensor, "*s"]:
    """∇ log p_τ(z_τ) = -(z_τ + (1 - τ) v) / τ (WS-TRAINING-14)."""
    return -(z_tau + (1 - tau) * velocity) / tau


def matching_gradient(
    x: Float[Tensor, "*s"],
    z_tau: Float[Tensor, "*s"],
    v_real: Float[Tensor, "*s"],
    v_fake: Float[Tensor, "*s"],
    tau: float,
) -> Float[Tensor, "*s"]:
    """w (1 - τ) (score_fake - score_real), w = τ² / ((1 - τ)² mean|x - x̂_0^real|)
    (WS-TRAINING-14).

    The weight makes every flow time count alike; what is left is
    (x̂_0^fake - x̂_0^real) / mean|x - x̂_0^real|.
    """
    distance = (x - (z_tau - tau * v_real)).abs().mean().clamp(min=FLOOR)
    w = tau**2 / ((1 - tau) ** 2 * distance)
    return w * (1 - tau) * (score(z_tau, v_fake, tau) - score(z_tau, v_real, tau))


def noised(
    model: WanStreamer, record: Record, samples: Sequence[Latents], name: str
) -> tuple[list[list[NoisyCopy]], list[Latents]]:
    """One noisy copy of each sample, and its ε; no gradient goes back (WS-TRAINING-14)."""
    low, high = TAU_RANGE
    copies, noises = [], []
    for k, x in enumerate(samples):
        tau = low + (high - low) * draws.fraction(f"{name}/tau{k}")
        eps = draws.epsilon(model, record.config, name, k)
        copies.append([NoisyCopy(z=interpolated(each(torch.detach, x), eps, tau), tau=tau)])
        noises.append(eps)
    return copies, noises


def matching_terms(
    teacher: Teacher, critic: WanStreamer, record: Record, rollout: Rollout
) -> Terms:
    """‖x - sg(x - g / 2)‖² of each modality, whose gradient with respect to x is g
    (WS-TRAINING-14).

    Teacher and critic read the student's own history; neither receives a gradient.
    """
    name = f"{record.name}/matching"
    copies, _ = noised(critic, record, rollout.generated, name)
    read_by_teacher = history_of(teacher.model, record, rollout.history)
    real = teacher.velocities(record.config, read_by_teacher, copies)
    with torch.no_grad():
        read_by_critic = history_of(critic, record, rollout.history)
        fake = forced_pass(critic, record.config, read_by_critic, copies).velocities
    targets = [
        [moved(x, copy, v_real, v_fake)]
        for x, (copy,), (v_real,), (v_fake,) in zip(
            rollout.generated, copies, real, fake, strict=True
        )
    ]
    return response_sums(record, [[x] for x in rollout.generated], targets)


def moved(x: Latents, copy: NoisyCopy, v_real: Latents, v_fake: Latents) -> Latents:
    """sg(x - g / 2): where the gradient would lead a sample (WS-TRAINING-14)."""

    def target(x: Tensor, z_tau: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        x = x.detach()
        return x - matching_gradient(x, z_tau, real, fake, copy.tau) / 2

    return each(target, x, copy.z, v_real, v_fake)


def critic_terms(critic: WanStreamer, record: Record, rollout: Rollout, name: str) -> Terms:
    """Eq. (3) of the critic on generated samples: it learns the student's own distribution
    (WS-TRAINING-14). The student receives no gradient."""
    samples = [each(torch.detach, x) for x in rollout.generated]
    copies, noises = noised(critic, record, samples, name)
    targets = [[each(flow.velocity_target, x, eps)] for x, eps in zip(samples, noises, strict=True)]
    history = history_of(critic, record, rollout.history)
    velocities = forced_pass(critic, record.config, history, copies).velocities
    return response_sums(record, velocities, targets)
