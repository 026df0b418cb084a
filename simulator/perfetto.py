"""A trace as a Perfetto protobuf, for https://ui.perfetto.dev: tracks, slices, flows, counters.

Each process of each session is a Perfetto process; each thing that it does has a track of its own.
Arrows lead from a cause to its effect. Source: CHOICE (design §13); the format is Perfetto's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import attrs
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket, TrackEvent

from spec.trace import Kind, TraceEvent

SEQUENCE: Final = 1
"""All packets are of one writer."""

BACKLOG: Final = "units in work"


def write_perfetto(stream: BinaryIO, events: Iterable[TraceEvent]) -> None:
    """Write a whole trace (WS-TRACE-1). Packets follow each other: they are a `Trace` together.

    The events are held in memory: an arrow's number must be known at its tail.
    """
    for packet in packets(list(events)):
        part = Trace()
        part.packet.append(packet)
        stream.write(part.SerializeToString())


def packets(trace: list[TraceEvent]) -> Iterator[TracePacket]:
    """Descriptors of all tracks first, then slices, instants and counters."""
    tracks, flows = _Tracks(), _Flows(trace)
    placed = [(event, tracks.of(event)) for event in trace]
    counted = [(event, tracks.backlog(event.session), step) for event, step in _steps(trace)]
    for number, descriptor in enumerate(tracks.descriptors):
        packet = _packet()
        packet.CopyFrom(descriptor)
        packet.trusted_packet_sequence_id = SEQUENCE
        if number == 0:
            packet.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        yield packet
    for event, track in placed:
        yield from _slice(event, track, flows)
    backlog: dict[int, int] = defaultdict(int)
    for event, track, step in counted:
        backlog[track] += step
        packet = _packet(event.end_ns if step < 0 else event.t_ns)
        packet.track_event.type = TrackEvent.TYPE_COUNTER
        packet.track_event.track_uuid = track
        packet.track_event.counter_value = backlog[track]
        yield packet


def _steps(trace: list[TraceEvent]) -> list[tuple[TraceEvent, int]]:
    """When a unit is taken into work and when it is done, in the order of time: observed, then
    decoded."""
    steps = [(e, 1) for e in trace if e.kind is Kind.OBSERVE]
    steps += [(e, -1) for e in trace if e.kind is Kind.DECODE]
    return sorted(steps, key=lambda pair: pair[0].t_ns if pair[1] > 0 else pair[0].end_ns)


def _packet(timestamp: int | None = None) -> TracePacket:
    packet = TracePacket()
    packet.trusted_packet_sequence_id = SEQUENCE
    if timestamp is not None:
        packet.timestamp = timestamp
    return packet


def _slice(event: TraceEvent, track: int, flows: _Flows) -> Iterator[TracePacket]:
    packet = _packet(event.t_ns)
    shown = packet.track_event
    shown.type = TrackEvent.TYPE_SLICE_BEGIN if event.dur_ns else TrackEvent.TYPE_INSTANT
    shown.track_uuid = track
    shown.name = f"{event.kind} {event.unit}" if event.unit >= 0 else event.kind.value
    shown.categories.append(event.kind.value)
    shown.flow_ids.extend(flows.leaving[event.id])
    shown.terminating_flow_ids.extend(flows.arriving[event.id])
    for name, value in (("id", event.id), ("session", event.session), *event.detail.items()):
        note = shown.debug_annotations.add()
        note.name = name
        if isinstance(value, bool):
            note.bool_value = value
        elif isinstance(value, int):
            note.string_value = str(value)
        elif isinstance(value, str):
            note.string_value = value
    yield packet
    if event.dur_ns:
        packet = _packet(event.end_ns)
        packet.track_event.type = TrackEvent.TYPE_SLICE_END
        packet.track_event.track_uuid = track
        yield packet


class _Flows:
    """A number for each arrow, at both of its ends."""

    def __init__(self, trace: list[TraceEvent]) -> None:
        self.leaving: dict[str, list[int]] = defaultdict(list)
        self.arriving: dict[str, list[int]] = defaultdict(list)
        known = {event.id for event in trace}
        number = 0
        for event in trace:
            for cause in event.cause:
                if cause in known:
                    number += 1
                    self.leaving[cause].append(number)
                    self.arriving[event.id].append(number)


@attrs.define
class _Tracks:
    """Tracks as they are needed. What overlaps on one track, which only a broken trace has, goes to
    another, since slices of one track must nest."""

    descriptors: list[TracePacket] = attrs.field(factory=list)
    known: dict[tuple[str, ...], int] = attrs.field(factory=dict)
    until: dict[int, int] = attrs.field(factory=dict)
    processes: int = 0

    def of(self, event: TraceEvent) -> int:
        """The track that shows an event."""
        parent = self.process(event.session, event.process)
        resource = event.detail.get("resource")
        name = f"{event.kind} on {resource}" if isinstance(resource, str) else event.kind.value
        again = 1
        while True:
            shown = name if again == 1 else f"{name} ({again})"
            track = self._track((event.session, event.process, shown), shown, parent)
            if event.t_ns >= self.until.get(track, 0):
                self.until[track] = event.end_ns
                return track
            again += 1

    def process(self, session: str, process: str) -> int:
        """The track of a process of one session."""
        key = (session, process)
        if key not in self.known:
            self.processes += 1
            packet = self._describe(key)
            packet.track_descriptor.process.pid = self.processes
            shown = f"{process} {session}".strip()
            packet.track_descriptor.process.process_name = shown
        return self.known[key]

    def backlog(self, session: str) -> int:
        """The counter of a session's units in work."""
        key = (session, "thinker", BACKLOG, "counter")
        if key not in self.known:
            parent = self.process(session, "thinker")
            packet = self._describe(key)
            packet.track_descriptor.parent_uuid = parent
            packet.track_descriptor.name = BACKLOG
            packet.track_descriptor.counter.SetInParent()
        return self.known[key]

    def _track(self, key: tuple[str, ...], name: str, parent: int) -> int:
        if key not in self.known:
            packet = self._describe(key)
            packet.track_descriptor.parent_uuid = parent
            packet.track_descriptor.name = name
        return self.known[key]

    def _describe(self, key: tuple[str, ...]) -> TracePacket:
        self.known[key] = len(self.known) + 1
        packet = _packet()
        packet.track_descriptor.uuid = self.known[key]
        self.descriptors.append(packet)
        return packet
