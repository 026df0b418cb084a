"""Stage times of a pair that serves many sessions in one batch, and how many it has room for.

With S sessions and K units of history in all, a pass reads its weights once and everything else
for every session, so that FLOPs and bytes are linear in S and K:

    time = max(f_S S + f_K K,  w + m_S S + m_K K)

Coefficients are whole femtoseconds, rounded up once; a stage is the sum of its passes, rounded up
to whole ns. Source: CHOICE (WS-FLEET-3); one session is WS-COST-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from spec import cost, cost_stages
from spec.cost_stages import Work, Workload
from spec.roofline import Plan

Ints = npt.NDArray[np.int64]

FS_PER_NS: Final = 1_000_000
SECOND_FS: Final = 1_000_000_000 * FS_PER_NS

STAGES: Final = ("encode", "update", "solve", "decode", "commit")


@attrs.frozen
class Line:
    """fixed + session · S + history · K, in fs (WS-FLEET-3)."""

    fixed: int
    session: int
    history: int

    def at(self, sessions: Ints, history: Ints) -> Ints:
        """Its value for S and K: int64 of their shape."""
        value: Ints = sessions * self.session
        if self.history:
            value += history * self.history
        value += self.fixed
        return value

    def plus(self, other: Line) -> Line:
        """The sum of two lines."""
        return Line(
            self.fixed + other.fixed, self.session + other.session, self.history + other.history
        )


@attrs.frozen
class Stage:
    """A sum of one line and of pairs of lines of which the larger one counts (WS-FLEET-3)."""

    line: Line
    larger: tuple[tuple[Line, Line], ...]

    def ns(self, sessions: Ints, history: Ints) -> Ints:
        """Time for S sessions of K units in all, int64 of their shape; 0 without a session."""
        fs = self.line.at(sessions, history)
        for one, other in self.larger:
            fs += np.maximum(one.at(sessions, history), other.at(sessions, history))
        fs += FS_PER_NS - 1
        fs //= FS_PER_NS
        fs *= sessions > 0
        return fs


@attrs.frozen(kw_only=True)
class BatchTimes:
    """Times of every stage of a batch (WS-FLEET-3), exact up to ``sessions`` and ``history``.

    ``slice_fs`` and ``latents_fs``: time on the link for one session, one way.
    """

    encode: Stage
    update: Stage
    solve: Stage
    decode: Stage
    commit: Stage
    slice_fs: int
    latents_fs: int

    def comm_ns(self, sessions: Ints, before: Ints) -> Ints:
        """Slices of the batch one way and latents of the ``before`` sessions of the last one the
        other, whichever takes longer (WS-COST-8)."""
        fs: Ints = np.maximum(self.slice_fs * sessions, self.latents_fs * before)
        fs += FS_PER_NS - 1
        fs //= FS_PER_NS
        return fs


def batch_times(plan: Plan, sessions: int, history: int) -> BatchTimes:
    """The stages of ``plan`` for batches up to ``sessions`` and ``history`` units in all
    (WS-FLEET-3).

    A unit's work is linear in the history from unit 1 on; unit 0 has no commit and one response
    less to see, and counts as unit 1.
    """
    work = Workload.full(plan.config)
    first, second = cost_stages.stages(work, 1), cost_stages.stages(work, 2)
    element = plan.element
    stages = {
        name: folded(
            (
                lines(plan, one, two)
                for one, two in zip(first[name], second[name], strict=True)
                if one.elements
            ),
            sessions,
            history,
        )
        for name in STAGES
    }
    return BatchTimes(
        **stages,
        slice_fs=link_fs(plan, cost.slice_bytes(plan.config, element)),
        latents_fs=link_fs(plan, cost.latents_bytes(plan.config, element)),
    )


def lines(plan: Plan, one: Work, two: Work) -> tuple[Line, Line]:
    """Arithmetic and memory time of a pass that is ``one`` in unit 1 and ``two`` in unit 2."""
    scale = SECOND_FS / plan.efficiency

    def fs(amount: int, peak: int) -> int:
        return ceil(Fraction(amount, peak) * scale)

    flops, moved = two.flops - one.flops, two.elements - one.elements
    peak, width = plan.device.peak_flops(plan.dtype), plan.device.memory_bandwidth
    per_session = one.elements - one.weights - moved
    return (
        Line(0, fs(one.flops - flops, peak), fs(flops, peak)),
        Line(*(fs(n * plan.element, width) for n in (one.weights, per_session, moved))),
    )


def link_fs(plan: Plan, size: int) -> int:
    """Time of ``size`` bytes on the link, in fs, rounded up."""
    return ceil(Fraction(size, plan.device.link_bandwidth) * SECOND_FS / plan.efficiency)


def folded(passes: Iterable[tuple[Line, Line]], sessions: int, history: int) -> Stage:
    """Passes whose lines never cross for 1 to ``sessions`` and 0 to ``history`` become one line.

    A linear function that is not negative at the corners of a rectangle is so everywhere in it.
    """
    total, crossing = Line(0, 0, 0), list[tuple[Line, Line]]()
    corners = np.array([(s, k) for s in (1, sessions) for k in (0, history)], np.int64).T
    for one, other in passes:
        signs = one.at(*corners) >= other.at(*corners)
        if signs.all():
            total = total.plus(one)
        elif not signs.any():
            total = total.plus(other)
        else:
            crossing.append((one, other))
    return Stage(total, tuple(crossing))
