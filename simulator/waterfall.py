"""Where every nanosecond of a response's latency went, exactly.

The parts of a unit add up to its total, in integers: nothing is rounded and nothing is left over.
Source: WS-LATENCY-4 to WS-LATENCY-6; the parts are CHOICE (design §10, §13).
"""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np

from simulator.random_streams import Times
from simulator.scenario import Scenario
from simulator.timeline import Timeline
from spec import clock, latency


@attrs.frozen(kw_only=True, eq=False)
class Waterfall:
    """The parts of each unit's latency, int64 ns [units, sessions] (WS-SIMULATION-8).

    ``network_up`` to ``network_down`` add up to the total. ``commit``: waiting while the thinker
    commits an earlier response. ``boundary``: latents wait for the next boundary. ``queueing``:
    waiting because thinker or performer is at something else. ``capture_wait`` stands beside the
    total (WS-LATENCY-6): the wait of a signal from the middle of its unit.
    """

    capture_wait: Times
    network_up: Times
    encode: Times
    update: Times
    comm: Times
    solve: Times
    back: Times
    decode: Times
    commit: Times
    boundary: Times
    queueing: Times
    network_down: Times

    @property
    def model_side(self) -> Times:
        """Without the network (WS-LATENCY-4)."""
        return sum_of(self, MODEL_PARTS)

    @property
    def total(self) -> Times:
        """With both directions of the network (WS-LATENCY-5)."""
        return self.network_up + self.model_side + self.network_down

    @property
    def from_signal(self) -> Times:
        """With the capture wait too: what the user sees."""
        return self.capture_wait + self.total


PARTS: Final = tuple(field.name for field in attrs.fields(Waterfall))
MODEL_PARTS: Final = PARTS[2:-1]
"""Between unit available and response decoded."""


def sum_of(waterfall: Waterfall, parts: tuple[str, ...]) -> Times:
    """The sum of some parts."""
    result: Times = np.sum([getattr(waterfall, name) for name in parts], axis=0, dtype=np.int64)
    return result


def waterfall(scenario: Scenario, timeline: Timeline) -> Waterfall:
    """The parts of every unit of a timeline (WS-SIMULATION-8)."""
    times = timeline.durations
    arrive = times.arrive[:-1]
    shape = timeline.encode.shape
    captured = (np.arange(times.units, dtype=np.int64)[:, None] + 1) * clock.UNIT_NS
    encoded = timeline.encode + times.encode
    # Boundary k + 1, which hands over z_k, is when slice k + 1 is sent.
    handed_over = timeline.returned
    if scenario.handover == "boundary":
        passed = np.concatenate([timeline.sent[1:], times.arrive[-1:]])
        handed_over = np.maximum(handed_over, passed)
    waits = (
        (arrive, timeline.encode),
        (encoded, timeline.update),
        (timeline.sent, timeline.solve),
        (handed_over, timeline.decode),
    )
    commit = np.zeros(shape, np.int64)
    if scenario.lag == 1:
        before_update = commit_spans(timeline, 2)
        commit += overlap(waits[0], before_update) + overlap(waits[1], before_update)
        commit += overlap(waits[3], commit_spans(timeline, 1))
    queueing = np.sum([end - start for start, end in waits], axis=0, dtype=np.int64) - commit
    emitted = timeline.decoded + times.down
    return Waterfall(
        capture_wait=np.full(shape, latency.capture_wait_ns(clock.UNIT_NS // 2), np.int64),
        network_up=arrive - captured,
        **{name: getattr(times, name) for name in ("encode", "update", "comm", "solve", "back")},
        decode=times.decode,
        commit=commit,
        boundary=handed_over - timeline.returned,
        queueing=queueing,
        # The network keeps order on the way back too.
        network_down=np.maximum.accumulate(emitted, axis=0) - timeline.decoded,
    )


Spans = tuple[Times, Times]
"""Starts and ends, ns."""


def commit_spans(timeline: Timeline, before: int) -> Spans:
    """The thinker's commit of unit k - ``before``, for each k; empty where there is none."""
    starts, ends = timeline.commit, timeline.commit + timeline.durations.commit
    nothing = np.zeros((min(before, len(starts)), starts.shape[1]), np.int64)
    return np.concatenate([nothing, starts[:-before]]), np.concatenate([nothing, ends[:-before]])


def overlap(a: Spans, b: Spans) -> Times:
    """How long two spans run at once."""
    both: Times = np.minimum(a[1], b[1]) - np.maximum(a[0], b[0])
    return np.maximum(both, 0)
