"""When each stage of each unit began: what every engine answers, and what follows from it.

Source: CHOICE (design §10, §13).
"""

from __future__ import annotations

import attrs
import numpy as np

from simulator.durations import Durations
from simulator.random_streams import Times


@attrs.frozen(kw_only=True, eq=False)
class Timeline:
    """Starts of the stages, int64 ns [units, sessions], beside their durations (WS-SIMULATION-5).

    Sending begins where ``update`` ends, returning where ``solve`` ends. ``commit`` is the
    thinker's own; in a sequential run it takes no time and begins when the latents have come.
    """

    durations: Durations
    encode: Times
    update: Times
    solve: Times
    decode: Times
    commit: Times

    @property
    def sent(self) -> Times:
        """When slice k is in the performer's cache."""
        return self.update + self.durations.update + self.durations.comm

    @property
    def returned(self) -> Times:
        """When the latents of unit k are with the thinker."""
        return self.solve + self.durations.solve + self.durations.back

    @property
    def decoded(self) -> Times:
        """When response k can be emitted."""
        return self.decode + self.durations.decode

    @property
    def model_side(self) -> Times:
        """From unit k available to the thinker to its response decoded (WS-LATENCY-4)."""
        return self.decoded - self.durations.arrive[:-1]

    def same_as(self, other: Timeline) -> bool:
        """True if every stage began at the same ns."""
        names = ("encode", "update", "solve", "decode", "commit")
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)


def cycle_ns(timeline: Timeline) -> Times:
    """Time a unit in the long run, of each session, in ns: int64 [sessions] (WS-SIMULATION-6).

    The mean step between slices over the second half of the run, rounded down; a run of fewer than
    three units has no second half and gives 0.
    """
    sent = timeline.sent
    last, middle = len(sent) - 1, len(sent) // 2
    if last <= middle:
        return np.zeros(sent.shape[1], np.int64)
    result: Times = (sent[last] - sent[middle]) // (last - middle)
    return result
