"""How many sessions a pair has room for, by memory and by time, as its sessions grow.

Each device of a pair caches every session of the pair. A table over S says how much history K all
S sessions may have together; admission looks its answer up there.
Source: DERIVED from WS-COST-5 and WS-LATENCY-3 (WS-FLEET-5).
"""

from __future__ import annotations

import functools
from typing import Final

import attrs
import numpy as np

from simulator.fleet.scenario import Fleet
from simulator.fleet.times import STAGES, BatchTimes, Ints, batch_times
from spec import clock, cost
from spec.errors import ConfigError
from spec.roofline import Plan

MOST_SESSIONS: Final = 4096
"""Of a pair: more would be a preset that no device needs to be shared for."""


@attrs.frozen(kw_only=True, eq=False)
class Limits:
    """What a pair can hold (WS-FLEET-5).

    ``by_memory[S]``, ``by_time[S]``: units of history that S sessions may have together; -1 where
    S sessions never fit. ``places``: sessions of a pair if each may grow to ``longest`` units.
    """

    by_memory: Ints
    by_time: Ints
    places: int
    longest: int
    weight_bytes: int
    session_bytes: int
    unit_bytes: int
    times: BatchTimes

    @property
    def most(self) -> int:
        """The most sessions of a pair, however young."""
        return len(self.by_memory) - 1

    @functools.cached_property
    def together(self) -> Ints:
        """Units of history that S sessions may have by both limits."""
        return np.minimum(self.by_memory, self.by_time)

    def bytes_used(self, sessions: Ints, history: Ints) -> Ints:
        """Memory of one device whose S sessions have cached ``history`` units in all."""
        used: Ints = self.weight_bytes + self.session_bytes * sessions + self.unit_bytes * history
        return used


def limits_of(fleet: Fleet) -> Limits:
    """The room of each pair of ``fleet`` (WS-FLEET-5).

    Raises:
        ConfigError: a pair has no room for even one session of the longest length.
    """
    plan, admission, longest = fleet.plan, fleet.admission, fleet.lengths.longest_units
    config, element = plan.config, plan.element
    weights = cost.weight_bytes(config.preset, element)
    session = cost.kv_bytes(config, 0, element)
    unit = cost.kv_bytes(config, 1, element) - session
    usable = int(plan.device.memory_bytes * admission.memory_share) - weights
    capped = min(admission.most_sessions or MOST_SESSIONS, MOST_SESSIONS)
    most = max(min(capped, usable // (session + unit)), 0)
    times = batch_times(plan, max(most, 1), max(usable // unit, 1))
    sessions = np.arange(most + 1)
    by_memory = (usable - sessions * session) // unit
    by_time = history_in_time(fleet, times, by_memory)
    # The first unit is served as if it were the second (WS-FLEET-3).
    oldest = max(longest - 1, 1)
    fits = (sessions * longest <= by_memory) & (sessions * oldest <= by_time)
    places = int(sessions[fits].max(initial=0))
    if places == 0 and admission.memory == "longest":
        raise ConfigError(
            f"longest session on {plan.device.name}",
            f"{longest * clock.UNIT_NS / 1e9:g} s",
            f"at most {alone(by_memory, by_time) * clock.UNIT_NS / 1e9:g} s, for one to fit a pair",
        )
    together = np.minimum(by_memory, by_time)
    most = places if admission.memory == "longest" else int(sessions[together >= sessions].max())
    by_memory, by_time = by_memory[: most + 1], by_time[: most + 1]
    return Limits(
        by_memory=by_memory,
        by_time=by_time,
        places=places,
        longest=longest,
        weight_bytes=weights,
        session_bytes=session,
        unit_bytes=unit,
        # The responses of a batch are committed with one unit of history more.
        times=batch_times(plan, max(most, 1), max(int(by_memory.max()), 1) + 2 * most),
    )


def history_in_time(fleet: Fleet, times: BatchTimes, most: Ints) -> Ints:
    """For 0, 1, ... sessions, the most history up to ``most`` at which they keep their work within
    its share of T; -1 if there is none."""
    allowed = int(clock.UNIT_NS * fleet.admission.time_share)
    sessions = np.arange(len(most))
    low, high = np.full(len(most), -1), most + 1
    while (gap := high - low).max() > 1:
        middle = low + gap // 2
        holds = work_ns(times, fleet.plan, sessions, middle) <= allowed
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low


def work_ns(times: BatchTimes, plan: Plan, sessions: Ints, history: Ints) -> Ints:
    """What a batch needs of T: the terms of the cycle other than T itself (WS-LATENCY-3)."""
    e, u, p, d, m = (getattr(times, name).ns(sessions, history) for name in STAGES)
    c = times.comm_ns(sessions, sessions)
    most: Ints = np.maximum(p + c, e + u + c + d + m)
    if plan.config.schedule == "sequential":
        most = np.maximum(most, p + u + 2 * c)
    return most


def alone(by_memory: Ints, by_time: Ints) -> int:
    """Units that a session may have when it has a pair to itself; 0 where none fits."""
    return max(int(min(by_memory[1], by_time[1] + 1)), 0) if len(by_memory) > 1 else 0
