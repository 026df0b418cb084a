"""Time on the way: the link between thinker and performer, and the network to the user.

Pure timing: what is lost, copied or held back on the way is for the faults to say.
Source: CHOICE (design §13); the network's share of the latency is PAPER §3.
"""

from __future__ import annotations

import attrs

from simulator.stage_models import Constant, StageModel, Uniform
from spec.latency import NETWORK_NS


@attrs.frozen(kw_only=True)
class Link:
    """latency + jitter + bytes / bandwidth, rounded up (WS-SIMULATION-4).

    ``latency_ns``: what an empty message takes. ``jitter_ns``: the most that is added, uniformly.
    ``bytes_per_second``: in one direction; the two do not share it.
    """

    latency_ns: int
    jitter_ns: int
    bytes_per_second: int

    def model(self, size: int) -> StageModel:
        """Time of messages of ``size`` bytes, as a stage of its own (WS-SIMULATION-4)."""
        least = self.latency_ns - (-size * 1_000_000_000 // self.bytes_per_second)
        if self.jitter_ns == 0:
            return Constant(ns=least)
        return Uniform(low_ns=least, high_ns=least + self.jitter_ns)


@attrs.frozen(kw_only=True)
class Network:
    """Between the user and the thinker, each way (WS-SIMULATION-4, WS-LATENCY-5)."""

    up: StageModel = Constant(ns=NETWORK_NS // 2)
    down: StageModel = Constant(ns=NETWORK_NS // 2)
