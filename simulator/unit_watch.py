"""A recorder that also says, of each response that the client has, when its unit went where.

Only units on their way are held, so a run of any length takes the same memory.
Source: CHOICE (design §13).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterable

import attrs

from simulator.world.trace import Recorder
from spec.trace import Detail, Kind, TextOut


@attrs.define
class UnitMoments:
    """One unit of a session, ns: the user had produced it, it reached the thinker, its slice was
    with the performer, its response was decoded, and with the client (WS-SIMULATION-10)."""

    captured: int
    arrived: int
    sent: int = 0
    emitted: int = 0
    heard: int = 0

    @property
    def model_side(self) -> int:
        """Without the network (WS-LATENCY-4)."""
        return self.emitted - self.arrived

    @property
    def total(self) -> int:
        """With both directions of the network (WS-LATENCY-5)."""
        return self.heard - self.captured


@attrs.define
class _OnTheWay:
    """What of one session is not with the client yet: user units that were produced, that reached
    the thinker by the event that says so, and session units."""

    captured: deque[int] = attrs.field(factory=deque)
    received: deque[tuple[str, UnitMoments]] = attrs.field(factory=deque)
    units: dict[int, UnitMoments] = attrs.field(factory=dict)


class UnitWatch(Recorder, ABC):
    """Calls `done` with each unit whose response the client has (WS-SIMULATION-9)."""

    def __init__(self, stream: TextOut) -> None:
        super().__init__(stream)
        self._sessions: defaultdict[str, _OnTheWay] = defaultdict(_OnTheWay)

    @abstractmethod
    def done(self, session: str, unit: UnitMoments) -> None:
        """Take a unit; those of a session come in order."""

    def record(
        self,
        process: str,
        kind: Kind,
        session: str,
        unit: int,
        t_ns: int,
        dur_ns: int = 0,
        cause: Iterable[str] = (),
        detail: Detail | None = None,
    ) -> str:
        """See `Recorder.record`."""
        causes = tuple(cause)
        name = super().record(process, kind, session, unit, t_ns, dur_ns, causes, detail)
        way = self._sessions[session]
        if process == "client":
            if kind is Kind.SEND:
                way.captured.append(t_ns)
            elif kind is Kind.RECEIVE:
                heard = way.units.pop(unit)
                heard.heard = t_ns
                self.done(session, heard)
        elif kind is Kind.RECEIVE and causes and causes[0].startswith("client:"):
            way.received.append((name, UnitMoments(way.captured.popleft(), t_ns)))
        elif kind is Kind.OBSERVE:
            # A policy may have left out user units before this one.
            received, moments = way.received.popleft()
            while received != causes[0]:
                received, moments = way.received.popleft()
            way.units[unit] = moments
        elif kind is Kind.SEND and unit in way.units and not way.units[unit].sent:
            way.units[unit].sent = t_ns + dur_ns
        elif kind is Kind.EMIT:
            way.units[unit].emitted = t_ns
        return name
