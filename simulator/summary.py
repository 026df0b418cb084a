"""A run in the numbers that ``simulate --json`` prints.

Source: design §15; percentiles are CHOICE: the nearest rank, so each is a value that occurred.
"""

from __future__ import annotations

import attrs
import numpy as np

from simulator.prediction import binding, predicted_cycle_ns
from simulator.random_streams import Times
from simulator.run import Run
from spec import latency

MS: float = 1_000_000


@attrs.frozen(kw_only=True)
class Percentiles:
    """The median and the 99th percentile, in ms; None where there is nothing to rank."""

    p50: float | None
    p99: float | None


@attrs.frozen(kw_only=True)
class Summary:
    """What a run came to (WS-SIMULATION-10); times in ms.

    ``cycle_ms``: measured, the slowest session's. ``critical_path_ms``: e + u + p + d at the
    typical stage times (WS-LATENCY-2). ``model_side_ms`` and ``total_ms``: over all units of all
    sessions. ``deadline_misses``: units later than the scenario allows.
    """

    units: int
    cycle_ms: float
    cycle_predicted_ms: float
    binding: str
    critical_path_ms: float
    model_side_ms: Percentiles
    total_ms: Percentiles
    deadline_misses: int
    violations: int
    trace_sha256: str


def summary(result: Run) -> Summary:
    """The numbers of a run (WS-SIMULATION-10)."""
    scenario = result.scenario
    return Summary(
        units=scenario.units,
        cycle_ms=result.cycle_ns / MS,
        cycle_predicted_ms=predicted_cycle_ns(scenario) / MS,
        binding=binding(scenario),
        critical_path_ms=latency.critical_path_ns(scenario.stages.typical) / MS,
        model_side_ms=percentiles(result.model_side),
        total_ms=percentiles(result.total),
        deadline_misses=int((result.model_side > scenario.slo.deadline_ns).sum()),
        violations=result.violations,
        trace_sha256=result.trace_sha256,
    )


def percentile_ns(times: Times, percent: int) -> int:
    """The smallest time that ``percent`` of a hundred do not exceed (WS-SIMULATION-10)."""
    rank = max(-(-times.size * percent // 100), 1)
    return int(np.partition(times, rank - 1, axis=None)[rank - 1])


def percentiles(times: Times) -> Percentiles:
    """Median and 99th percentile of all times, in ms."""
    if not times.size:
        return Percentiles(p50=None, p99=None)
    return Percentiles(p50=percentile_ns(times, 50) / MS, p99=percentile_ns(times, 99) / MS)
