"""Every metric of the paper's Tables 1 and 2 as a function over a trace.

Each takes the units of one session, as `simulator.moments` finds them in a trace, and gives a value
an occurrence: ns, or an exact fraction. What the trace does not say gives no value, never a guess.
Source: PAPER §3, Tables 1 and 2 (the names); the definitions are CHOICE (WS-METRICS).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final, TypeVar

from simulator.moments import Moments, Span
from spec import clock

Units = Sequence[Moments]
Values = tuple[Fraction, ...]
"""One value an occurrence: nanoseconds, or the ratio itself."""


def response_latency(units: Units) -> Values:
    """Client has all of unit k, to client has response k: both directions of the network
    (WS-METRICS-4)."""
    return _between((unit.captured, unit.heard) for unit in units)


def model_latency(units: Units) -> Values:
    """Unit k is available to the thinker, to response k is decoded: signal to signal, as
    scheduled (WS-METRICS-5, PAPER §3)."""
    return _between((unit.arrived, _end(unit.decode)) for unit in units)


def first_packet(units: Units) -> Values:
    """The session's first unit is available to the thinker, to the first emission
    (WS-METRICS-6)."""
    return _between([(_first(unit.arrived for unit in units), _first(map(_emitted, units)))])


def first_token(units: Units) -> Values:
    """The session's first unit is available to the thinker, to the end of its language pass
    (WS-METRICS-6)."""
    first = next((unit for unit in units if unit.arrived is not None), None)
    return () if first is None else _between([(first.arrived, _end(first.update))])


def time_to_first_byte(units: Units) -> Values:
    """The client has sent its first unit, to the client has the first response (WS-METRICS-6)."""
    return _between([(_first(u.captured for u in units), _first(u.heard for u in units))])


def real_time_factor(units: Units) -> Values:
    """Busy time of the busier process, over the media time made (WS-METRICS-7)."""
    made = sum(unit.emitted is not None for unit in units) * clock.UNIT_NS
    if not made:
        return ()
    thinker = sum(_length(s) for u in units for s in (u.encode, u.update, u.decode,
                                                      u.thinker_commit))  # fmt: skip
    performer = sum(_length(s) for u in units for s in (u.solve, u.performer_commit))
    return (Fraction(max(thinker, performer), made),)


def frames_per_second(units: Units) -> Values:
    """Frames of all emissions but the first, over the time from the first to the last
    (WS-METRICS-8)."""
    emitted = [unit.emitted for unit in units if unit.emitted is not None]
    if len(emitted) < 2 or emitted[-1] == emitted[0]:
        return ()
    frames = (len(emitted) - 1) * clock.FRAMES_PER_UNIT
    return (Fraction(frames * SECOND_NS, emitted[-1] - emitted[0]),)


def time_between_chunks(units: Units) -> Values:
    """One emission to the next (WS-METRICS-8)."""
    emitted = [unit.emitted for unit in units if unit.emitted is not None]
    return _between(itertools.pairwise(emitted))


def next_frame_time(units: Units) -> Values:
    """The time between two emissions, over the frames of one (WS-METRICS-8)."""
    return tuple(gap / clock.FRAMES_PER_UNIT for gap in time_between_chunks(units))


def first_frame_delay(units: Units) -> Values:
    """The first slice is with the performer, to its first frame is decoded (WS-METRICS-9)."""
    return chunk_latency(units)[:1]


def chunk_latency(units: Units) -> Values:
    """Slice k is with the performer, to response k is decoded: the renderer's part
    (WS-METRICS-9)."""
    return _between((unit.appended, _end(unit.decode)) for unit in units)


def audio_to_visual_delay(units: Units) -> Values:
    """How far the picture is behind the sound when they leave; 0 if they leave together
    (WS-METRICS-10)."""
    delays = []
    for unit in units:
        if unit.audio_end is not None and unit.video_end is not None:
            delays.append(Fraction(unit.audio_end - unit.video_end))
        elif unit.emitted is not None:
            delays.append(Fraction(0))
    return tuple(delays)


def reaction_latency(units: Units) -> Values:
    """Something happens in the middle of unit k, to the client has the response that could see it
    (WS-METRICS-11, WS-LATENCY-6)."""
    wait = clock.UNIT_NS // 2
    return tuple(value + wait for value in response_latency(units))


def interruption_latency(units: Units) -> Values:
    """The user interrupts in the middle of unit k, to the last response that could not know it has
    been played (WS-METRICS-11)."""
    ends: list[tuple[int | None, int | None]] = []
    played: int | None = None
    for unit in units:
        if unit.captured is not None and unit.heard is not None:
            ends.append((unit.captured - clock.UNIT_NS // 2, max(unit.heard, played or 0)))
        if unit.heard is not None:
            played = max(unit.heard, played or 0) + clock.UNIT_NS
    return _between(ends)


def endpoint_latency(units: Units) -> Values:
    """The user stops in the middle of unit k, to the end of its language pass: the first that can
    decide to answer (WS-METRICS-11)."""
    wait = clock.UNIT_NS // 2
    return tuple(
        value + wait
        for value in _between(
            (unit.arrived if unit.captured is None else unit.captured, _end(unit.update))
            for unit in units
        )
    )


SECOND_NS: Final = 1_000_000_000

METRICS: Final[Mapping[str, Callable[[Units], Values]]] = {
    "response-latency": response_latency,
    "model-latency": model_latency,
    "first-packet": first_packet,
    "first-token": first_token,
    "time-to-first-byte": time_to_first_byte,
    "real-time-factor": real_time_factor,
    "frames-per-second": frames_per_second,
    "next-frame-time": next_frame_time,
    "time-between-chunks": time_between_chunks,
    "first-frame-delay": first_frame_delay,
    "first-chunk": first_frame_delay,
    "chunk-latency": chunk_latency,
    "audio-to-visual-delay": audio_to_visual_delay,
    "reaction-latency": reaction_latency,
    "interruption-latency": interruption_latency,
    "endpoint-latency": endpoint_latency,
}
"""By the name that `spec.systems` uses (WS-METRICS-2); a speedup needs two systems."""


Number = TypeVar("Number", int, Fraction)


def percentile(values: Iterable[Number], percent: int) -> Number:
    """The smallest value that at least ``percent`` of them do not exceed (WS-SIMULATION-10).

    Args:
        values: at least one.
    """
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def _between(pairs: Iterable[tuple[int | None, int | None]]) -> Values:
    return tuple(
        Fraction(end - start) for start, end in pairs if start is not None and end is not None
    )


def _first(values: Iterable[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)


def _end(span: Span | None) -> int | None:
    return None if span is None else span[1]


def _length(span: Span | None) -> int:
    return 0 if span is None else span[1] - span[0]


def _emitted(unit: Moments) -> int | None:
    return unit.emitted
