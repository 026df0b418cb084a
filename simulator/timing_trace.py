"""A timeline as a trace: what each process did when, and what it waited for.

Events come one at a time in the order of a merged trace, whatever the length of the run.
Source: WS-TRACE; what is traced is DERIVED from design §8.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator

import numpy as np

from simulator.scenario import Scenario
from simulator.timeline import Timeline
from spec import clock, exchange_terms
from spec.presets import preset_named
from spec.session import SessionConfig
from spec.trace import Detail, Kind, TraceEvent, event_key, write_trace

RECEIVE, OBSERVE, UPDATE, SEND, LATENTS, DECODE, EMIT, COMMIT = range(8)
APPEND, SOLVE, RETURN = range(3)
SPEAK, HEAR = range(2)


def trace(scenario: Scenario, timeline: Timeline) -> Iterator[TraceEvent]:
    """The events of a timeline in the order of a trace (WS-SIMULATION-9, WS-TRACE-4)."""
    streams = [
        stream
        for session in range(timeline.durations.sessions)
        for stream in _SessionTrace(scenario, timeline, session).streams()
    ]
    return heapq.merge(*streams, _ends(scenario, timeline), key=event_key)


def trace_sha256(events: Iterator[TraceEvent]) -> str:
    """SHA-256, in hex, of the trace as it would be written (WS-SIMULATION-9)."""
    digest = _Digest()
    write_trace(digest, events)
    return digest.sha256.hexdigest()


class _Digest:
    """A text file that keeps only its digest."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, text: str, /) -> None:
        self.sha256.update(text.encode())


class _Numbers:
    """Numbers of a process's events, without a gap: session by session, unit by unit.

    The prefill is one event of thinker and performer each. Computed, not counted, so that a cause
    can be named without looking back.
    """

    def __init__(self, scenario: Scenario, units: int) -> None:
        self.units = units
        self.each = {"thinker": 8 if scenario.lag == 1 else 7, "performer": 3, "client": 2}
        self.prefill = {"thinker": 1, "performer": 1, "client": 0}

    def of(self, process: str, session: int, unit: int, event: int) -> int:
        """Number of event ``event`` of a unit; of the prefill for unit -1."""
        first = session * (self.prefill[process] + self.units * self.each[process])
        return (
            first if unit < 0 else first + self.prefill[process] + unit * self.each[process] + event
        )


class _SessionTrace:
    """The events of one session, as streams each of which is in order."""

    def __init__(self, scenario: Scenario, timeline: Timeline, session: int) -> None:
        self.overlapped = scenario.lag == 1
        self.separate = scenario.thinker == "separate-streams"
        self.name = f"s{session}"
        self.units = timeline.durations.units
        self.numbers = _Numbers(scenario, self.units)
        self.session = session
        config = SessionConfig(preset=preset_named(scenario.preset), schedule=scenario.schedule)
        self.terms = exchange_terms.terms_of(config, self.name, "float32")
        times = timeline.durations
        columns = {
            "arrive": times.arrive, "encode": timeline.encode, "encode_ns": times.encode,
            "update": timeline.update, "update_ns": times.update, "comm_ns": times.comm,
            "sent": timeline.sent, "solve": timeline.solve, "solve_ns": times.solve,
            "back_ns": times.back, "returned": timeline.returned, "decode": timeline.decode,
            "decode_ns": times.decode, "commit": timeline.commit, "commit_ns": times.commit,
            "decoded": timeline.decoded,
            "heard": np.maximum.accumulate(timeline.decoded + times.down, axis=0),
        }  # fmt: skip
        self.at: dict[str, list[int]] = {
            name: table[:, session].tolist() for name, table in columns.items()
        }

    def id(self, process: str, unit: int, event: int) -> str:
        """Id of an event; unit -1 is the prefill."""
        return f"{process}:{self.numbers.of(process, self.session, unit, event)}"

    def event(
        self,
        process: str,
        number: int,
        kind: Kind,
        unit: int,
        span: tuple[int, int],
        cause: tuple[str, ...] = (),
        detail: Detail | None = None,
    ) -> TraceEvent:
        """One event; ``span`` is its start and its length."""
        return TraceEvent(
            id=self.id(process, unit, number),
            session=self.name,
            process=process,
            kind=kind,
            unit=unit,
            t_ns=span[0],
            dur_ns=span[1],
            cause=cause,
            detail={} if detail is None else detail,
        )

    def on(self, stream: str) -> Detail:
        """The resource of a stage of the thinker, where it is not the thinker itself."""
        return {"resource": f"{self.name}/{stream}"} if self.separate else {}

    def streams(self) -> Iterator[Iterator[TraceEvent]]:
        """A stream of events for each stage."""
        yield iter(self.prefill())
        makers = [
            self.speak, self.receive, self.observe, self.update, self.send, self.append, self.solve,
            self.give_back, self.latents, self.decode, self.emit, self.hear,
        ]  # fmt: skip
        if self.overlapped:
            makers.append(self.commit)
        for make in makers:
            yield map(make, range(self.units))

    def prefill(self) -> tuple[TraceEvent, ...]:
        """Slice -1, before the first unit."""
        sent = self.event("thinker", SEND, Kind.SEND, -1, (0, 0))
        cause, lengths = (sent.id,), self.lengths(-1)
        # "performer" stands before "thinker" in the order of one instant.
        return self.event("performer", APPEND, Kind.APPEND, -1, (0, 0), cause, lengths), sent

    def lengths(self, unit: int) -> Detail:
        """What the append of a slice states (WS-TRACE-2)."""
        before = exchange_terms.kv_len_after(self.terms, unit - 1) if unit >= 0 else 0
        after = exchange_terms.kv_len_after(self.terms, unit)
        return {"epoch": 0, "kv_len_before": before, "kv_len_after": after}

    def speak(self, k: int) -> TraceEvent:
        """The user's unit is complete and on its way."""
        return self.event("client", SPEAK, Kind.SEND, k, (clock.unit_available_ns(k), 0))

    def receive(self, k: int) -> TraceEvent:
        """It has reached the thinker."""
        cause = (self.id("client", k, SPEAK),)
        return self.event("thinker", RECEIVE, Kind.RECEIVE, k, (self.at["arrive"][k], 0), cause)

    def observe(self, k: int) -> TraceEvent:
        """Encoding."""
        span, cause = (self.at["encode"][k], self.at["encode_ns"][k]), ("thinker", k, RECEIVE)
        return self.event(
            "thinker", OBSERVE, Kind.OBSERVE, k, span, (self.id(*cause),), self.on("encoder")
        )

    def update(self, k: int) -> TraceEvent:
        """The language pass, which also waits for the last response that it sees."""
        causes = [self.id("thinker", k, OBSERVE)]
        if self.overlapped and k >= 2:
            causes.append(self.id("thinker", k - 2, COMMIT))
        elif not self.overlapped and k >= 1:
            causes.append(self.id("thinker", k - 1, LATENTS))
        span = (self.at["update"][k], self.at["update_ns"][k])
        return self.event(
            "thinker", UPDATE, Kind.UPDATE, k, span, tuple(causes), self.on("updater")
        )

    def send(self, k: int) -> TraceEvent:
        """Slice k goes over."""
        span = (self.at["update"][k] + self.at["update_ns"][k], self.at["comm_ns"][k])
        return self.event("thinker", SEND, Kind.SEND, k, span, (self.id("thinker", k, UPDATE),))

    def append(self, k: int) -> TraceEvent:
        """It is in the performer's cache."""
        cause, span = (self.id("thinker", k, SEND),), (self.at["sent"][k], 0)
        return self.event("performer", APPEND, Kind.APPEND, k, span, cause, self.lengths(k))

    def solve(self, k: int) -> TraceEvent:
        """The solver, and overlapped the performer's own commit."""
        cause = (self.id("performer", k, APPEND),)
        span = (self.at["solve"][k], self.at["solve_ns"][k])
        return self.event("performer", SOLVE, Kind.SOLVE, k, span, cause)

    def give_back(self, k: int) -> TraceEvent:
        """The latents go back."""
        span = (self.at["solve"][k] + self.at["solve_ns"][k], self.at["back_ns"][k])
        cause = (self.id("performer", k, SOLVE),)
        return self.event("performer", RETURN, Kind.SEND, k, span, cause)

    def latents(self, k: int) -> TraceEvent:
        """The latents are with the thinker."""
        cause, span = (self.id("performer", k, RETURN),), (self.at["returned"][k], 0)
        return self.event("thinker", LATENTS, Kind.RECEIVE, k, span, cause)

    def decode(self, k: int) -> TraceEvent:
        """Decoding."""
        span, cause = (self.at["decode"][k], self.at["decode_ns"][k]), ("thinker", k, LATENTS)
        return self.event(
            "thinker", DECODE, Kind.DECODE, k, span, (self.id(*cause),), self.on("decoder")
        )

    def commit(self, k: int) -> TraceEvent:
        """The thinker's own commit."""
        span, cause = (self.at["commit"][k], self.at["commit_ns"][k]), ("thinker", k, LATENTS)
        return self.event(
            "thinker", COMMIT, Kind.COMMIT, k, span, (self.id(*cause),), self.on("updater")
        )

    def emit(self, k: int) -> TraceEvent:
        """The response leaves."""
        cause, span = (self.id("thinker", k, DECODE),), (self.at["decoded"][k], 0)
        return self.event("thinker", EMIT, Kind.EMIT, k, span, cause)

    def hear(self, k: int) -> TraceEvent:
        """It has reached the user."""
        cause, span = (self.id("thinker", k, EMIT),), (self.at["heard"][k], 0)
        return self.event("client", HEAR, Kind.RECEIVE, k, span, cause)


def _ends(scenario: Scenario, timeline: Timeline) -> Iterator[TraceEvent]:
    """The end of every process, after everything else."""
    times = timeline.durations
    heard = np.maximum.accumulate(timeline.decoded + times.down, axis=0)
    committed = timeline.commit + times.commit
    end = int(max(heard.max(), committed.max(), times.arrive.max()))
    numbers = _Numbers(scenario, times.units)
    for process in sorted(numbers.each):
        yield TraceEvent(
            # The prefill of a session that does not exist comes after all that do.
            id=f"{process}:{numbers.of(process, times.sessions, -1, 0)}",
            session=f"s{times.sessions - 1}",
            process=process,
            kind=Kind.END,
            unit=-1,
            t_ns=end,
            dur_ns=0,
            cause=(),
            detail={},
        )
