"""One simulated session: its thinker, performer, client and wires, and how it has to end.

Source: design §9, §13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from simulator.faults import Fault, FaultKind
from simulator.network import Letter, Wire
from simulator.policies import Cost, policy_named
from simulator.scenario import Scenario
from simulator.world.client import WorldClient
from simulator.world.machines import Machines
from simulator.world.place import Place
from simulator.world.side import Side
from simulator.world.thinker import WorldThinker
from simulator.world.times import Pauses
from spec.layout import PREFILL_UNIT
from spec.trace import Kind

AT_THE_THINKER: Final = (FaultKind.RUSH, FaultKind.SUSPECT, FaultKind.THINKER_CRASH)

RECOVERY_RESENDS: Final = 12
"""Resend periods that a session has after the last fault, beside the time its units take
(WS-FAULTS-7)."""


@attrs.frozen(kw_only=True)
class SessionReport:
    """How one session went (WS-FAULTS-7).

    ``outcome``: finished, refused (a wrong message ended it, rightly), lost (with its thinker) or
    violated. ``units``:
    responses decoded. ``latencies``: units by model-side latency in whole ms; ``misses``: units
    later than the scenario allows. ``recovery_ns``: from the last fault to the end.
    """

    outcome: str
    units: int
    latencies: Counter[int]
    misses: int
    cost: Cost
    recovery_ns: int


class Session:
    """One session of a world (WS-FAULTS-3).

    Args:
        place: what its parts share.
        faults: those of this session; after ``off_ns`` none strikes.
        unit_ns: the most that one unit alone takes, for the bound on recovery.
        mislead: takes letters that go to the wrong session, by the side they are for.
    """

    def __init__(
        self,
        place: Place,
        scenario: Scenario,
        machines: Machines,
        faults: Sequence[Fault],
        *,
        off_ns: int,
        unit_ns: int,
        mislead: Callable[[int, str, Letter], None],
    ) -> None:
        self.place = place
        self._faults = faults
        self._off_ns, self._unit_ns = off_ns, unit_ns
        self._mislead = mislead
        for fault in faults:
            if fault.kind in (FaultKind.PAUSE, FaultKind.BURST, FaultKind.STALL, FaultKind.SKEW):
                place.marks[fault.kind] += 1
        crashes = [self._clipped(f).at for f in faults if f.kind is FaultKind.THINKER_CRASH]
        place.crash_ns = min(crashes, default=None)
        self.client = WorldClient(place, scenario, self._pauses("client", FaultKind.STALL))
        self.thinker = WorldThinker(
            place,
            machines,
            scenario,
            policy_named(scenario.policy),
            self.client,
            self._pauses("thinker", FaultKind.PAUSE),
            self._skew_ppm("thinker"),
            [self._clipped(f) for f in faults if f.kind in AT_THE_THINKER],
        )
        self.performer = machines.performer_driver(
            place,
            machines.performer,
            self._pauses("performer", FaultKind.PAUSE),
            self._skew_ppm("performer"),
            [self._clipped(f) for f in faults if f.kind in (FaultKind.CRASH, FaultKind.RESTART)],
        )
        self.sides: dict[str, Side[Any]] = {
            "to-performer": self.performer,
            "to-thinker": self.thinker,
        }
        self.thinker.wire = self._wire("to-performer", lambda: self.performer.state.appended)
        self.performer.wire = self._wire("to-thinker", lambda: self.thinker.state.accepted)

    def _clipped(self, fault: Fault) -> Fault:
        """The fault, over when all faults are."""
        start = min(fault.at, self._off_ns)
        return attrs.evolve(fault, at=start, amount=min(fault.amount, self._off_ns - start))

    def _pauses(self, where: str, kind: FaultKind) -> Pauses:
        found = (self._clipped(f) for f in self._faults if f.kind is kind and f.where == where)
        return Pauses((fault.at, fault.at + fault.amount) for fault in found)

    def _skew_ppm(self, where: str) -> int:
        skews = [f.amount for f in self._faults if f.kind is FaultKind.SKEW and f.where == where]
        return skews[-1] if skews else 0

    def _wire(self, direction: str, known_up_to: Callable[[], int]) -> Wire:
        wire_kinds = (f for f in self._faults if f.where == direction)
        return Wire(
            self.place.queue,
            wire_kinds,
            self._off_ns,
            deliver=self.sides[direction].arrive,
            mislead=lambda letter: self._mislead(self.place.index, direction, letter),
            known_up_to=known_up_to,
            struck=self._struck,
        )

    def _struck(self, kind: FaultKind) -> None:
        self.place.marks[kind] += 1
        self.place.note("link", Kind.FAULT, -1, self.place.queue.now, detail={"kind": kind.value})

    @property
    def done(self) -> bool:
        """Both sides are closed and the thinker has nothing left to do, or is no more."""
        if self.place.thinker_lost:
            return self.performer.closed
        return self.thinker.closed and self.performer.closed and self.thinker.stages.idle

    @property
    def ended(self) -> bool:
        """Nothing more happens here."""
        return self.place.over or self.done

    def start(self) -> None:
        """The performer says hello; the liveness phase begins when the faults end."""
        self.performer.start()
        self.thinker.start()
        self.place.queue.schedule(self._off_ns, self._begin_liveness, None)

    def _begin_liveness(self, _: None) -> None:
        left = self.thinker.stages.unfinished_units
        recovery_ns = RECOVERY_RESENDS * self.place.resend_ns + 2 * self._unit_ns * left
        self.place.queue.schedule(self._off_ns + recovery_ns, self._require_done, None)

    def _require_done(self, _: None) -> None:
        """Once faults stop, every session finishes in bounded time (WS-FAULTS-7)."""
        if not self.ended:
            raise self.place.judge.broken(
                "liveness",
                f"at unit {self.place.judge.decoded} of {self.thinker.stages.taken}, thinker "
                f"{self.thinker.state.phase}, performer {self.performer.state.phase}",
            )

    def settle(self) -> None:
        """Judge the end, once nothing is under way (WS-FAULTS-5)."""
        if self.place.over:
            return
        self._require_done(None)
        if not self.place.thinker_lost:
            self.place.judge.closed(self.thinker.stages.taken)
        for wire in (self.thinker.wire, self.performer.wire):
            if wire.sent + wire.copied != wire.delivered + wire.lost:
                raise self.place.judge.broken("conservation", "a message was neither lost nor came")
        self.place.outcome = "lost" if self.place.thinker_lost else "finished"

    def report(self) -> SessionReport:
        """How it went."""
        return SessionReport(
            outcome=self.place.outcome,
            units=self.place.judge.decoded - PREFILL_UNIT,
            latencies=self.client.latencies,
            misses=self.client.misses,
            cost=self.client.cost,
            recovery_ns=max(0, self.place.ended_ns - self._off_ns),
        )
