"""One stream with eager return, for many sessions at once: recurrences with a choice.

The order of a thinker's stages depends on when latents come, so there is no fixed recurrence. In
each step every session's thinker begins one stage: it waits until something may begin, and of what
may begin at that instant it takes update before decode before commit before encode. All sessions
take the same number of steps. Source: DERIVED from design §8, §10 (WS-SIMULATION-5).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.durations import Durations
from simulator.random_streams import Times
from simulator.scenario import Scenario
from simulator.timeline import Timeline
from simulator.timing import IN_WORK

NEVER: Final = np.int64(1 << 62)

Mask = npt.NDArray[np.bool_]


class _Sessions:
    """State of all sessions: how many units have begun each stage, and since when it is free."""

    def __init__(self, times: Durations, *, overlapped: bool) -> None:
        self.times, self.overlapped = times, overlapped
        self.columns = np.arange(times.sessions)
        self.free = np.zeros(times.sessions, np.int64)
        self.counts = {
            name: np.zeros(times.sessions, np.int64)
            for name in ("encode", "update", "decode", "commit")
        }
        self.starts = {
            name: np.empty((times.units, times.sessions), np.int64) for name in self.counts
        }
        self.solve = np.empty((times.units, times.sessions), np.int64)
        self.returned = np.empty((times.units, times.sessions), np.int64)

    def at(self, table: Times, unit: Times) -> Times:
        """``table[unit, session]`` for a unit of each session; out of range, any value."""
        result: Times = table[np.clip(unit, 0, len(table) - 1), self.columns]
        return result

    def ready(self) -> dict[str, Times]:
        """When each stage may begin next, `NEVER` where something else has to begin first."""
        k = self.counts
        units = self.times.units
        update = k["update"]
        if self.overlapped:
            update_at = np.where((k["encode"] > update) & (k["commit"] >= update - 1), 0, NEVER)
        else:
            waited = np.where(update > 0, self.at(self.returned, update - 1), 0)
            update_at = np.where(k["encode"] > update, waited, NEVER)
        decode_at = np.where(update > k["decode"], self.at(self.returned, k["decode"]), NEVER)
        may_encode = (k["encode"] < units) & (k["decode"] > k["encode"] - IN_WORK)
        encode_at = np.where(may_encode, self.at(self.times.arrive, k["encode"]), NEVER)
        result = {"update": update_at, "decode": decode_at}
        if self.overlapped:
            commit = k["commit"]
            come = self.at(self.returned, commit)
            come = np.where(commit == units - 1, np.maximum(come, self.times.arrive[-1]), come)
            may = (update > commit + 1) | ((commit == units - 1) & (update == units))
            result["commit"] = np.where(may, come, NEVER)
        result["encode"] = encode_at
        return result

    def step(self) -> None:
        """Every thinker begins one stage and ends it."""
        ready = self.ready()
        now = np.maximum(self.free, np.minimum.reduce(list(ready.values())))
        undecided = np.ones(self.times.sessions, np.bool_)
        for name, at in ready.items():
            chosen = undecided & (at <= now)
            undecided &= ~chosen
            self.begin(name, chosen, now)

    def begin(self, name: str, chosen: Mask, now: Times) -> None:
        """Stage ``name`` of the next unit begins in the chosen sessions."""
        columns = self.columns[chosen]
        if not len(columns):
            return
        units, start = self.counts[name][columns], now[columns]
        self.starts[name][units, columns] = start
        durations: Times = getattr(self.times, name)
        end = start + durations[units, columns]
        if name == "update":
            end = end + self.times.comm[units, columns]
            before = np.where(units > 0, self.returned[units - 1, columns], 0)
            solve = np.maximum(end, before)
            self.solve[units, columns] = solve
            self.returned[units, columns] = (
                solve + self.times.solve[units, columns] + self.times.back[units, columns]
            )
        self.free[columns] = end
        self.counts[name][columns] += 1


def run_eager(scenario: Scenario, times: Durations) -> Timeline:
    """A thinker that works in sequence and takes latents up as they come (WS-SIMULATION-5)."""
    overlapped = scenario.lag == 1
    sessions = _Sessions(times, overlapped=overlapped)
    for _ in range((4 if overlapped else 3) * times.units):
        sessions.step()
    starts = sessions.starts
    return Timeline(
        durations=times,
        encode=starts["encode"],
        update=starts["update"],
        solve=sessions.solve,
        decode=starts["decode"],
        commit=starts["commit"] if overlapped else sessions.returned,
    )
