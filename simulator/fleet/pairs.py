"""The pipelines of all pairs as one max-plus recurrence over rounds, a row a pair.

In round r a pair's batch becomes available at r T. With A its start on the thinker, B the end of
the exchange, e, u, p the stage times of the batch, d and m those of its responses, and c those of
the exchange:

    A_r = max(r T, B_{r-1} + d_{r-2} + m_{r-2})
    B_r = max(A_r + e_r + u_r, B_{r-1} + p_{r-1}) + c_r              overlapped
    B_r = max(A_r + e_r, B_{r-1} + p_{r-1} + c_r) + u_r + c_r        sequential
    B_r = max(A_r, B_{r-1} + p_{r-1} + c_r)                          a batch of nobody

and the responses of round r - 1 are decoded at B_r + d_{r-1}, hand-over at the boundary. Constant
times give the cycle of WS-LATENCY-3 and the latency T + e + u + c + d of WS-LATENCY-4; times that
vary give those of WS-SIMULATION-5, one stream, to the nanosecond.
Source: DERIVED from those (WS-FLEET-4).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from simulator.fleet.random import BITS, drawn, jitter_factors
from simulator.fleet.times import BatchTimes, Ints
from simulator.random_streams import keys, words
from spec import clock
from spec.sizes import Schedule


class Pipelines:
    """Where every pair stands in time, in ns: int64 [pairs] each (WS-FLEET-4)."""

    def __init__(
        self, times: BatchTimes, schedule: Schedule, jitter: Fraction, seed: int, pairs: int
    ) -> None:
        self._times, self._schedule = times, schedule
        self._keys = keys(seed, "fleet/jitter", pairs)
        self._factors = jitter_factors(jitter) if jitter else None
        self.thinker_free, self.solved, self.exchanged, self.before = (
            np.zeros(pairs, np.int64) for _ in range(4)
        )
        # What the responses to the batch before will take once they are handed over.
        self._decode, self._commit = (np.zeros(pairs, np.int64) for _ in range(2))
        self.busy_ns = (0, 0)
        """Work of all thinkers and of all performers so far."""

    def serve(self, round_: int, sessions: Ints, history: Ints) -> Ints:
        """Serve the batches of ``round_``; latency of the responses of the round before, in ns.

        Args:
            round_: called for 0, 1, ... in turn.
            sessions, history: of each pair; a session's first unit counts as its second.
        """
        times = self._times
        e, u, d, m = self._varied(round_, 0, *thinker_times(times, sessions, history))
        (p,) = self._varied(round_, 1, times.solve.ns(sessions, history))
        c = times.comm_ns(sessions, self.before)
        start = np.maximum(round_ * clock.UNIT_NS, self.thinker_free)
        # A batch of nobody has no latents to wait for.
        returned = np.where(self.before > 0, self.solved + c, 0)
        if self._schedule == "sequential":
            exchanged = np.maximum(start + e, returned) + u + c
        else:
            exchanged = np.maximum(start + e + u, self.solved) + c
        # Where nobody is served there is no slice to send, and latents come as soon as they can.
        self.exchanged = np.where(sessions > 0, exchanged, np.maximum(start, returned))
        decoded = self.exchanged + self._decode
        self.thinker_free = decoded + self._commit
        self.solved = self.exchanged + p
        self._decode, self._commit = d, m
        self.before = sessions.copy()
        thinkers, performers = self.busy_ns
        work = int((e + u + c + d + m).sum())
        self.busy_ns = thinkers + work, performers + int((p + c).sum())
        return decoded - (round_ - 1) * clock.UNIT_NS

    def _varied(self, round_: int, lane: int, *stages: Ints) -> tuple[Ints, ...]:
        """Stage times of a round, longer or shorter by one factor for each device."""
        if self._factors is None:
            return stages
        factors = drawn(self._factors, words(self._keys, round_, 1)[:, 0], lane)
        return tuple(stage * factors >> BITS for stage in stages)


def thinker_times(times: BatchTimes, sessions: Ints, history: Ints) -> tuple[Ints, ...]:
    """encode, update, decode, commit of a batch: what the thinker does, in ns.

    A response is committed in the unit after its own (WS-COST-2), a unit of history later.
    """
    stages = times.encode, times.update, times.decode
    return (
        *(stage.ns(sessions, history) for stage in stages),
        times.commit.ns(sessions, history + sessions),
    )
