"""Stage times by roofline, and what they allow: session length and solver steps.

    time of a pass = max(FLOPs / (peak · η), bytes / (bandwidth · η)),   η = efficiency

With η = 1 no implementation is faster: a lower bound, never a promise. Thinker and performer have
a device each, of the same kind. Source: CHOICE (WS-COST-8); what a stage time leads to is
WS-LATENCY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import ceil
from typing import Final

import attrs

from spec import clock, cost, cost_stages, latency
from spec.cost_stages import Work, Workload
from spec.devices import ELEMENT_BYTES, Device, Dtype
from spec.latency import StageTimes
from spec.session import SessionConfig

SECOND_NS: Final = 1_000_000_000

BOUND: Final = Fraction(1)
"""Efficiency η = 1: every peak is reached (WS-COST-8)."""


@attrs.frozen(kw_only=True)
class Plan:
    """A session on two devices of one kind in one dtype (WS-COST-8)."""

    config: SessionConfig
    device: Device
    dtype: Dtype
    efficiency: Fraction = BOUND

    @property
    def element(self) -> int:
        """Bytes of a parameter, an activation, a cached number."""
        return ELEMENT_BYTES[self.dtype]


def pass_seconds(plan: Plan, work: Work) -> Fraction:
    """Time of one pass, exactly (WS-COST-8)."""
    compute = Fraction(work.flops, plan.device.peak_flops(plan.dtype))
    memory = Fraction(work.elements * plan.element, plan.device.memory_bandwidth)
    return max(compute, memory) / plan.efficiency


def stage_ns(plan: Plan, works: Iterable[Work]) -> int:
    """Time of passes one after the other, rounded up to whole ns (WS-COST-8)."""
    return ceil(SECOND_NS * sum((pass_seconds(plan, w) for w in works), Fraction(0)))


def comm_ns(plan: Plan) -> int:
    """The larger of slice and latents over the link, one way (WS-COST-8)."""
    sent = max(
        cost.slice_bytes(plan.config, plan.element), cost.latents_bytes(plan.config, plan.element)
    )
    return ceil(SECOND_NS * Fraction(sent, plan.device.link_bandwidth) / plan.efficiency)


def stage_times(plan: Plan, unit: int) -> StageTimes:
    """Predicted times of the stages of ``unit``, every user text slot filled (WS-COST-8)."""
    passes = cost_stages.stages(Workload.full(plan.config), unit)
    return StageTimes(
        comm=comm_ns(plan), **{name: stage_ns(plan, works) for name, works in passes.items()}
    )


def cycle_at(plan: Plan, unit: int) -> int:
    """Predicted cycle with the history of ``unit``, in ns (WS-COST-8, WS-LATENCY-3)."""
    return latency.cycle_ns(stage_times(plan, unit), plan.config.schedule)


def keeps_up(plan: Plan, unit: int) -> bool:
    """True if a unit takes no longer than T (WS-COST-9)."""
    return cycle_at(plan, unit) <= clock.UNIT_NS


def units_in_memory(plan: Plan) -> int:
    """Units whose keys and values fit beside the weights; 0 if the weights do not (WS-COST-9)."""
    config, element = plan.config, plan.element
    fixed = cost.weight_bytes(config.preset, element) + cost.kv_bytes(config, 0, element)
    growth = cost.kv_bytes(config, 1, element) - cost.kv_bytes(config, 0, element)
    return max(plan.device.memory_bytes - fixed, 0) // growth


def units_in_time(plan: Plan) -> int:
    """Units before the first whose cycle is longer than T (WS-COST-9)."""
    return count_while(lambda unit: keeps_up(plan, unit))


def solver_steps_in_time(plan: Plan, unit: int) -> int:
    """The most solver steps with which ``unit`` keeps up; 0 if one is too many (WS-COST-10)."""
    return count_while(lambda extra: keeps_up(with_steps(plan, extra + 1), unit))


def with_steps(plan: Plan, steps: int) -> Plan:
    """The same plan with ``steps`` solver evaluations."""
    preset = attrs.evolve(plan.config.preset, solver_steps=steps)
    return attrs.evolve(plan, config=attrs.evolve(plan.config, preset=preset))


def count_while(holds: Callable[[int], bool]) -> int:
    """The smallest n ≥ 0 at which ``holds`` is false; once false, it stays so (WS-COST-9)."""
    if not holds(0):
        return 0
    last, first_false = 0, 1
    while holds(first_false):
        last, first_false = first_false, 2 * first_false
    while first_false - last > 1:
        middle = (last + first_false) // 2
        if holds(middle):
            last = middle
        else:
            first_false = middle
    return first_false
