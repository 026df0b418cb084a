"""Stage 3 on recorded history: a guided teacher of many steps in a student of few and unguided.

CFG distillation: at any τ the student learns the teacher's guided velocity. Step distillation:
at each point of its own grid it learns the chord to where the teacher, in M steps, arrives at the
next one.
Source: PAPER §2.3 (third stage); guided targets as in Meng et al. 2023, chords as in progressive
distillation (Salimans and Ho 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs
import torch
from torch import Tensor

from reference import flow, guidance
from reference.model import WanStreamer
from reference.per_modality import each
from reference.solvers import euler
from reference.training import draws
from reference.training.forward import forced_pass, history_of
from reference.training.layout import History, NoisyCopy
from reference.training.losses import Terms, sums
from reference.training.objective import interpolated, noise_copies
from reference.training.record import Record, clean_latents
from reference.units import Latents
from spec.session import SessionConfig

Copies = Sequence[Sequence[NoisyCopy]]
Velocities = Sequence[Sequence[Latents]]


@attrs.frozen(kw_only=True, eq=False)
class Teacher:
    """A frozen model, how strongly it is guided, and how finely it solves (WS-TRAINING-12)."""

    model: WanStreamer
    scale: float
    substeps: int
    """M: teacher steps in one interval of the student's grid."""

    def velocities(self, config: SessionConfig, history: History, copies: Copies) -> Velocities:
        """v_uncond + s (v_cond - v_uncond) of every noisy copy, without gradient (WS-FLOW-11).

        The unconditional pass hides observations and language, as in training (WS-TRAINING-7).
        """
        with torch.no_grad():
            cond = forced_pass(self.model, config, history, copies).velocities
            uncond = forced_pass(self.model, config, history, copies, conditional=False).velocities
        return [
            [guidance.guide(c, u, self.scale) for c, u in zip(cs, us, strict=True)]
            for cs, us in zip(cond, uncond, strict=True)
        ]


def guidance_terms(student: WanStreamer, teacher: Teacher, record: Record, copies: int) -> Terms:
    """CFG distillation: ‖f_student - v_guided‖² at τ uniform in (0, 1) (WS-TRAINING-12)."""
    z_0 = clean_latents(student, record)
    noisy, _ = noise_copies(student, record, z_0, copies)
    given = history_of(teacher.model, record, z_0)
    targets = teacher.velocities(record.config, given, noisy)
    result = forced_pass(student, record.config, history_of(student, record, z_0), noisy)
    return sums(record, result.logits, result.velocities, targets)


def step_terms(student: WanStreamer, teacher: Teacher, record: Record) -> Terms:
    """Step distillation: ‖f_student - chord‖² at every τ_i of the student's grid (WS-TRAINING-12).

    Copy i of a unit stands at τ_i as z_τ of Eq. (2), with one ε for all the copies of a unit.
    """
    z_0 = clean_latents(student, record)
    grid = flow.tau_grid(student.preset.solver_steps)
    starts = [
        [NoisyCopy(z=interpolated(z, eps, tau), tau=tau) for tau in grid[:-1]]
        for z, eps in zip(z_0, unit_noises(student, record), strict=True)
    ]
    given = history_of(teacher.model, record, z_0)
    targets = chords(teacher, record.config, given, starts, grid)
    result = forced_pass(student, record.config, history_of(student, record, z_0), starts)
    return sums(record, result.logits, result.velocities, targets)


def unit_noises(model: WanStreamer, record: Record) -> list[Latents]:
    """One ε for each unit of ``record``."""
    name = f"{record.name}/solve"
    return [draws.epsilon(model, record.config, name, k) for k in range(len(record))]


def chords(
    teacher: Teacher,
    config: SessionConfig,
    history: History,
    starts: Copies,
    grid: Sequence[float],
) -> Velocities:
    """(z_teacher(τ_{i+1}) - z_i) / (τ_{i+1} - τ_i) for copy i of every unit (WS-TRAINING-12).

    All units and all intervals are walked at once, M Euler steps of the guided teacher, uniform
    inside each interval.
    """
    states: Copies = starts
    for m in range(teacher.substeps):
        ahead = [
            substep(tau, tau_next, m + 1, teacher.substeps) for tau, tau_next in pairwise(grid)
        ]
        velocities = teacher.velocities(config, history, states)
        states = [
            [
                NoisyCopy(z=euler(copy.z, v, copy.tau, tau), tau=tau)
                for copy, v, tau in zip(copies, vs, ahead, strict=True)
            ]
            for copies, vs in zip(states, velocities, strict=True)
        ]
    return [
        [chord(end, start) for end, start in zip(es, ss, strict=True)]
        for es, ss in zip(states, starts, strict=True)
    ]


def substep(tau: float, tau_next: float, m: int, substeps: int) -> float:
    """τ after ``m`` of M steps from τ to τ', exactly τ' after the last."""
    return tau_next if m == substeps else tau + (tau_next - tau) * m / substeps


def chord(end: NoisyCopy, start: NoisyCopy) -> Latents:
    """The constant velocity that leads from ``start`` to ``end``."""

    def slope(z_end: Tensor, z_start: Tensor) -> Tensor:
        return (z_end - z_start) / (end.tau - start.tau)

    return each(slope, end.z, start.z)
