"""The user's end of a simulated session: speaks in units, hears responses, may stop reading.

Source: design §10 (network), §13 (a client that stops reading); CHOICE of the bound.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from simulator.policies import Cost, Effort
from simulator.random_streams import keys
from simulator.scenario import Scenario
from simulator.world.place import Place
from simulator.world.times import Pauses
from spec import clock
from spec.trace import Kind
from spec.trace_queues import length_of

UNREAD_LIMIT: Final = 8
"""Responses that wait for a client that does not read; then the thinker takes no more latents, and
the exchange's window holds the performer (WS-FAULTS-4)."""

BUCKET_NS: Final = 1_000_000
"""Latencies are counted by whole milliseconds, so that a run of any length takes the same room."""


class WorldClient:
    """One user (WS-FAULTS-4).

    ``latencies``: units by model-side latency in ms, rounded down. ``misses``: units later than the
    scenario's deadline. ``cost``: what the policy cost.
    """

    def __init__(self, place: Place, scenario: Scenario, stalls: Pauses) -> None:
        self._place = place
        self._stalls = stalls
        self._down = scenario.network.down
        self._down_key = keys(scenario.seed, "network/down", 1, place.index)
        self._deadline_ns = scenario.slo.deadline_ns
        self._unread = 0
        self._heard_ns = 0
        self._due_ns: int | None = None
        self._video_end_ns = 0
        self.latencies = Counter[int]()
        self.misses = 0
        self.cost = Cost()

    def full(self, undecoded: int) -> bool:
        """True if nothing more may come while ``undecoded`` responses are on their way here."""
        return self._unread > 0 and self._unread + undecoded >= UNREAD_LIMIT

    def emit(self, unit: int, arrived_ns: int, effort: Effort, cause: str) -> None:
        """A response is decoded: it leaves for the client, which reads it when it reads."""
        place, now = self._place, self._place.queue.now
        place.ended_ns = now
        latency_ns = now - arrived_ns
        self.latencies[latency_ns // BUCKET_NS] += 1
        self.misses += latency_ns > self._deadline_ns
        self.cost.steps_lost += effort.steps_lost
        if effort.repeated or not effort.video:
            self.cost.frames_repeated += clock.FRAMES_PER_UNIT
        if self._stalls and (reads_at := self._stalls.awake(now)) > now:
            self._unread += 1
            place.marks["client-stalled"] += 1
            place.queue.schedule(reads_at, self._read, None)
        if place.recorder is not None:
            detail = {
                **self._account(unit, effort.video),
                **length_of(self._unread, UNREAD_LIMIT),
                "video": effort.video,
            }
            sent = place.note("thinker", Kind.EMIT, unit, now, 0, (cause,), detail)
            down_ns = int(self._down.times_ns(self._down_key, unit, 1)[0, 0])
            self._heard_ns = max(self._heard_ns, now + down_ns)
            place.note("client", Kind.RECEIVE, unit, self._heard_ns, 0, (sent,))

    def _account(self, unit: int, video: bool) -> dict[str, int]:
        """When the response was due, how long the picture stood still for it, and how far sound
        and picture are (WS-TRACE-12, WS-TRACE-13)."""
        now = self._place.queue.now
        due = now if self._due_ns is None else self._due_ns
        gap = max(0, now - due)
        self._due_ns = due + gap + clock.UNIT_NS
        audio_end = clock.unit_available_ns(unit)
        self._video_end_ns = audio_end if video else self._video_end_ns
        return {"deadline_ns": due, "gap_ns": gap, "audio_end_ns": audio_end,
                "video_end_ns": self._video_end_ns}  # fmt: skip

    def _read(self, _: None) -> None:
        self._unread -= 1
