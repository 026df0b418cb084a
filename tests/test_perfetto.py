"""The Perfetto file, read back with Perfetto's own classes."""

from __future__ import annotations

import io

import attrs
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
from trace_world import MS, session_trace

from simulator.perfetto import BACKLOG, write_perfetto
from spec.trace import Kind, TraceEvent


def read_back(events: list[TraceEvent]) -> Trace:
    stream = io.BytesIO()
    write_perfetto(stream, events)
    trace = Trace()
    trace.ParseFromString(stream.getvalue())
    return trace


Slice = tuple[str, str, int, int]
"""Path of the track, name, start, end."""


def shown(trace: Trace) -> list[Slice]:
    """All slices and instants, in the order of their ends, as the viewer would pair them."""
    paths: dict[int, str] = {}
    open_: dict[int, list[tuple[str, int]]] = {}
    slices: list[Slice] = []
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            name = track.process.process_name or track.name
            paths[track.uuid] = f"{paths.get(track.parent_uuid, '')}/{name}"
            continue
        event = packet.track_event
        stack = open_.setdefault(event.track_uuid, [])
        path = paths[event.track_uuid]
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            assert not stack, "slices of one track would nest"
            stack.append((event.name, packet.timestamp))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, start = stack.pop()
            slices.append((path, name, start, packet.timestamp))
        elif event.type == TrackEvent.TYPE_INSTANT:
            slices.append((path, event.name, packet.timestamp, packet.timestamp))
    assert not any(open_.values())
    return slices


def test_every_event_is_a_slice_on_its_track() -> None:
    """WS-TRACE-1: name, start and end of each, and nothing else."""
    events = session_trace(3)
    expected = [
        (f"/{e.process} s/{e.kind}", f"{e.kind} {e.unit}" if e.unit >= 0 else e.kind.value,
         e.t_ns, e.end_ns)
        for e in events
    ]  # fmt: skip
    assert sorted(shown(read_back(events))) == sorted(expected)


def test_every_cause_is_one_arrow() -> None:
    """WS-TRACE-5: each flow leaves one event and ends at one, the cause and its effect."""
    events = session_trace(3)
    leaving, arriving = dict[int, str](), dict[int, str]()
    for packet in read_back(events).packet:
        event = packet.track_event
        name = next(
            (note.string_value for note in event.debug_annotations if note.name == "id"), ""
        )
        for flow in event.flow_ids:
            assert leaving.setdefault(flow, name) == name
        for flow in event.terminating_flow_ids:
            assert arriving.setdefault(flow, name) == name
    arrows = {(leaving[flow], arriving[flow]) for flow in arriving}
    assert leaving.keys() == arriving.keys()
    assert arrows == {(cause, event.id) for event in events for cause in event.cause}


def test_the_counter_is_the_backlog() -> None:
    """Units observed and not yet decoded, at every instant at which that changes."""
    events = session_trace(4)
    trace = read_back(events)
    names = {p.track_descriptor.uuid: p.track_descriptor.name for p in trace.packet
             if p.track_descriptor.HasField("counter")}  # fmt: skip
    assert [*names.values()] == [BACKLOG]
    counted = {
        packet.timestamp: packet.track_event.counter_value
        for packet in trace.packet
        if packet.track_event.type == TrackEvent.TYPE_COUNTER
    }
    assert len(counted) == 8
    for at, value in counted.items():
        observed = sum(e.kind is Kind.OBSERVE and e.t_ns <= at for e in events)
        decoded = sum(e.kind is Kind.DECODE and e.end_ns <= at for e in events)
        assert value == observed - decoded


def test_sessions_and_resources_have_tracks_of_their_own() -> None:
    """Two sessions never share a process; a named resource has its own track."""
    first = session_trace(1)
    other = [attrs.evolve(e, session="t", detail={"resource": "gpu1"}) for e in first]
    paths = {path for path, *_ in shown(read_back([*first, *other]))}
    assert {"/thinker s/decode", "/thinker t/decode on gpu1"} <= paths


def test_what_overlaps_is_still_shown() -> None:
    """A broken trace is what one wants to look at."""
    events = session_trace(2)
    long = [attrs.evolve(e, dur_ns=500 * MS) if e.kind is Kind.SOLVE else e for e in events]
    paths = {path for path, name, *_ in shown(read_back(long)) if name.startswith("solve")}
    assert paths == {"/performer s/solve", "/performer s/solve (2)"}


def test_details_are_kept() -> None:
    """WS-TRACE-2: what an append states can be read in the viewer."""
    notes = [
        {note.name: note.string_value for note in packet.track_event.debug_annotations}
        for packet in read_back(session_trace(1)).packet
        if packet.track_event.name == "append 0"
    ]
    assert notes == [
        {"id": "performer:0", "session": "s", "epoch": "0", "kv_len_before": "0",
         "kv_len_after": "5"}
    ]  # fmt: skip
