"""What one fault does to messages and processes, to the nanosecond, and to nothing else."""

from __future__ import annotations

import io

import attrs
import pytest
from simulation_scenarios import MS
from test_world_timing import PLAIN

from simulator.faults import Fault, FaultKind
from simulator.link import Link
from simulator.network import Letter, Wire
from simulator.seeded_defects import SEEDED_DEFECTS
from simulator.seeded_drivers import DRIVER_DEFECTS
from simulator.stage_models import Constant
from simulator.world.machines import Machines
from simulator.world.place import Queue
from simulator.world.run import Setup, run_world
from simulator.world.times import Pauses
from simulator.world.trace import Recorder
from spec import clock, cost
from spec.exchange import PERFORMER
from spec.exchange_events import Action, Event, Phase
from spec.exchange_message import LatentsNack
from spec.presets import preset_named
from spec.session import SessionConfig
from spec.trace import Kind, TraceEvent
from spec.trace_reading import read_trace

UNIT = clock.UNIT_NS
K = FaultKind

SMALL = attrs.evolve(PLAIN, units=12)
ALONE = (20 + 20 + 5 + 110 + 5 + 30 + 7) * MS
"""What one unit takes alone: U of WS-FAULTS-7."""


def fault(kind: FaultKind, where: str, at: int, amount: int) -> Fault:
    return Fault(kind=kind, session=0, where=where, at=at, amount=amount)


def events_of(setup: Setup) -> list[TraceEvent]:
    """The trace of a run without a violation."""
    file = io.StringIO()
    assert run_world(setup, Recorder(file)).violations == ()
    file.seek(0)
    return [event for event in read_trace(file) if event.kind is not Kind.END]


def came_through(
    *faults: Fault, off_ns: int = UNIT
) -> tuple[list[tuple[int | None, int]], list[int | None]]:
    """Of messages 0, 1 and 2, sent at 0, 10 and 20 ms and a ms on the way: which came, and at what
    ms, None for one that cannot be read; and which went astray."""
    queue, came, astray = Queue(), list[tuple[int | None, int]](), list[int | None]()

    def number_of(letter: Letter) -> int | None:
        message = letter.message
        return message.unit if isinstance(message, LatentsNack) else None

    wire = Wire(
        queue,
        faults,
        off_ns,
        deliver=lambda letter: came.append((number_of(letter), queue.now // MS)),
        mislead=lambda letter: astray.append(number_of(letter)),
        known_up_to=lambda: 0,
        struck=lambda _: None,
    )
    for n in range(3):
        letter = Letter(LatentsNack(session="s", epoch=0, unit=n))
        queue.schedule(10 * n * MS, lambda sent: wire.send(sent, queue.now + MS), letter)
    queue.run()
    assert wire.sent + wire.copied == wire.delivered + wire.lost
    return came, astray


@pytest.mark.parametrize(
    ("kind", "at", "amount", "came", "astray"),
    [
        (K.DROP, 0, 0, [(1, 11), (2, 21)], []),
        (K.LATE, 1, 15 * MS, [(0, 1), (2, 21), (1, 26)], []),
        (K.REORDER, 0, 11 * MS, [(1, 11), (0, 12), (2, 21)], []),
        (K.DUPLICATE, 2, 5 * MS, [(0, 1), (1, 11), (2, 21), (2, 26)], []),
        (K.CORRUPT, 1, 0, [(0, 1), (None, 11), (2, 21)], []),
        (K.STRAY, 1, 0, [(0, 1), (1, 11), (2, 21)], [1]),
        (K.CLOG, 5 * MS, 10 * MS, [(0, 1), (1, 15), (2, 21)], []),
        (K.CLOG, 5 * MS, 5 * MS, [(0, 1), (1, 11), (2, 21)], []),
        (K.PARTITION, 10 * MS, 10 * MS, [(0, 1), (2, 21)], []),
    ],
)
def test_what_a_fault_does_to_messages(
    kind: FaultKind, at: int, amount: int, came: list[tuple[int | None, int]], astray: list[int]
) -> None:
    """WS-FAULTS-1: to one of them, counted from 0, or to what is sent within a time."""
    assert came_through(fault(kind, "to-performer", at, amount)) == (came, astray)


@pytest.mark.parametrize(
    ("kind", "at", "came"),
    [
        (K.DROP, 2, [(0, 1), (1, 11), (2, 21)]),
        (K.CLOG, 5 * MS, [(0, 1), (1, 15), (2, 21)]),
        (K.PARTITION, 5 * MS, [(0, 1), (2, 21)]),
    ],
)
def test_no_message_is_struck_after_the_end_of_faults(
    kind: FaultKind, at: int, came: list[tuple[int | None, int]]
) -> None:
    """WS-FAULTS-7: it is at 15 ms, and what was held back comes then."""
    found, _ = came_through(fault(kind, "to-performer", at, UNIT), off_ns=15 * MS)
    assert found == came


def test_a_stray_message_goes_to_the_next_session() -> None:
    """WS-FAULTS-1: of three, to the second and not to the third."""
    scenario = attrs.evolve(SMALL, sessions=3)
    stray = fault(K.STRAY, "to-performer", 4, 0)
    events = events_of(Setup(scenario=scenario, faults=(stray,)))
    assert {e.session for e in events if e.detail.get("event") == Event.OTHER_SESSION} == {"s1"}


@pytest.mark.parametrize("skew_ppm", [-200_000, 0, 150_000])
def test_a_skewed_clock_is_slow_by_so_many_parts(skew_ppm: int) -> None:
    """WS-FAULTS-1, WS-FAULTS-7: a hello that is lost comes again after 4 U by the clock of the
    performer."""
    faults = (fault(K.DROP, "to-thinker", 0, 0), fault(K.SKEW, "performer", 0, skew_ppm))
    events = events_of(Setup(scenario=SMALL, faults=faults))
    hellos = [e.t_ns for e in events if e.detail.get("kind") == "Hello" and e.kind is Kind.SEND]
    assert hellos[:2] == [0, 4 * ALONE + 4 * ALONE * skew_ppm // 1_000_000]


@pytest.mark.parametrize(
    ("where", "at", "slow"),
    [("thinker", 4 * UNIT + 180 * MS, Kind.OBSERVE), ("performer", 5 * UNIT + 90 * MS, Kind.SOLVE)],
)
def test_a_pause_stops_one_process(where: str, at: int, slow: Kind) -> None:
    """WS-FAULTS-1, WS-FAULTS-4: its work takes so much longer, that of the other one does not."""
    events = events_of(Setup(scenario=SMALL, faults=(fault(K.PAUSE, where, at, UNIT),)))
    stages = {Kind.OBSERVE: 20, Kind.UPDATE: 20, Kind.SOLVE: 110, Kind.DECODE: 30, Kind.COMMIT: 7}
    longer = [(e.kind, e.dur_ns - stages[e.kind] * MS) for e in events if e.kind in stages]
    assert [found for found in longer if found[1]] == [(slow, UNIT)]


def test_work_that_is_done_as_a_pause_begins_is_done() -> None:
    """WS-FAULTS-4: and what meets a pause takes longer by all of it, by several by their sum."""
    pauses = Pauses([(30, 40), (10, 20), (35, 45)])
    assert pauses.done(0, 10) == 10
    assert pauses.done(0, 11) == 21
    assert pauses.done(15, 10) == 30
    assert pauses.done(15, 11) == 46
    assert [pauses.awake(at) for at in (9, 10, 19, 20, 44, 45)] == [9, 20, 20, 20, 45, 45]


def test_a_process_that_stands_still_takes_messages_later() -> None:
    """WS-FAULTS-4: all that came meanwhile, at the instant at which it runs again."""
    start, end = 5 * UNIT, 8 * UNIT + 40 * MS
    pause = fault(K.PAUSE, "performer", start, end - start)
    events = events_of(Setup(scenario=SMALL, faults=(pause,)))
    received = [e for e in events if (e.process, e.kind) == ("performer", Kind.RECEIVE)]
    assert not [e for e in received if start <= e.t_ns < end]
    sent = {e.id: e.t_ns + e.dur_ns for e in events if e.kind is Kind.SEND}
    late = [sent[e.cause[0]] for e in received if e.t_ns == end]
    assert late
    assert all(start <= came < end for came in late)
    # None is left out: later ones take the time of their way.
    assert all(sent[e.cause[0]] == e.t_ns for e in received if e.t_ns != end)


def test_a_process_that_is_down_loses_what_arrives() -> None:
    """WS-FAULTS-4: nothing of it is there when it starts again."""
    start, end = 5 * UNIT, 7 * UNIT
    crash = fault(K.CRASH, "performer", start, end - start)
    events = events_of(Setup(scenario=SMALL, faults=(crash,)))
    of_performer = [e for e in events if e.process == "performer" and e.t_ns > start]
    assert (of_performer[0].t_ns, of_performer[0].detail["kind"]) == (end, "Hello")


def test_a_client_that_does_not_read_is_waited_for_by_eight() -> None:
    """WS-FAULTS-4: eight responses wait, the ninth is not even taken; then all come."""
    stall = fault(K.STALL, "client", 0, 14 * UNIT)
    events = events_of(Setup(scenario=SMALL, faults=(stall,)))
    waiting = [int(e.detail["queue"] or 0) for e in events if e.kind is Kind.EMIT]
    assert max(waiting) == 8
    assert len(waiting) == 12


@pytest.mark.parametrize(("comm_ns", "control_ns"), [(5 * MS, MS), (MS // 2, MS // 2)])
def test_a_message_without_a_payload_takes_a_millisecond(comm_ns: int, control_ns: int) -> None:
    """WS-FAULTS-3: or what a slice takes, if that is less; the prefill too."""
    stages = attrs.evolve(PLAIN.stages, comm=Constant(ns=comm_ns))
    events = events_of(Setup(scenario=attrs.evolve(SMALL, stages=stages)))
    sent = [e for e in events if e.kind is Kind.SEND and "kind" in e.detail]
    assert {e.dur_ns for e in sent if e.detail["kind"] not in ("Header", "Latents")} == {control_ns}
    assert [e.dur_ns for e in sent if e.detail["kind"] == "Header"] == [control_ns] + [comm_ns] * 12


def test_a_resent_slice_takes_what_a_slice_takes() -> None:
    """WS-FAULTS-3: one that was lost on its way, and those after it, one after the other."""
    lost = fault(K.DROP, "to-performer", 4, 0)
    events = events_of(Setup(scenario=SMALL, faults=(lost,)))
    sent = [e for e in events if e.detail.get("kind") == "Header" and e.kind is Kind.SEND]
    twice = {e.unit for e in sent if sum(e.unit == other.unit for other in sent) > 1}
    assert twice
    assert {e.dur_ns for e in sent if e.unit >= 0} == {5 * MS}


def test_a_snapshot_takes_the_time_of_its_bytes_on_a_link() -> None:
    """WS-FAULTS-3: all of the history, where a slice keeps its stage time; without a link that of a
    slice."""
    link = Link(latency_ns=3 * MS, jitter_ns=0, bytes_per_second=1_000_000)
    faults = tuple(fault(K.RESTART, "performer", k * UNIT + 100 * MS, 0) for k in (3, 6, 9))
    config = SessionConfig(preset=preset_named(SMALL.preset), schedule=SMALL.schedule)
    row_bytes = cost.ROW_BYTES + cost.kv_bytes_per_token(config.preset.backbone, 4)

    def snapshots(on: Link | None) -> list[tuple[int, int]]:
        """Units and times of the first messages after each export."""
        events = events_of(Setup(scenario=attrs.evolve(SMALL, link=on), faults=faults))
        exports = [e.id for e in events if e.kind is Kind.EXPORT and e.t_ns > UNIT]
        sent = [e for e in events if e.kind is Kind.SEND]
        found = (next(e for e in sent if export in e.cause) for export in exports)
        return [(e.unit, e.dur_ns) for e in found]

    units = [unit for unit, _ in snapshots(link)]
    assert len(set(units)) == 3
    tokens = [
        config.layout.prefill_tokens + (unit + 1) * cost.unit_tokens(config.layout)
        for unit in units
    ]
    # A megabyte a second: a microsecond a byte.
    assert snapshots(link) == [
        (unit, 3 * MS + n * row_bytes * 1000) for unit, n in zip(units, tokens, strict=True)
    ]
    assert [taken for _, taken in snapshots(None)] == [5 * MS] * 3


@pytest.mark.parametrize(("late_ns", "refused"), [(5 * UNIT // 2, True), (3 * UNIT, False)])
def test_another_digest_for_a_response_that_is_remembered(late_ns: int, refused: bool) -> None:
    """WS-FAULTS-6: of the newest window + 1 it ends the session, and a thinker that takes it is
    judged; one before them may be forgotten."""
    faults = (fault(K.LATE, "to-thinker", 7, late_ns), fault(K.TAMPER, "to-thinker", 7, 3))
    setup = Setup(scenario=SMALL, faults=faults)
    right = run_world(setup)
    assert right.violations == ()
    assert right.sessions[0].outcome == ("refused" if refused else "finished")
    machines, _ = SEEDED_DEFECTS["WS-EXCHANGE-9 takes other latents for a copy"]
    wrong = run_world(attrs.evolve(setup, machines=machines))
    assert [name for _, name, _ in wrong.violations] == ["refusal"] * refused


def test_a_copy_that_is_answered_with_something_else_is_judged() -> None:
    """WS-FAULTS-5: only its acknowledgement will do."""
    asking = attrs.evolve(
        PERFORMER,
        transitions={
            (phase, event): (phase, (Action.DROP, Action.SEND_NACK))
            if event is Event.SLICE_AGAIN
            else row
            for (phase, event), row in PERFORMER.transitions.items()
        },
    )
    copy = fault(K.DUPLICATE, "to-performer", 4, UNIT)
    setup = Setup(scenario=SMALL, faults=(copy,), machines=Machines(performer=asking))
    assert [name for _, name, _ in run_world(setup).violations] == ["answers"]


def test_a_stray_message_that_opens_a_gap_is_judged() -> None:
    """WS-FAULTS-6: nothing of the state changes, not even what is asked for next."""
    gap = attrs.evolve(
        PERFORMER,
        transitions={
            (phase, event): (Phase.GAP, ())
            if (phase, event) == (Phase.STREAMING, Event.OTHER_SESSION)
            else row
            for (phase, event), row in PERFORMER.transitions.items()
        },
    )
    setup = Setup(
        scenario=attrs.evolve(SMALL, sessions=2),
        faults=(fault(K.STRAY, "to-performer", 4, 0),),
        machines=Machines(performer=gap),
    )
    assert [name for _, name, _ in run_world(setup).violations] == ["isolation"]


@pytest.mark.parametrize("at", [0, 5 * UNIT + 100 * MS, 13 * UNIT])
def test_the_bound_on_recovery(at: int) -> None:
    """WS-FAULTS-7: 12 resend periods of 4 U after the last fault, and 2 U for each unit that was
    unanswered; a performer that never leaves is judged then, at its next timer all is over."""
    machines = DRIVER_DEFECTS["WS-EXCHANGE-10 outlives a lost thinker"]
    crash = fault(K.THINKER_CRASH, "thinker", at, 0)
    report = run_world(Setup(scenario=SMALL, faults=(crash,), machines=machines))
    assert [name for _, name, _ in report.violations] == ["liveness"]
    unanswered = 12 - report.sessions[0].units
    judged = 16 * UNIT + (12 * 4 + 2 * unanswered) * ALONE
    assert judged <= report.end_ns < judged + 4 * ALONE


def test_faults_strike_until_four_units_after_the_last() -> None:
    """WS-FAULTS-7: a pause that would go on for ever ends there, and so does the session."""
    pause = fault(K.PAUSE, "performer", 12 * UNIT, 1000 * UNIT)
    events = events_of(Setup(scenario=SMALL, faults=(pause,)))
    own = [e.t_ns for e in events if (e.process, e.kind) == ("performer", Kind.RECEIVE)]
    assert not [t for t in own if 12 * UNIT <= t < 16 * UNIT]
    assert 16 * UNIT in own
