"""One run of a campaign: drawn from a seed, judged, and on a sample run twice (WS-FAULTS-8).

Source: design §13; the swarm is in the manner of simulation-tested databases (CHOICE).
"""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Mapping
from typing import Final

import attrs

from simulator.faults import FaultKind, draw, swarm
from simulator.policies import POLICIES
from simulator.scenario import Scenario, StageModels
from simulator.stage_models import Constant, StageModel, Uniform
from simulator.world.machines import Machines
from simulator.world.run import Setup, WorldReport, run_world
from simulator.world.trace import Recorder
from spec.latency import Handover
from spec.sizes import Schedule
from spec.trace_check import check_trace
from spec.trace_reading import read_trace

MS: Final = 1_000_000

SESSIONS: Final = 2
"""Side by side in a run, so that letters can go astray."""

UNITS: Final = (10, 40, 150, 400)
"""Units of a session: short ones meet the ends more often, long ones run deeper."""

UNITS_MEAN: Final = SESSIONS * sum(UNITS) // len(UNITS)

TEMPERS: Final = (1.0, 1.0, 1.0, 5.0)
"""Some runs are far worse than the rates say."""

SAMPLE: Final = 100
"""Of so many runs one is traced, checked as a trace, and run again to the same digest."""


@attrs.frozen(kw_only=True)
class RunResult:
    """One run in small. ``violations``: by invariant; ``first``: the first one in words."""

    index: int
    units: int
    outcomes: Counter[str]
    violations: Counter[str]
    first: str
    marks: Counter[str]
    recovery_ns: int
    end_ns: int

    @property
    def line(self) -> str:
        """All of it as text: what the campaign's digest is made of."""
        marks = ",".join(f"{name}={self.marks[name]}" for name in sorted(self.marks))
        return f"{self.index} {self.units} {self.end_ns} {self.recovery_ns} {marks} {self.first}\n"


def setup_of(seed: int, index: int, rates: Mapping[FaultKind, float], machines: Machines) -> Setup:
    """What run ``index`` of a campaign is (WS-FAULTS-2)."""
    rng = random.Random(f"campaign/{seed}/{index}")
    units = rng.choice(UNITS)
    schedule: Schedule = rng.choice(("overlapped", "sequential"))
    handover: Handover = rng.choice(("boundary", "eager"))
    scenario = Scenario(
        name=f"campaign {seed}/{index}",
        stages=_stages(rng, schedule),
        schedule=schedule,
        handover=handover,
        thinker=rng.choice(("one-stream", "separate-streams")),
        units=units,
        sessions=SESSIONS,
        seed=index,
        policy=rng.choice(("none", "none", *POLICIES)),
    )
    temper = rng.choice(TEMPERS)
    hotter = {kind: min(1.0, temper * rate) for kind, rate in rates.items()}
    return Setup(
        scenario=scenario,
        faults=draw(rng, swarm(rng, hotter), units=units, sessions=SESSIONS),
        window=None if schedule == "sequential" else rng.choice((None, None, 3)),
        parts=rng.choice((1, 1, 1, 2)),
        detector=rng.random() < 1 / 2,
        machines=machines,
    )


def _stages(rng: random.Random, schedule: Schedule) -> StageModels:
    """Stage times that keep up with the user, with and without jitter."""

    def model(low: int, high: int) -> StageModel:
        low_ns = rng.randint(low, high) * MS
        if rng.random() < 1 / 2:
            return Constant(ns=low_ns)
        return Uniform(low_ns=low_ns, high_ns=low_ns + low_ns // 4)

    return StageModels(
        encode=model(5, 25),
        update=model(5, 25),
        comm=model(1, 8),
        solve=model(40, 100),
        back=model(1, 8),
        decode=model(5, 30),
        commit=Constant(ns=0) if schedule == "sequential" else model(0, 10),
    )


def run_one(
    seed: int, index: int, rates: Mapping[FaultKind, float], machines: Machines
) -> RunResult:
    """Run number ``index`` of a campaign (WS-FAULTS-8)."""
    setup = setup_of(seed, index, rates, machines)
    report = run_world(setup)
    violations = Counter(invariant for _, invariant, _ in report.violations)
    first = report.violations[0][2] if report.violations else ""
    if index % SAMPLE == 0 and not violations:
        trouble = _look_closer(setup, report)
        if trouble is not None:
            broken, first = trouble
            violations[broken] = 1
    return RunResult(
        index=index,
        units=report.units,
        outcomes=Counter(session.outcome for session in report.sessions),
        violations=violations,
        first=first,
        marks=report.marks,
        recovery_ns=max(session.recovery_ns for session in report.sessions),
        end_ns=report.end_ns,
    )


BY_CAUSE: Final = frozenset({"WS-TRACE-5", "WS-TRACE-14"})
"""Clauses of what a trace says about causes."""


def _look_closer(setup: Setup, untraced: WorldReport) -> tuple[str, str] | None:
    """The same run twice with a trace: the same bytes, the same outcome, and a clean trace; or
    what is broken, and how."""
    file = io.StringIO()
    first = run_world(setup, Recorder(file))
    second = run_world(setup, Recorder())
    if first != second or attrs.evolve(first, trace_sha256="") != untraced:
        return "determinism", f"run {setup.scenario.name} is not the same when run again"
    file.seek(0)
    judged = check_trace(read_trace(file))
    regular = all(session.outcome in ("finished", "lost") for session in first.sessions)
    if not regular or judged.clean:
        return None
    by_cause = any(found.clause in BY_CAUSE for found in judged.violations)
    return (
        "causality" if by_cause else "trace",
        f"trace of {setup.scenario.name}: {judged.violations[:1]} {judged.unfinished}",
    )
