"""Classifier-free guidance of the velocity: what the teacher of stage 3 does.

Source: PAPER §2.3 (a teacher with classifier-free guidance); the formula is the usual one. Serving
has no guidance: the student has absorbed it.
"""

from __future__ import annotations

from torch import Tensor

from reference.flow import VelocityField
from reference.per_modality import each
from reference.units import Latents


def guide(v_cond: Latents, v_uncond: Latents, scale: float) -> Latents:
    """v = v_uncond + s (v_cond - v_uncond) (WS-FLOW-11).

    s = 0 is the unconditional velocity, s = 1 the conditional one, s > 1 goes beyond it.
    """

    def combine(cond: Tensor, uncond: Tensor) -> Tensor:
        return uncond + scale * (cond - uncond)

    return each(combine, v_cond, v_uncond)


def guided_field(cond: VelocityField, uncond: VelocityField, scale: float) -> VelocityField:
    """The field that guides at every evaluation; both see the same state and τ (WS-FLOW-11)."""

    def field(z: Latents, tau: float, step: int) -> Latents:
        return guide(cond(z, tau, step), uncond(z, tau, step), scale)

    return field
