"""The likelihood of a record: stages 1 and 2.

Source: PAPER §2.1 (Eq. (1): cross-entropy on language; Eq. (3): flow matching on audio and video).
"""

from __future__ import annotations

from torch import Tensor

from reference import flow
from reference.model import WanStreamer
from reference.per_modality import each
from reference.training import draws
from reference.training.forward import forced_pass, history_of
from reference.training.layout import NoisyCopy
from reference.training.losses import Terms, sums
from reference.training.record import Record, clean_latents
from reference.units import Latents


def likelihood(
    model: WanStreamer, record: Record, copies: int, *, checkpointing: bool = False
) -> Terms:
    """Eq. (1) and Eq. (3) of one record, as sums (WS-TRAINING-8).

    Every unit has ``copies`` noisy copies, each with a τ of its own, uniform in (0, 1), and an ε
    of its own; audio and video share the τ.
    """
    z_0 = clean_latents(model, record)
    noisy, targets = noise_copies(model, record, z_0, copies)
    result = forced_pass(
        model,
        record.config,
        history_of(model, record, z_0),
        noisy,
        conditional=record.conditional,
        checkpointing=checkpointing,
    )
    return sums(record, result.logits, result.velocities, targets)


def noise_copies(
    model: WanStreamer, record: Record, z_0: list[Latents], copies: int
) -> tuple[list[list[NoisyCopy]], list[list[Latents]]]:
    """z_τ of every unit and copy, and its velocity ε - z_0 (WS-FLOW-1, WS-FLOW-2)."""
    noisy: list[list[NoisyCopy]] = []
    targets: list[list[Latents]] = []
    for k, clean in enumerate(z_0):
        names = [f"{record.name}/copy{i}" for i in range(copies)]
        taus = [draws.fraction(f"{name}/tau{k}") for name in names]
        noises = [draws.epsilon(model, record.config, name, k) for name in names]
        noisy.append(
            [
                NoisyCopy(z=interpolated(clean, eps, tau), tau=tau)
                for eps, tau in zip(noises, taus, strict=True)
            ]
        )
        targets.append([each(flow.velocity_target, clean, eps) for eps in noises])
    return noisy, targets


def interpolated(z_0: Latents, eps: Latents, tau: float) -> Latents:
    """z_τ of both modalities at the same τ (WS-FLOW-1)."""

    def path(z_0: Tensor, eps: Tensor) -> Tensor:
        return flow.interpolate(z_0, eps, tau)

    return each(path, z_0, eps)
