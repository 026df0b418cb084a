"""When what happened to a unit, taken from any trace, simulated or real.

One pass over the events; the same moments whoever wrote the trace, so that metrics and pictures
need not know. Source: WS-TRACE, WS-METRICS-3 (CHOICE).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from spec.trace import Kind, TraceEvent

Span = tuple[int, int]
"""Start and end, ns."""


@attrs.define(kw_only=True)
class Moments:
    """What the trace says of one unit of one session (WS-METRICS-3). None: the trace does not say.

    ``captured``: the client has all of the unit. ``arrived``: so has the thinker; where no client
    is traced, when it begins to encode. ``encode``, ``update``, ``solve``, ``decode``: spans.
    ``performer_commit``, ``thinker_commit``: spans too. ``sent``: the slice is sent; ``appended``:
    it is in the performer's cache. ``returned``: the latents are with the thinker. ``emitted``:
    the response leaves; ``heard``: the client has it. ``audio_end``, ``video_end``: the media time
    up to which the emission brings sound and picture. ``given_up``: no response comes. ``latents``
    holds the ids of the sendings of its latents.
    """

    session: str
    unit: int
    captured: int | None = None
    arrived: int | None = None
    encode: Span | None = None
    update: Span | None = None
    sent: Span | None = None
    appended: int | None = None
    solve: Span | None = None
    returning: Span | None = None
    returned: int | None = None
    decode: Span | None = None
    performer_commit: Span | None = None
    thinker_commit: Span | None = None
    emitted: int | None = None
    heard: int | None = None
    audio_end: int | None = None
    video_end: int | None = None
    given_up: bool = False
    latents: set[str] = attrs.field(factory=set, eq=False, repr=False)


def moments(events: Iterable[TraceEvent]) -> tuple[Moments, ...]:
    """Moments of every unit, by session in order of appearance, then by unit (WS-METRICS-3)."""
    found: dict[str, dict[int, Moments]] = {}
    # The user's units are counted by the client, which a policy may not follow: a unit's own are
    # those that its encoding has as causes.
    spoken: dict[str, int] = {}
    arrivals: dict[str, tuple[int, int]] = {}
    for event in events:
        if event.unit < 0:
            continue
        first = event.cause[0] if event.cause else ""
        if event.process == "client" and event.kind is Kind.SEND:
            spoken[event.id] = event.t_ns
            continue
        if event.process == "thinker" and event.kind is Kind.RECEIVE and first in spoken:
            arrivals[event.id] = spoken.pop(first), event.end_ns
            continue
        units = found.setdefault(event.session, {})
        unit = units.get(event.unit)
        if unit is None:
            unit = units[event.unit] = Moments(session=event.session, unit=event.unit)
        if event.kind is Kind.OBSERVE:
            unit.captured, unit.arrived = arrivals.pop(first, (None, event.t_ns))
        _note(unit, event)
    return tuple(units[k] for units in found.values() for k in sorted(units))


def by_session(units: Iterable[Moments]) -> Mapping[str, tuple[Moments, ...]]:
    """The same, a sequence a session."""
    grouped: dict[str, list[Moments]] = {}
    for unit in units:
        grouped.setdefault(unit.session, []).append(unit)
    return {session: tuple(found) for session, found in grouped.items()}


_SPANS: Final[Mapping[Kind, str]] = {
    Kind.OBSERVE: "encode",
    Kind.UPDATE: "update",
    Kind.SOLVE: "solve",
    Kind.DECODE: "decode",
}


def _note(unit: Moments, event: TraceEvent) -> None:
    span = event.t_ns, event.end_ns
    kind, process = event.kind, event.process
    if kind in _SPANS:
        # What is solved again after a response was decoded is not that response.
        if kind is not Kind.SOLVE or unit.decode is None:
            setattr(unit, _SPANS[kind], span)
    elif kind is Kind.COMMIT:
        name = "performer_commit" if process == "performer" else "thinker_commit"
        setattr(unit, name, span)
    elif kind is Kind.APPEND:
        unit.appended = event.end_ns if unit.appended is None else unit.appended
    elif kind is Kind.EMIT:
        unit.emitted = event.end_ns
        unit.audio_end, unit.video_end = map(_number, map(event.detail.get, _ENDS))
        if process == "client":
            unit.heard = event.end_ns
    elif kind is Kind.DROP:
        unit.given_up |= "policy" in event.detail
    elif kind is Kind.SEND:
        _sent(unit, event, span)
    elif kind is Kind.RECEIVE:
        _received(unit, event)


_ENDS: Final = ("audio_end_ns", "video_end_ns")


def _number(value: str | int | None) -> int | None:
    return value if type(value) is int else None


def _sent(unit: Moments, event: TraceEvent, span: Span) -> None:
    # A trace may say what a message is; acknowledgements carry the number of a unit too.
    said = event.detail.get("kind")
    if event.process == "thinker" and unit.update is not None and said in (None, "Header"):
        unit.sent = unit.sent or span
    elif event.process == "performer" and unit.solve is not None and said in (None, "Latents"):
        unit.returning = unit.returning or span
        unit.latents.add(event.id)


def _received(unit: Moments, event: TraceEvent) -> None:
    if event.process == "client" and unit.emitted is not None:
        unit.heard = event.end_ns
    elif event.process == "thinker" and unit.returned is None:
        unit.returned = event.end_ns if unit.latents.intersection(event.cause) else None
