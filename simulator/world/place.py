"""What everything in one simulated session shares.

Source: CHOICE (design §13).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs

from simulator.events import EventQueue
from simulator.policies import Effort
from simulator.world.digests import Shards
from simulator.world.judge import Judge
from simulator.world.times import SessionTimes
from simulator.world.trace import Recorder
from spec.exchange_terms import Terms
from spec.trace import Detail, Kind

Queue = EventQueue[Any]
"""Events of a world carry letters, units and solves, each action its own kind."""


@attrs.define(kw_only=True, eq=False)
class Place:
    """One session (WS-FAULTS-3).

    ``marks``: how often each named state was reached. ``control_ns``: what a message without a
    payload takes. ``resend_ns``, ``lost_after_ns``: silence after which a side resends, and after
    which the thinker takes the performer for lost, None for never. ``efforts``: what responses
    under way are worth, where a policy gave them less than everything. ``ended_ns``: when a side
    was closed or a response decoded last. ``over``: nothing of this session happens any more;
    ``outcome`` then says how it ended. ``crash_ns``: when the thinker's process is to crash, None
    for never; ``thinker_lost``: it did.
    """

    index: int
    name: str
    terms: Terms
    shards: Shards
    queue: Queue
    times: SessionTimes
    judge: Judge
    marks: Counter[str]
    recorder: Recorder | None
    control_ns: int
    resend_ns: int
    lost_after_ns: int | None
    efforts: dict[int, Effort] = attrs.field(factory=dict)
    crash_ns: int | None = None
    thinker_lost: bool = False
    thinker_closed: bool = False
    ended_ns: int = 0
    over: bool = False
    outcome: str = ""

    @property
    def thinker_over(self) -> bool:
        """The thinker does nothing any more."""
        return self.over or self.thinker_lost

    def note(
        self,
        process: str,
        kind: Kind,
        unit: int,
        t_ns: int,
        dur_ns: int = 0,
        cause: Iterable[str] = (),
        detail: Detail | None = None,
    ) -> str:
        """Trace one event; empty without a recorder."""
        if self.recorder is None:
            return ""
        return self.recorder.record(process, kind, self.name, unit, t_ns, dur_ns, cause, detail)
