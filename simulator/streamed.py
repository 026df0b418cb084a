"""A simulation that holds no units: its trace goes to disk as time goes on, its numbers too.

The summary is that of `simulator.run`, to the last digit; what needs every unit at once (waterfall,
critical path, pictures) is left out. Source: CHOICE (WS-SIMULATION-13).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TextIO

import numpy as np

from simulator.prediction import binding, predicted_cycle_ns
from simulator.run import Rates, checked_rates, setup_with, violations_of
from simulator.scenario import Scenario
from simulator.spool import Spool
from simulator.summary import MS, Percentiles, Summary
from simulator.unit_watch import UnitMoments, UnitWatch
from simulator.world.run import run_world
from spec import latency
from spec.trace import TextOut

SESSION, STEP, MODEL_SIDE, TOTAL = range(4)
"""Columns of the spool. STEP is the instant whose mean step is the cycle."""


class SpoolWatch(UnitWatch):
    """Writes each unit to a spool (WS-SIMULATION-13)."""

    def __init__(self, stream: TextOut, spool: Spool, *, by_slices: bool, deadline_ns: int) -> None:
        super().__init__(stream)
        self._spool, self._by_slices, self._deadline_ns = spool, by_slices, deadline_ns
        self.units, self.misses = Counter[int](), 0

    def done(self, session: str, unit: UnitMoments) -> None:
        """See `UnitWatch`."""
        index = int(session.removeprefix("s"))
        self.units[index] += 1
        self.misses += unit.model_side > self._deadline_ns
        step = unit.sent if self._by_slices else unit.emitted
        self._spool.add(index, step, unit.model_side, unit.total)


def run_streamed(scenario: Scenario, trace: TextIO, rates: Rates | None = None) -> Summary:
    """Run a scenario in memory that does not grow with its length (WS-SIMULATION-13).

    Args:
        scenario: what is run.
        trace: an empty text file, open for writing and reading; it gets the trace.
        rates: faults a unit, by kind; the scenario's own if left out.

    Raises:
        FaultError: more sessions than faults reach.
    """
    wanted = checked_rates(scenario, rates)
    with Spool(4) as spool:
        watch = SpoolWatch(
            trace,
            spool,
            by_slices=not wanted and scenario.policy == "none",
            deadline_ns=scenario.slo.deadline_ns,
        )
        report = run_world(setup_with(scenario, wanted), watch)
        return Summary(
            units=scenario.units,
            cycle_ms=cycle_ns(spool, watch.units) / MS,
            cycle_predicted_ms=predicted_cycle_ns(scenario) / MS,
            binding=binding(scenario),
            critical_path_ms=latency.critical_path_ns(scenario.stages.typical) / MS,
            model_side_ms=percentiles(spool, MODEL_SIDE),
            total_ms=percentiles(spool, TOTAL),
            deadline_misses=watch.misses,
            violations=violations_of(report, trace),
            trace_sha256=report.trace_sha256,
        )


def percentiles(spool: Spool, column: int) -> Percentiles:
    """Median and 99th percentile of a column, in ms, by the nearest rank."""
    if not spool.count:
        return Percentiles(p50=None, p99=None)
    ranks = (max(-(-spool.count * percent // 100), 1) for percent in (50, 99))
    p50, p99 = (spool.ranked(column, rank) / MS for rank in ranks)
    return Percentiles(p50=p50, p99=p99)


def cycle_ns(spool: Spool, units: Mapping[int, int]) -> int:
    """The mean step over the second half of the slowest session, rounded down; 0 without one
    (WS-SIMULATION-6)."""
    seen = np.zeros(max(units, default=0) + 1, np.int64)
    middle, slowest = dict[int, int](), 0
    for rows in spool.rows():
        for session, step in rows[:, : STEP + 1].tolist():
            place, count = int(seen[session]), units[session]
            seen[session] += 1
            if place == count // 2:
                middle[session] = step
            if place == count - 1 > count // 2:
                slowest = max(slowest, (step - middle[session]) // (place - count // 2))
    return slowest
