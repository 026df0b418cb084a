"""Sessions under the real exchange protocol in virtual time, with faults (WS-FAULTS-3).

Each session has a thinker, a performer, a client and two wires; all share one queue of events. What
happens is a function of the scenario and the fault schedule. First comes the safety phase: faults
strike, and nothing wrong may happen. Then the liveness phase: nothing more goes wrong, and every
session must finish within a stated time (WS-FAULTS-7). Source: design §9, §10, §13.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import attrs

from simulator.faults import Schedule
from simulator.network import Letter
from simulator.policies import Cost
from simulator.scenario import Scenario
from simulator.world.digests import shards_of
from simulator.world.judge import InvariantError, Judge
from simulator.world.machines import Machines
from simulator.world.place import Place, Queue
from simulator.world.session import Session, SessionReport
from simulator.world.times import SessionTimes
from simulator.world.trace import Recorder
from spec import clock, latency
from spec.exchange_terms import Terms, terms_of
from spec.presets import preset_named
from spec.session import SessionConfig

CONTROL_NS: Final = 1_000_000
"""What a message without a payload takes at most; never more than a slice."""

RESEND_UNITS: Final = 4
"""Silence, in units, after which a side resends; longer where a unit takes longer."""

LOST_AFTER: Final = 3
"""Silence, in resend periods, after which the thinker takes the performer for lost."""

TAIL_UNITS: Final = 4
"""Faults go on for so long after the last user unit, so that they meet the end of sessions too."""


@attrs.frozen(kw_only=True)
class Setup:
    """All that a run is a function of (WS-FAULTS-3).

    ``window``: slices ahead of the responses, None for 1 + λ. ``parts``: messages a slice is cut
    into. ``detector``: the thinker takes a long silence for a lost performer; without it only
    hellos and resends help. ``machines``: the true pair, or one with a seeded defect.
    """

    scenario: Scenario
    faults: Schedule = ()
    window: int | None = None
    parts: int = 1
    detector: bool = True
    machines: Machines = Machines()


@attrs.frozen(kw_only=True)
class WorldReport:
    """How a run went. ``violations``: (session, invariant, what happened), in order of time;
    ``marks``: how often each named state was reached, faults included; ``end_ns``: virtual time at
    the end; ``trace_sha256``: of the trace, empty if none was kept."""

    sessions: tuple[SessionReport, ...]
    violations: tuple[tuple[int, str, str], ...]
    marks: Counter[str]
    end_ns: int
    trace_sha256: str

    @property
    def units(self) -> int:
        """Responses decoded in all sessions."""
        return sum(session.units for session in self.sessions)

    @property
    def cost(self) -> Cost:
        """What the policy cost all sessions together (WS-FAULTS-10)."""
        costs = [session.cost for session in self.sessions]
        return Cost(
            units_skipped=sum(cost.units_skipped for cost in costs),
            frames_repeated=sum(cost.frames_repeated for cost in costs),
            steps_lost=sum(cost.steps_lost for cost in costs),
        )


def run_world(setup: Setup, recorder: Recorder | None = None) -> WorldReport:
    """Run every session of a setup to its end (WS-FAULTS-3).

    Args:
        setup: what to run.
        recorder: gets the trace, if one is wanted.
    """
    return _World(setup, recorder).run()


def terms_of_session(setup: Setup, name: str) -> Terms:
    """The terms of one session (WS-EXCHANGE-1): the scenario's preset, all modalities."""
    scenario = setup.scenario
    config = SessionConfig(preset=preset_named(scenario.preset), schedule=scenario.schedule)
    terms = terms_of(config, name, "float32")
    return terms if setup.window is None else attrs.evolve(terms, window=setup.window)


class _World:
    def __init__(self, setup: Setup, recorder: Recorder | None) -> None:
        self.setup = setup
        self.queue = Queue()
        self.recorder = recorder
        self.marks = Counter[str]()
        self.off_ns = (setup.scenario.units + TAIL_UNITS) * clock.UNIT_NS
        stages = setup.scenario.stages.typical
        alone_ns = latency.as_scheduled_ns(stages, "eager") + stages.commit
        self.unit_ns = max(clock.UNIT_NS, alone_ns)
        self.violations: list[tuple[int, str, str]] = []
        self.sessions = [self._session(index) for index in range(setup.scenario.sessions)]

    def _session(self, index: int) -> Session:
        setup, scenario = self.setup, self.setup.scenario
        faults = [fault for fault in setup.faults if fault.session == index]
        terms = terms_of_session(setup, f"s{index}")
        shards = shards_of(terms, setup.parts)
        place = Place(
            index=index,
            name=terms.session,
            terms=terms,
            shards=shards,
            queue=self.queue,
            times=SessionTimes(scenario, index, faults),
            judge=Judge(index, terms, shards),
            marks=self.marks,
            recorder=self.recorder,
            control_ns=min(CONTROL_NS, scenario.stages.comm.typical_ns),
            resend_ns=RESEND_UNITS * self.unit_ns,
            lost_after_ns=LOST_AFTER * RESEND_UNITS * self.unit_ns if setup.detector else None,
        )
        return Session(
            place,
            scenario,
            setup.machines,
            faults,
            off_ns=self.off_ns,
            unit_ns=self.unit_ns,
            mislead=self._mislead,
        )

    def _mislead(self, index: int, direction: str, letter: Letter) -> None:
        """A letter of one session arrives in the next one (WS-FAULTS-4)."""
        other = self.sessions[(index + 1) % len(self.sessions)]
        if other.place.index != index:
            other.sides[direction].arrive(letter._replace(stray=True))

    def run(self) -> WorldReport:
        for session in self.sessions:
            session.start()
        if self.recorder is not None:
            self.queue.schedule(0, self._flush, self.recorder)
        while True:
            try:
                self.queue.run()
                break
            except InvariantError as error:
                self._violated(error)
        for session in self.sessions:
            try:
                session.settle()
            except InvariantError as error:
                self._violated(error)
        return self._report()

    def _violated(self, error: InvariantError) -> None:
        place = self.sessions[error.session].place
        place.outcome, place.over = "violated", True
        self.violations.append((error.session, error.invariant, str(error)))

    def _flush(self, recorder: Recorder) -> None:
        recorder.flush(self.queue.now)
        if not all(session.ended for session in self.sessions):
            self.queue.schedule(self.queue.now + clock.UNIT_NS, self._flush, recorder)

    def _report(self) -> WorldReport:
        digest = ""
        if self.recorder is not None:
            digest = self.recorder.end(self.sessions[-1].place.name, self.queue.now)
        return WorldReport(
            sessions=tuple(session.report() for session in self.sessions),
            violations=tuple(self.violations),
            marks=self.marks,
            end_ns=self.queue.now,
            trace_sha256=digest,
        )
