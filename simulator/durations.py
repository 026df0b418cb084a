"""Every time of a run that does not depend on the schedule, drawn before it starts.

Engines get these and nothing random of their own, so that they can be compared number by number.
Source: CHOICE (design §13).
"""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np

from simulator.random_streams import Times, keys
from simulator.scenario import STAGES, Scenario
from simulator.stage_models import StageModel
from spec import clock


@attrs.frozen(kw_only=True, eq=False)
class Durations:
    """Stage times and arrivals of some sessions, int64 ns, units first (WS-SIMULATION-5).

    Each stage is [units, sessions]. ``arrive`` is [units + 1, sessions]: when user unit k, complete
    at (k + 1)T, has reached the thinker, in order; the row after the last is the boundary at which
    the last response is handed over. ``down`` is [units, sessions]: the way back to the user.
    """

    arrive: Times
    encode: Times
    update: Times
    comm: Times
    solve: Times
    back: Times
    decode: Times
    commit: Times
    down: Times

    @property
    def units(self) -> int:
        """Units of each session."""
        return int(self.encode.shape[0])

    @property
    def sessions(self) -> int:
        """Sessions side by side."""
        return int(self.encode.shape[1])


NETWORK_STREAMS: Final = ("network/up", "network/down")


def draw(scenario: Scenario, first_session: int = 0, sessions: int | None = None) -> Durations:
    """The times of ``sessions`` sessions of a scenario, all of them by default (WS-SIMULATION-1).

    Session s draws the same numbers whichever others are drawn with it.
    """
    count = scenario.sessions - first_session if sessions is None else sessions

    def times(component: str, model: StageModel, units: int) -> Times:
        found = model.times_ns(keys(scenario.seed, component, count, first_session), 0, units)
        return np.asarray(found.T if min(found.strides) == 0 else np.ascontiguousarray(found.T))

    units = scenario.units
    captured = (np.arange(units + 1, dtype=np.int64)[:, None] + 1) * clock.UNIT_NS
    up = times("network/up", scenario.network.up, units + 1)
    return Durations(
        # The network keeps order: a unit waits for the one before it.
        arrive=np.maximum.accumulate(captured + up, axis=0),
        down=times("network/down", scenario.network.down, units),
        **{name: times(name, getattr(scenario.stages, name), units) for name in STAGES},
    )
