"""The same fleet told as events, one session and one pair at a time: slow, plain, and independent.

It shares inputs with `simulator.fleet.run` (arrivals, lengths, stage times, limits) and nothing of
how it works: sessions are objects, a pair is a thinker and a performer that wait for each other. A
sample of a fleet is run both ways and must agree to the nanosecond.
Source: CHOICE (WS-FLEET-4, WS-FLEET-6).
"""

from __future__ import annotations

from collections import deque

import attrs
import numpy as np

from simulator.events import EventQueue
from simulator.fleet.arrivals import ArrivalProcess, already_there
from simulator.fleet.limits import limits_of
from simulator.fleet.random import BITS, JITTER_ONE, QUANTILES, jitter_factors
from simulator.fleet.run import pairs_of
from simulator.fleet.scenario import Fleet
from simulator.random_streams import RandomStream
from spec import clock


@attrs.define
class Session:
    """One session: its number, the round in which it came, its length in units; once let in, the
    rounds in which it started and in which it is over."""

    number: int
    came: int
    units: int
    start: int = 0
    end: int = 0


@attrs.frozen
class Batch:
    """What a pair serves in one round; times of its stages in ns."""

    round: int
    sessions: int
    encode: int
    update: int
    comm: int
    solve: int
    decode: int
    commit: int


@attrs.define
class Pair:
    """One pair: who is on it, what waits for its thinker, and how far both devices are."""

    index: int
    sessions: list[Session] = attrs.field(factory=list)
    waiting: deque[Batch] = attrs.field(factory=deque)
    thinker_works: bool = False
    performer_works: bool = False
    at_exchange: Batch | None = None
    """The batch whose slice is ready, or sequential its encoding, while the performer is not."""
    solved: Batch | None = None
    """The batch whose latents go back at the next exchange."""
    solved_ns: int = 0
    """When they were ready."""
    before: int = 0
    """Sessions of the batch made last."""

    def history(self, round_: int) -> int:
        """Units served of the sessions that are there."""
        return sum(round_ - session.start for session in self.sessions)


class EventFleet:
    """A run of a fleet by events (WS-FLEET-4).

    ``admitted``: numbers of the arrivals let in, round by round. ``counts``: (ended, rejected, cut,
    waiting), likewise. ``responses``: (pair, round, latency in ns, units).
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._limits = fleet, limits_of(fleet)
        self._queue: EventQueue[Pair] = EventQueue()
        self._sequential = fleet.plan.config.schedule == "sequential"
        self._pairs = [Pair(i) for i in range(pairs_of(fleet, self._limits))]
        self._arrivals = ArrivalProcess(fleet)
        self._factors = jitter_factors(fleet.jitter) if fleet.jitter else None
        self._waiting: list[Session] = []
        self.admitted: list[list[int]] = []
        self.counts: list[tuple[int, int, int, int]] = []
        self.responses: list[tuple[int, int, int, int]] = []
        self._first = fleet.arrivals.sessions
        served, left = already_there(fleet, self._first)
        for number, (had, more) in enumerate(zip(served.tolist(), left.tolist(), strict=True)):
            self._let_in(Session(number, 0, more), 0, had)

    def run(self) -> None:
        """All rounds of the fleet, warm-up too, and one without sessions at the end."""
        rounds = self._fleet.warmup_rounds + self._fleet.rounds
        for number in range(rounds + 1):
            self._queue.run(number * clock.UNIT_NS - 1)
            if number < rounds:
                self._change(number)
            for pair in self._pairs:
                if number == rounds:
                    pair.sessions = []
                pair.waiting.append(self._batch(pair, number))
                self._queue.schedule(number * clock.UNIT_NS, self._think, pair, priority=1)
        self._queue.run()
        self.responses.sort()

    def _change(self, number: int) -> None:
        """Who leaves, comes, is let in, gives up and is cut in a round (WS-FLEET-6)."""
        ended = cut = 0
        for pair in self._pairs:
            staying = [s for s in pair.sessions if s.end != number]
            ended += len(pair.sessions) - len(staying)
            pair.sessions = staying
        first = self._arrivals.first
        present = len(self._waiting) + sum(len(pair.sessions) for pair in self._pairs)
        lengths = self._arrivals.lengths(first, self._arrivals.take(number, present)).tolist()
        for i, units in enumerate(lengths, start=first):
            self._waiting.append(Session(self._first + i, number, units))
        admitted = [s for s in self._waiting if self._let_in(s, number, 0)]
        left = [s for s in self._waiting if s not in admitted]
        patience = self._fleet.admission.patience_ns // clock.UNIT_NS
        self._waiting = [s for s in left if number - s.came < patience]
        if self._fleet.admission.memory == "present":
            cut = sum(self._cut(pair, number) for pair in self._pairs)
        self.admitted.append([s.number - self._first for s in admitted])
        self.counts.append((ended, len(left) - len(self._waiting), cut, len(self._waiting)))

    def _let_in(self, session: Session, number: int, served: int) -> bool:
        """Put a session on a pair with room, if there is one (WS-FLEET-6)."""
        admission, candidates = self._fleet.admission, self._pairs
        if admission.placement == "random":
            stream = RandomStream(seed=self._fleet.seed, component="fleet/placement")
            candidates = [self._pairs[stream.below(session.number, len(self._pairs))]]
        with_room = [pair for pair in candidates if self._has_room(pair, number)]
        if not with_room:
            return False
        pair = min(with_room, key=lambda p: len(p.sessions))
        session.start, session.end = number - served, number + session.units
        pair.sessions.append(session)
        return True

    def _has_room(self, pair: Pair, number: int) -> bool:
        limits, count = self._limits, len(pair.sessions) + 1
        if self._fleet.admission.memory == "longest":
            return count <= limits.places
        headroom = count * clock.units_covering_ns(self._fleet.admission.headroom_ns)
        together = int(limits.together[count]) if count <= limits.most else -1
        return pair.history(number) + headroom <= together

    def _cut(self, pair: Pair, number: int) -> int:
        """End the oldest sessions until what is cached after this round fits (WS-FLEET-5)."""
        cut = 0
        while pair.history(number + 1) > self._limits.by_memory[len(pair.sessions)]:
            pair.sessions.remove(min(pair.sessions, key=lambda s: (s.start, s.number)))
            cut += 1
        return cut

    def _batch(self, pair: Pair, number: int) -> Batch:
        """The stage times of a pair's round, one factor for each device."""
        count = np.array(len(pair.sessions))
        times = self._limits.times
        history = np.array(sum(max(number - s.start, 1) for s in pair.sessions))
        stream = RandomStream(seed=self._fleet.seed, component="fleet/jitter", session=pair.index)
        word = stream.word(number)
        thinker = performer = JITTER_ONE
        if self._factors is not None:
            thinker = int(self._factors[word % QUANTILES])
            performer = int(self._factors[(word >> BITS) % QUANTILES])
        batch = Batch(
            round=number,
            sessions=len(pair.sessions),
            encode=int(times.encode.ns(count, history)) * thinker >> BITS,
            update=int(times.update.ns(count, history)) * thinker >> BITS,
            comm=int(times.comm_ns(count, np.array(pair.before))),
            solve=int(times.solve.ns(count, history)) * performer >> BITS,
            decode=int(times.decode.ns(count, history)) * thinker >> BITS,
            commit=int(times.commit.ns(count, history + count)) * thinker >> BITS,
        )
        pair.before = batch.sessions
        return batch

    def _think(self, pair: Pair) -> None:
        """The thinker takes its next batch, if it is free and there is one."""
        if pair.thinker_works or not pair.waiting:
            return
        pair.thinker_works, batch = True, pair.waiting.popleft()
        done = self._queue.now + batch.encode + (0 if self._sequential else batch.update)

        def ready(pair: Pair) -> None:
            pair.at_exchange = batch
            self._exchange(pair)

        self._queue.schedule(done, ready, pair)

    def _exchange(self, pair: Pair) -> None:
        """Slice and latents change hands once both sides are there; sequential, and where there is
        no slice, the latents have left before."""
        batch = pair.at_exchange
        if batch is None or pair.performer_works:
            return
        pair.at_exchange, pair.performer_works = None, True
        at, came = self._queue.now, self._queue.now
        if pair.solved is not None and pair.solved.sessions:
            came = max(came, pair.solved_ns + batch.comm)
        if not batch.sessions:
            at = came
        elif self._sequential:
            at = came + batch.update + batch.comm
        else:
            at += batch.comm
        self._queue.schedule(at, lambda pair: self._exchanged(pair, batch), pair)

    def _exchanged(self, pair: Pair, batch: Batch) -> None:
        """The performer solves; the thinker decodes what came back, then commits it."""
        now, back = self._queue.now, pair.solved

        def solved(pair: Pair) -> None:
            pair.solved, pair.solved_ns, pair.performer_works = batch, self._queue.now, False
            self._exchange(pair)

        def committed(pair: Pair) -> None:
            pair.thinker_works = False
            self._think(pair)

        self._queue.schedule(now + batch.solve, solved, pair)
        decoded = over = now
        if back is not None:
            decoded += back.decode
            over = decoded + back.commit
            latency = decoded - back.round * clock.UNIT_NS
            self.responses.append((pair.index, back.round, latency, back.sessions))
        self._queue.schedule(over, committed, pair)
