"""Sessions under faults: nothing wrong while they last, and an end once they stop."""

from __future__ import annotations

import io
import random
from collections import Counter
from pathlib import Path

import attrs
import pytest
import simulation_scenarios
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation_scenarios import MS
from test_world_timing import PLAIN

from simulator.campaign_runs import run_one, setup_of
from simulator.faults import RATES, WHERE, Fault, FaultKind, draw, from_json, swarm
from simulator.scenario import ThinkerMode
from simulator.seeded_defects import SEEDED_DEFECTS
from simulator.stage_models import Constant
from simulator.world import session as world_session
from simulator.world.machines import Machines
from simulator.world.run import Setup, WorldReport, run_world
from simulator.world.side import Side
from simulator.world.trace import Recorder
from spec import clock
from spec.exchange_effects import Effect
from spec.exchange_events import Event
from spec.exchange_machine import State
from spec.latency import Handover
from spec.sizes import Schedule
from spec.trace import Kind
from spec.trace_check import check_trace
from spec.trace_reading import read_trace

UNIT = clock.UNIT_NS
K = FaultKind

SCRIPTS = Path(__file__).parent / "fault_scripts"

STAGES = (Kind.OBSERVE, Kind.UPDATE, Kind.DECODE, Kind.COMMIT)

SMALL = attrs.evolve(PLAIN, units=12, sessions=2)


def judged(setup: Setup) -> WorldReport:
    """A run that must go well, and its trace."""
    file = io.StringIO()
    report = run_world(setup, Recorder(file))
    assert report.violations == ()
    file.seek(0)
    assert check_trace(read_trace(file)).clean
    return report


@st.composite
def schedules(draw_: st.DrawFn) -> tuple[Fault, ...]:
    """A few faults of any kind in two sessions of 12 units; a shrunk one has few and early."""

    def fault(kind: FaultKind) -> Fault:
        of_message = kind in (K.LATE, K.DROP, K.DUPLICATE, K.CORRUPT, K.REORDER, K.STRAY, K.TAMPER)
        return Fault(
            kind=kind,
            session=draw_(st.integers(0, 1)),
            where=draw_(st.sampled_from(WHERE[kind])),
            at=draw_(st.integers(0, 30) if of_message else st.integers(0, 15 * UNIT)),
            amount=draw_(st.integers(0, 3 if kind is K.TAMPER else 10 * UNIT))
            if kind is not K.SKEW
            else draw_(st.integers(-200_000, 200_000)),
        )

    kinds = draw_(st.lists(st.sampled_from(FaultKind), max_size=10))
    return tuple(map(fault, kinds))


@settings(max_examples=60)
@given(schedules(), simulation_scenarios.schedules, st.booleans())
def test_any_schedule_of_faults_is_survived(
    faults: tuple[Fault, ...], schedule: Schedule, detector: bool
) -> None:
    """WS-FAULTS-3, WS-FAULTS-5, WS-FAULTS-7: no violation, a clean trace, and an end."""
    stages = PLAIN.stages
    if schedule == "sequential":
        stages = attrs.evolve(stages, commit=Constant(ns=0), solve=Constant(ns=90 * MS))
    scenario = attrs.evolve(SMALL, schedule=schedule, stages=stages)
    report = judged(Setup(scenario=scenario, faults=faults, detector=detector))
    kinds = {fault.kind for fault in faults}
    ends = {"refused": K.TAMPER, "lost": K.THINKER_CRASH}
    for session in report.sessions:
        if session.outcome == "finished":
            assert session.units == 12
        else:
            assert ends[session.outcome] in kinds


def script(name: str, detector: bool = False) -> Setup:
    faults = from_json((SCRIPTS / f"{name}.json").read_text("utf-8"))
    return Setup(scenario=SMALL, faults=faults, detector=detector)


@pytest.mark.parametrize("detector", [True, False])
@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.json")))
def test_schedules_kept_from_campaigns(name: str, detector: bool) -> None:
    """WS-FAULTS-1 and WS-FAULTS-3: data, replayed as they were."""
    report = judged(script(name, detector))
    assert {session.outcome for session in report.sessions} == {"finished"}


def test_what_two_of_them_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-EXCHANGE-11 and WS-EXCHANGE-13: the schedules still show what they were kept for."""
    keeps, _ = SEEDED_DEFECTS["WS-EXCHANGE-11 keeps latents whose acknowledgement was lost"]
    report = run_world(attrs.evolve(script("lost-latents-acks"), machines=keeps))
    assert [name for _, name, _ in report.violations] == ["bounded"]
    # Two sides whose timers any message puts off, also one that is dropped.
    as_now = Side._dropped

    def put_off(self: Side[State], event: Event, effects: tuple[Effect, ...]) -> None:
        as_now(self, event, effects)
        self._useful = True

    monkeypatch.setattr(Side, "_dropped", put_off)
    report = run_world(script("lost-open-while-latents-are-resent"))
    assert [name for _, name, _ in report.violations] == ["liveness"]


def one(kind: FaultKind, where: str, at: int, amount: int) -> Setup:
    fault = Fault(kind=kind, session=0, where=where, at=at, amount=amount)
    return Setup(scenario=SMALL, faults=(fault,))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 16 * UNIT), simulation_scenarios.handovers, simulation_scenarios.thinkers)
def test_a_lost_thinker_ends_its_session_and_no_other(
    at: int, handover: Handover, thinker: ThinkerMode
) -> None:
    """WS-FAULTS-4, WS-EXCHANGE-10: whenever it strikes, nothing of the thinker follows, what it
    owed is given up by name, the performer leaves, and the next session goes on."""
    setup = one(K.THINKER_CRASH, "thinker", at, 0)
    scenario = attrs.evolve(setup.scenario, handover=handover, thinker=thinker)
    file = io.StringIO()
    report = run_world(attrs.evolve(setup, scenario=scenario), Recorder(file))
    file.seek(0)
    events = list(read_trace(file))
    assert check_trace(iter(events)).clean
    assert report.violations == ()
    lost, other = report.sessions
    assert (other.outcome, other.units) == ("finished", 12)
    if lost.outcome == "finished":
        assert not report.marks[K.THINKER_CRASH]
        return
    assert (lost.outcome, report.marks[K.THINKER_CRASH]) == ("lost", 1)
    own = [e for e in events if e.session == "s0" and e.kind is not Kind.END]
    given_up = [e.t_ns for e in own if e.detail.get("policy") == "thinker-lost"]
    assert given_up == [at]
    of_thinker = [e for e in own if e.process == "thinker"]
    assert max(e.t_ns + (e.dur_ns if e.kind in STAGES else 0) for e in of_thinker) <= at
    # Two resend periods of 4 T, and what was under way.
    assert max(e.t_ns for e in own if e.process == "performer") <= at + 10 * UNIT


@pytest.mark.parametrize(
    ("setup", "marks"),
    [
        (one(K.DROP, "to-performer", 4, 0), {"drop", "sends SliceNack"}),
        (one(K.DROP, "to-thinker", 3, 0), {"drop"}),
        (one(K.DUPLICATE, "to-performer", 4, UNIT), {"duplicate", Event.SLICE_AGAIN}),
        (one(K.DUPLICATE, "to-thinker", 3, UNIT), {"duplicate", Event.LATENTS_AGAIN}),
        (one(K.CORRUPT, "to-performer", 4, 0), {"corrupt", "sends SliceNack"}),
        (one(K.CORRUPT, "to-thinker", 3, 0), {"corrupt", "sends LatentsNack"}),
        (one(K.LATE, "to-performer", 4, 3 * UNIT), {"late", Event.SLICE_GAP}),
        (one(K.REORDER, "to-thinker", 3, 3 * UNIT // 2), {"reorder"}),
        (one(K.CLOG, "to-performer", 4 * UNIT, 3 * UNIT), {"clog"}),
        (one(K.PARTITION, "to-thinker", 4 * UNIT, 30 * UNIT), {"partition", "performer-suspected"}),
        (one(K.PAUSE, "performer", 4 * UNIT, 3 * UNIT), {"pause"}),
        (one(K.CRASH, "performer", 4 * UNIT + 50 * MS, 2 * UNIT), {"crash", "resync"}),
        (one(K.RESTART, "performer", 4 * UNIT + 50 * MS, 0), {"restart", "resync"}),
        (one(K.STRAY, "to-performer", 4, 0), {"stray", Event.OTHER_SESSION}),
        (one(K.STALL, "client", 2 * UNIT, 14 * UNIT), {"stall", "client-stalled", "client-full"}),
        (one(K.BURST, "client", 2 * UNIT, 4 * UNIT), {"burst"}),
        (one(K.SKEW, "thinker", 0, -200_000), {"skew"}),
        (
            one(K.SUSPECT, "thinker", 4 * UNIT + 90 * MS, 0),
            {"suspect", "resync", Event.SOLVED_STALE},
        ),
    ],
    ids=lambda value: (
        f"{value.faults[0].kind}-{value.faults[0].where}" if isinstance(value, Setup) else ""
    ),
)
def test_each_fault_does_what_it_says(setup: Setup, marks: set[str]) -> None:
    """WS-FAULTS-1, WS-FAULTS-4: it strikes, it is answered, and nothing is lost by it."""
    report = judged(setup)
    assert marks <= set(report.marks)
    assert [session.units for session in report.sessions] == [12, 12]
    calm = run_world(attrs.evolve(setup, faults=()))
    assert not marks & set(calm.marks)


def test_a_slice_beyond_the_window_is_refused_and_comes_later() -> None:
    """WS-FAULTS-1: an impatient driver, while latents are late, loses nothing."""
    rush = one(K.RUSH, "thinker", 3 * UNIT, 0)
    late = one(K.LATE, "to-thinker", 7, 2 * UNIT)
    report = judged(attrs.evolve(rush, faults=rush.faults + late.faults))
    assert report.marks["offer-refused"] == report.marks["rush"] == 1
    assert report.sessions[0].units == 12


@pytest.mark.parametrize(("at", "variant"), [(4, 0), (4, 2), (4, 3)])
def test_a_wrong_message_ends_its_session_alone(at: int, variant: int) -> None:
    """WS-FAULTS-6: dtype, a unit far ahead, another digest; the other session goes on."""
    report = judged(one(K.TAMPER, "to-performer", at, variant))
    assert [session.outcome for session in report.sessions] == ["refused", "finished"]
    assert report.sessions[1].units == 12


def test_a_restarted_performer_costs_little_time() -> None:
    """WS-FAULTS-3: work that a crash interrupts is done again, and the pause is what it cost."""
    calm = run_world(Setup(scenario=SMALL)).sessions[0]
    crash = run_world(one(K.CRASH, "performer", 4 * UNIT + 50 * MS, 2 * UNIT)).sessions[0]
    slowest = max(crash.latencies)
    assert max(calm.latencies) < slowest < max(calm.latencies) + 3 * UNIT // MS


def test_a_pause_shifts_what_it_meets() -> None:
    """WS-FAULTS-4: a performer that stands still for a unit answers one unit later."""
    paused = run_world(one(K.PAUSE, "performer", 4 * UNIT + 60 * MS, UNIT)).sessions[0]
    calm = run_world(Setup(scenario=SMALL)).sessions[0]
    assert max(paused.latencies) == max(calm.latencies) + UNIT // MS - 45


@pytest.mark.parametrize("seed", range(4))
def test_the_same_run_twice_is_the_same_trace(seed: int) -> None:
    """WS-FAULTS-3: and another seed is another one."""

    def digest(n: int) -> str:
        rng = random.Random(n)
        faults = draw(rng, swarm(rng, RATES), units=12, sessions=2)
        return run_world(Setup(scenario=SMALL, faults=faults), Recorder()).trace_sha256

    assert digest(seed) == digest(seed) != digest(seed + 100)


def test_liveness_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-FAULTS-7: without time for a single resend, a lost last message is a violation."""
    setup = one(K.DROP, "to-thinker", 26, 0)
    assert run_world(setup).violations == ()
    monkeypatch.setattr(world_session, "RECOVERY_RESENDS", 0)
    assert [name for _, name, _ in run_world(setup).violations] == ["liveness"]


def test_sessions_are_separate() -> None:
    """WS-FAULTS-4: faults of one session change nothing in another."""
    rng = random.Random(8)
    faults = tuple(f for f in draw(rng, RATES, units=12, sessions=1) if f.kind is not K.TAMPER)
    calm = run_world(Setup(scenario=SMALL)).sessions[1]
    assert run_world(Setup(scenario=SMALL, faults=faults)).sessions[1] == calm


def test_a_campaign_draws_all_sorts_of_runs() -> None:
    """WS-FAULTS-2: schedules, hand-overs, streams, windows and parts all occur."""
    setups = [setup_of(0, index, RATES, Machines()) for index in range(40)]
    sorts = Counter((s.scenario.schedule, s.scenario.handover, s.scenario.thinker) for s in setups)
    assert len(sorts) == 8
    assert {s.parts for s in setups} == {1, 2}
    assert {s.window for s in setups} == {None, 3}
    assert run_one(0, 3, RATES, Machines()) == run_one(0, 3, RATES, Machines())
