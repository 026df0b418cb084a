"""When the thinker of a simulated session encodes, updates, decodes and commits.

The rules are those of `simulator.timing` (WS-SIMULATION-5). There a slice is over when it is sent
and latents are there when they are solved; here the exchange says so, and a policy may leave user
units out. Source: DERIVED from design §8, §10, §13.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from simulator.policies import ALL, FULL, Effort, Policy
from simulator.scenario import Scenario
from simulator.timing import CHOOSING, IN_WORK
from simulator.world.client import WorldClient
from simulator.world.place import Place
from simulator.world.times import Pauses
from spec import clock
from spec.presets import preset_named
from spec.trace import Detail, Kind
from spec.trace_queues import length_of

STREAMS: Final = ("encoder", "updater", "decoder")
KINDS: Final[Mapping[str, Kind]] = {
    "encode": Kind.OBSERVE, "update": Kind.UPDATE, "decode": Kind.DECODE, "commit": Kind.COMMIT,
}  # fmt: skip


class Exchanging(ABC):
    """What the stages need of the exchange."""

    returned: int
    """How many responses the thinker has, decoded or not."""

    @abstractmethod
    def offer(self, unit: int, cause: str) -> int:
        """Slice ``unit`` is made; returns how long the thinker is busy sending it, in ns."""

    @abstractmethod
    def finish(self) -> None:
        """No slice follows."""

    @abstractmethod
    def latents_cause(self, unit: int) -> str:
        """The trace event that brought the latents of ``unit``."""


@attrs.frozen
class InWork:
    """A session unit on its way: when its user unit arrived, what its response is worth, and the
    trace event that the next stage waits for."""

    arrived_ns: int
    effort: Effort
    cause: str


class Stages:
    """The stages of one thinker (WS-SIMULATION-5, WS-FAULTS-3).

    ``taken`` counts the user units that became session units; the others were skipped. ``lasting``
    is true until the stages have nothing left to do.
    """

    def __init__(
        self,
        place: Place,
        scenario: Scenario,
        policy: Policy,
        client: WorldClient,
        exchange: Exchanging,
        pauses: Pauses,
    ) -> None:
        self._place, self._queue = place, place.queue
        self._units = scenario.units
        self._lag = scenario.lag
        self._overlapped = scenario.lag == 1
        self._boundary = scenario.handover == "boundary"
        one_stream = scenario.thinker == "one-stream"
        # Boundary on one stream is a fixed order: the thinker does not run ahead of its decoder.
        self._strict = one_stream and self._boundary
        self._ahead_wakes = one_stream and not self._boundary
        self._encoder, self._updater, self._decoder = (0, 0, 0) if one_stream else (0, 1, 2)
        self._named: Mapping[str, Detail] = {
            stream: {} if one_stream else {"resource": f"{place.name}/{stream}"}
            for stream in STREAMS
        }
        self._steps = preset_named(scenario.preset).solver_steps
        self._policy, self._client, self._exchange = policy, client, exchange
        self._pauses = pauses
        self._busy = [False, False, False]
        self._waking = False
        self._arrived = self._said = 0
        self._spoken: deque[str] = deque()
        self._waiting: deque[tuple[int, str]] = deque()
        self._in_work: dict[int, InWork] = {}
        self._committed_by: dict[int, str] = {}
        self.taken = self._encoded = self._sent = self.decoded = self._committed = 0
        self._decode_begun = 0

    @property
    def over(self) -> bool:
        """Nothing is begun any more."""
        return self._place.thinker_over

    @property
    def all_arrived(self) -> bool:
        """No user unit will come."""
        return self._arrived >= self._units

    @property
    def idle(self) -> bool:
        """Every user unit has been answered or skipped, and the last answer committed."""
        over = self.all_arrived and not self._waiting and self.decoded == self.taken
        return over and (self._committed == self.taken or not self._overlapped)

    @property
    def unfinished_units(self) -> int:
        """User units that are not answered yet, those still to come included."""
        return self._units - min(self._arrived, self._units) + len(self._waiting) + (
            self.taken - self.decoded
        )  # fmt: skip

    def start(self) -> None:
        """Wait for user unit 0."""
        self._queue.schedule(self._place.times.arrival(0), self._on_arrival, 0)
        if self._place.recorder is not None:
            self._queue.schedule(clock.unit_available_ns(0), self._speak, 0)

    def wake(self) -> None:
        """Something changed: begin what may begin now."""
        if self.over:
            return
        if not self._ahead_wakes:
            self._begin(None)
        elif not self._waking and not self._busy[0]:
            self._waking = True
            self._queue.schedule(self._queue.now, self._begin, None, CHOOSING)

    def _on_arrival(self, unit: int) -> None:
        """User unit ``unit`` is there; the one after the last is only a boundary."""
        if self.over:
            return
        self._arrived = unit + 1
        if unit < self._units:
            cause = self._traced_arrival(unit) if self._place.recorder is not None else ""
            self._waiting.append((self._queue.now, cause))
            self._queue.schedule(self._place.times.arrival(unit + 1), self._on_arrival, unit + 1)
        self.wake()

    def _speak(self, unit: int) -> None:
        """The user has produced ``unit``; only traces need to know."""
        if self.over or unit < self._said:
            return
        self._said = unit + 1
        self._spoken.append(self._place.note("client", Kind.SEND, unit, self._queue.now, 0, ()))
        if self._said < self._units:
            self._queue.schedule(clock.unit_available_ns(self._said), self._speak, self._said)

    def _traced_arrival(self, unit: int) -> str:
        if unit == self._said:
            # It takes no time to arrive, and this event came first.
            self._speak(unit)
        cause = self._spoken.popleft()
        return self._place.note("thinker", Kind.RECEIVE, unit, self._queue.now, 0, (cause,))

    def _begin(self, _: None) -> None:
        """Begin every stage that may begin on a stream that is free."""
        self._waking = False
        if self.over:
            return
        busy, returned = self._busy, self._exchange.returned
        if not busy[self._updater]:
            k = self._sent
            if self._encoded > k:
                if self.may_update(k, returned):
                    self._run(self._updater, "update", k, self._on_update)
                elif returned < k - self._lag:
                    self._place.marks["window-full"] += 1
        if not busy[self._decoder]:
            k = self.decoded
            if self.may_decode(k, returned):
                self._decode_begun = k + 1
                self._run(self._decoder, "decode", k, self._on_decode)
        if self._overlapped and not busy[self._updater]:
            k = self._committed
            if returned > k and not self._before_boundary(k + 1):
                self._run(self._updater, "commit", k, self._on_commit)
        if not busy[self._encoder] and self._waiting:
            k = self.taken
            if not (
                (self._strict and self._unfinished(k - 2)) or self._decode_begun <= k - IN_WORK
            ):
                self._take(k)
                self._run(self._encoder, "encode", k, self._on_encode)

    def may_update(self, k: int, returned: int) -> bool:
        """What update k has to see is there: overlapped z_{k-2} is committed, sequential z_{k-1} is
        here."""
        return self._committed >= k - 1 if self._overlapped else returned >= k

    def may_decode(self, k: int, returned: int) -> bool:
        """z_k is here, and handed over; on one stream z_{k-1} is committed."""
        return returned > k and not (
            (self._boundary and self._before_boundary(k + 1))
            or (self._strict and self._overlapped and self._committed < k)
        )

    def _take(self, k: int) -> None:
        """The oldest user unit that the policy does not leave out becomes session unit k."""
        skips = self._policy.skips(len(self._waiting) - 1)
        for _ in range(skips):
            self._waiting.popleft()
        if skips:
            self._client.cost.units_skipped += skips
            self._client.cost.frames_repeated += skips * clock.FRAMES_PER_UNIT
            self._place.marks["units-skipped"] += 1
        arrived_ns, cause = self._waiting.popleft()
        effort = self._policy.effort(len(self._waiting), self._steps)
        if effort is not FULL:
            self._place.efforts[k] = effort
            self._place.marks["less-effort"] += 1
        self._in_work[k] = InWork(arrived_ns, effort, cause)
        self.taken = k + 1

    def _before_boundary(self, k: int) -> bool:
        """True until slice k is sent; after the last unit, until one more would have arrived."""
        if k < self.taken or self._waiting or self._arrived < self._units:
            return self._sent <= k
        return self._arrived <= self._units

    def _unfinished(self, k: int) -> bool:
        return self.decoded <= k or (self._overlapped and self._committed <= k)

    def _run(self, stream: int, stage: str, unit: int, then: Callable[[int], None]) -> None:
        """Occupy a stream with one stage of one unit."""
        self._busy[stream] = True
        place, now = self._place, self._queue.now
        length_ns = place.times.stage(stage, unit)
        if stage == "decode":
            length_ns = length_ns * self._in_work[unit].effort.decode_ppm // ALL
            place.judge.decodes(unit)
        elif stage == "update":
            place.judge.updates(unit, self._lag)
        end_ns = self._pauses.done(now, length_ns)
        if place.recorder is not None:
            detail = self._named[STREAMS[stream]]
            if stage == "encode":
                in_work = self.taken - self._decode_begun
                detail = {**detail, **length_of(in_work, IN_WORK)}
            causes = self._causes(stage, unit)
            # A crash cuts it short.
            over = end_ns if place.crash_ns is None else min(end_ns, max(place.crash_ns, now))
            name = place.note("thinker", KINDS[stage], unit, now, over - now, causes, detail)
            self._traced(stage, unit, name)
        self._queue.schedule(end_ns, then, unit)

    def _causes(self, stage: str, unit: int) -> tuple[str, ...]:
        if stage in ("decode", "commit"):
            return (self._exchange.latents_cause(unit),)
        own = self._in_work[unit].cause
        if stage == "encode":
            return (own,)
        if self._overlapped:
            return own, self._committed_by.pop(unit - 2, "")
        return own, self._exchange.latents_cause(unit - 1) if unit else ""

    def _traced(self, stage: str, unit: int, name: str) -> None:
        if stage == "commit":
            self._committed_by[unit] = name
        else:
            self._in_work[unit] = attrs.evolve(self._in_work[unit], cause=name)

    def _on_encode(self, unit: int) -> None:
        self._encoded = unit + 1
        self._busy[self._encoder] = False
        self.wake()

    def _on_update(self, unit: int) -> None:
        if self.over:
            return
        sending_ns = self._exchange.offer(unit, self._in_work[unit].cause)
        if sending_ns:
            end_ns = self._pauses.done(self._queue.now, sending_ns)
            self._queue.schedule(end_ns, self._on_sent, unit)
        else:
            self._on_sent(unit)

    def _on_sent(self, unit: int) -> None:
        if self.over:
            return
        self._sent = unit + 1
        self._busy[self._updater] = False
        if self.all_arrived and not self._waiting and self._sent == self.taken:
            self._exchange.finish()
        self.wake()

    def _on_decode(self, unit: int) -> None:
        if self.over:
            return
        self.decoded = unit + 1
        self._busy[self._decoder] = False
        work = self._in_work.pop(unit)
        self._place.efforts.pop(unit, None)
        self._client.emit(unit, work.arrived_ns, work.effort, work.cause)
        self.wake()

    def _on_commit(self, unit: int) -> None:
        self._committed = unit + 1
        self._busy[self._updater] = False
        self.wake()
