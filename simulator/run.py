"""One simulation from start to end: the protocol in virtual time, its trace judged, its latency.

The real exchange machines run it (`simulator.world.run`). Where nothing goes wrong the timing model
runs beside them and gives the waterfall; both must agree to the nanosecond, or one of them is
wrong. Source: design §13.
"""

from __future__ import annotations

import random
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TextIO, TypeAlias

import attrs
import numpy as np

from simulator import faults
from simulator.faults import FaultKind
from simulator.policies import Cost
from simulator.random_streams import Times
from simulator.scenario import FaultSpec, Scenario
from simulator.timeline import Timeline, cycle_ns
from simulator.timing import run_events
from simulator.unit_watch import UnitMoments, UnitWatch
from simulator.waterfall import waterfall
from simulator.world.run import Setup, WorldReport, run_world
from spec.trace import TextOut
from spec.trace_check import check_rows
from spec.trace_rows import read_rows

Rates = Mapping[FaultKind, float]

Moments: TypeAlias = "array[int]"
"""Times of a session's units, 8 bytes each."""


@attrs.frozen(kw_only=True, eq=False)
class Run:
    """How a scenario went (WS-SIMULATION-9, WS-SIMULATION-10).

    ``timeline``: of the timing model; None where faults or a policy change the course.
    ``model_side``, ``total``: latency of each response that came, int64 ns. ``cycle_ns``: of the
    slowest session. ``violations``: of the protocol's invariants and of the trace's. ``marks``:
    states and faults that were reached, by name. ``cost``: of the policy, over all sessions
    (WS-FAULTS-10).
    """

    scenario: Scenario
    timeline: Timeline | None
    model_side: Times
    total: Times
    cycle_ns: int
    violations: int
    marks: Mapping[str, int]
    trace_sha256: str
    cost: Cost = attrs.field(factory=Cost)


def rates_of(given: FaultSpec) -> dict[FaultKind, float]:
    """The ``[faults]`` table of a scenario as rates by kind (WS-FAULTS-2).

    Raises:
        FaultError: an unknown kind, or a rate that is none.
    """
    if not given:
        return {}
    return faults.parse_faults(",".join(f"{kind}={rate}" for kind, rate in given.items()))


def run(scenario: Scenario, trace: TextIO, rates: Rates | None = None) -> Run:
    """Run a scenario (WS-SIMULATION-9).

    Args:
        scenario: what is run.
        trace: an empty text file, open for writing and reading; it gets the trace.
        rates: faults a unit, by kind; the scenario's own if left out.

    Raises:
        FaultError: more sessions than faults reach.
    """
    wanted = checked_rates(scenario, rates)
    watch = Watch(trace)
    report = run_world(setup_with(scenario, wanted), watch)
    violations = violations_of(report, trace)
    if wanted or scenario.policy != "none":
        return disturbed(scenario, watch, report, violations)
    return undisturbed(scenario, watch, report, violations)


def checked_rates(scenario: Scenario, rates: Rates | None) -> Rates:
    """Faults a unit, by kind: the scenario's own if left out.

    Raises:
        FaultError: more sessions than faults reach.
    """
    wanted = rates_of(scenario.faults) if rates is None else rates
    if wanted and scenario.sessions > faults.MAX_SESSIONS:
        allowed = f"at most {faults.MAX_SESSIONS} with faults"
        raise faults.FaultError("sessions", scenario.sessions, allowed)
    return wanted


def setup_with(scenario: Scenario, rates: Rates) -> Setup:
    """The scenario with faults drawn from its seed, so many a unit of each kind (WS-FAULTS-2)."""
    rng = random.Random(scenario.seed)
    drawn = faults.draw(rng, rates, units=scenario.units, sessions=scenario.sessions)
    return Setup(scenario=scenario, faults=drawn)


def violations_of(report: WorldReport, trace: TextIO) -> int:
    """Invariants broken by a run of the protocol, and by its trace, which is read from its
    start."""
    trace.seek(0)
    checked = check_rows(read_rows(trace))
    return len(report.violations) + checked.violation_count + len(checked.unfinished)


def undisturbed(scenario: Scenario, watch: Watch, report: WorldReport, violations: int) -> Run:
    """Nothing went wrong: the timing model says where each nanosecond went (WS-SIMULATION-9)."""
    timeline = run_events(scenario)
    for session in range(scenario.sessions):
        emitted = watch.emitted[f"s{session}"]
        assert emitted.tolist() == timeline.decoded[:, session].tolist(), "two models, one pipeline"
    parts = waterfall(scenario, timeline)
    return Run(
        scenario=scenario,
        timeline=timeline,
        model_side=parts.model_side,
        total=parts.total,
        cycle_ns=int(cycle_ns(timeline).max()),
        violations=violations,
        marks=report.marks,
        trace_sha256=report.trace_sha256,
    )


def disturbed(scenario: Scenario, watch: Watch, report: WorldReport, violations: int) -> Run:
    """Faults or a policy changed the course: latencies as the trace has them (WS-SIMULATION-9)."""
    return Run(
        scenario=scenario,
        timeline=None,
        model_side=together(watch.model_side.values()),
        total=together(watch.total.values()),
        cycle_ns=max((step_of(emitted) for emitted in watch.emitted.values()), default=0),
        violations=violations,
        marks=report.marks,
        trace_sha256=report.trace_sha256,
        cost=report.cost,
    )


def step_of(emitted: Moments) -> int:
    """The mean step between responses over the second half of a session, rounded down."""
    last, middle = len(emitted) - 1, len(emitted) // 2
    return (emitted[last] - emitted[middle]) // (last - middle) if last > middle else 0


def together(sessions: Iterable[Moments]) -> Times:
    """Times of all sessions, one after the other."""
    return np.array([ns for times in sessions for ns in times], np.int64)


def _no_moments() -> Moments:
    return array("q")


class Watch(UnitWatch):
    """Keeps when each unit of each session arrived, was emitted and heard."""

    def __init__(self, stream: TextOut) -> None:
        super().__init__(stream)
        self.emitted: defaultdict[str, Moments] = defaultdict(_no_moments)
        self.model_side: defaultdict[str, Moments] = defaultdict(_no_moments)
        self.total: defaultdict[str, Moments] = defaultdict(_no_moments)

    def done(self, session: str, unit: UnitMoments) -> None:
        """See `UnitWatch`."""
        self.emitted[session].append(unit.emitted)
        self.model_side[session].append(unit.model_side)
        self.total[session].append(unit.total)
