"""A fleet of thinker-performer pairs, a round of one unit at a time, all pairs at once.

A round is 160 ms: sessions that are over leave, those that wait are let in where there is room,
every pair serves one unit of each of its sessions. A million sessions are arrays of numpy, all
times whole ns, every draw a word of a counter, so a seed gives one result on every machine.
Source: CHOICE (design §13; WS-FLEET-2, WS-FLEET-6, WS-FLEET-13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from simulator import erlang
from simulator.fleet.arrivals import ArrivalProcess, already_there
from simulator.fleet.limits import Limits, limits_of
from simulator.fleet.occupancy import Mask, Occupancy
from simulator.fleet.pairs import Pipelines
from simulator.fleet.scenario import Fleet
from simulator.fleet.tally import FleetResult, Round, Tally
from simulator.fleet.times import Ints
from simulator.random_streams import keys
from spec import clock
from spec.errors import ConfigError


def simulate(fleet: Fleet, watch: Callable[[Round], None] | None = None) -> FleetResult:
    """Run ``fleet`` once (WS-FLEET-2); ``watch`` sees every round, those of the warm-up too.

    Raises:
        ConfigError: as `fleet_limits.limits_of` and `pairs_of`.
    """
    run = FleetRun(fleet)
    limits, pairs, first = run.limits, run.pairs, fleet.warmup_rounds
    tally, start, busy_before = Tally(fleet, limits, pairs), (0, 0), (0, 0)
    for number in range(first + fleet.rounds):
        if number == first:
            start, busy_before = run.present, run.pipelines.busy_ns
        batch = run.pipelines.before
        done = run.step(number)
        latency = run.serve(done)
        if number > first:
            tally.add_responses(number - 1, latency, batch)
        if number >= first:
            tally.add_round(done)
        if watch is not None:
            watch(done)
    busy = tuple(b - a for a, b in zip(busy_before, run.pipelines.busy_ns, strict=True))
    batch = run.pipelines.before
    tally.add_responses(number, run.drain(number + 1), batch)
    return tally.result(
        start=start, end=run.present, busy_ns=(busy[0], busy[1]), sha256=run.digest.hexdigest()
    )


def pairs_of(fleet: Fleet, limits: Limits) -> int:
    """Pairs as stated, or as many as Erlang B asks for to keep the promised blocking (WS-FLEET-11).

    Raises:
        ConfigError: none are stated, and room for sessions has no fixed number.
    """
    if fleet.pairs is not None:
        return fleet.pairs
    if fleet.admission.memory != "longest" or fleet.admission.placement != "least-loaded":
        allowed = "a number, unless memory is longest and placement is least-loaded"
        raise ConfigError("pairs", "left out", allowed)
    places = erlang.places_for(fleet.arrivals.sessions, float(fleet.slo.blocking))
    return -(-places // limits.places)


class FleetRun:
    """One run in progress (WS-FLEET-2)."""

    def __init__(self, fleet: Fleet) -> None:
        self.limits = limits_of(fleet)
        self.pairs = pairs_of(fleet, self.limits)
        self.pipelines = Pipelines(
            self.limits.times, fleet.plan.config.schedule, fleet.jitter, fleet.seed, self.pairs
        )
        self.digest = hashlib.sha256()
        self._may_cut = fleet.admission.memory == "present"
        self._patience = fleet.admission.patience_ns // clock.UNIT_NS
        self._arrivals = ArrivalProcess(fleet)
        self._occupancy = Occupancy(fleet, self.limits, self.pairs)
        self._weights = keys(fleet.seed, "fleet/digest", self.pairs) | np.uint64(1)
        # Numbers and rounds of arrival of those that wait, oldest first.
        self._queue = np.zeros((2, 0), np.int64)
        # The first sessions have the numbers 0 to n - 1, arrival i has n + i.
        self._first_sessions = fleet.arrivals.sessions
        served, left = already_there(fleet, self._first_sessions)
        self._occupancy.let_in(np.arange(self._first_sessions), left, 0, served)

    @property
    def present(self) -> tuple[int, int]:
        """Sessions on pairs and waiting."""
        return int(self._occupancy.sessions.sum()), self._queue.shape[1]

    def step(self, number: int) -> Round:
        """Sessions leave, come, are let in, give up and are cut (WS-FLEET-6)."""
        ended = self._occupancy.end(number)
        first = self._arrivals.first
        arrived = self._arrivals.take(number, sum(self.present))
        came = np.stack((np.arange(first, first + arrived), np.full(arrived, number)))
        queue = np.concatenate((self._queue, came), axis=1)
        admitted = self._let_in(queue[0], number)
        left = queue[:, ~admitted]
        patient = number - left[1] < self._patience
        self._queue = left[:, patient]
        cut = self._occupancy.cut(number) if self._may_cut else 0
        return Round(
            number=number,
            arrived=arrived,
            admitted=queue[0, admitted],
            waits=number - queue[1, admitted],
            rejected=int((~patient).sum()),
            ended=ended,
            cut=cut,
            waiting=self._queue.shape[1],
            sessions=self._occupancy.sessions,
            history=self._occupancy.history(number),
        )

    def _let_in(self, numbers: Ints, round_: int) -> Mask:
        """Which of the waiting arrivals found room."""
        if not len(numbers):
            return np.zeros(0, bool)
        first = int(numbers[0])
        lengths = self._arrivals.lengths(first, int(numbers[-1]) - first + 1)[numbers - first]
        return self._occupancy.let_in(numbers + self._first_sessions, lengths, round_)

    def serve(self, done: Round) -> Ints:
        """Serve a round; latency of the responses to the round before on each pair, in ns."""
        # A session's first unit counts as its second (WS-FLEET-3).
        history = done.history + self._occupancy.first_units(done.number)
        latency = self.pipelines.serve(done.number, done.sessions, history)
        # What happened enters the digest: every pair's clock, and every count (WS-FLEET-13).
        clocks = int((self.pipelines.exchanged.astype(np.uint64) * self._weights).sum())
        self.digest.update(f"{done.number} {done.counts} {done.waiting} {clocks}\n".encode())
        return latency

    def drain(self, number: int) -> Ints:
        """Latency of the last responses, with nothing to serve after them."""
        nobody = np.zeros(self.pairs, np.int64)
        return self.pipelines.serve(number, nobody, nobody)
