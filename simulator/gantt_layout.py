"""What a Gantt picture of a trace holds, in the manner of the paper's Fig. 2: bars, arrows, marks.

Pure data, from any trace, simulated or real; `simulator.gantt` draws it.
Source: PAPER Fig. 2; the lanes beyond it are CHOICE (design §13).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from simulator.moments import Moments, Span, by_session, moments
from spec import clock
from spec.errors import ConfigError
from spec.trace import Kind, TraceEvent

LANES: Final[tuple[tuple[str, str], ...]] = (
    ("client", "user's unit"),
    ("client", "response"),
    ("thinker", "encode"),
    ("thinker", "update"),
    ("thinker", "decode"),
    ("thinker", "commit"),
    ("link", "KV slice"),
    ("link", "latents"),
    ("performer", "solve"),
    ("performer", "commit"),
)
"""(process, what) from top to bottom; the user's side, then the thinker's, then the performer's."""

DEADLINE_NS: Final = 2 * clock.UNIT_NS
"""When a response is late if its trace states no deadline: two units after its user unit is
available, the most that hand-over at boundaries with all stages in time can take (WS-LATENCY-4)."""


@attrs.frozen(kw_only=True)
class Bar:
    """A span of one unit in one lane, ns."""

    lane: int
    start: int
    end: int
    unit: int
    late: bool = False


@attrs.frozen(kw_only=True)
class Arrow:
    """From a lane at one time to another; ``what`` is ``KV slice``, ``latents`` or ``network``."""

    what: str
    unit: int
    from_lane: int
    from_ns: int
    to_lane: int
    to_ns: int


@attrs.frozen(kw_only=True)
class Mark:
    """An instant: ``what`` is ``boundary``, ``deadline``, ``given up`` or ``fault``."""

    what: str
    at: int
    unit: int


@attrs.frozen(kw_only=True)
class Picture:
    """All of one session, times in ns from the start of its first shown unit.

    ``units`` are the numbers shown, ``arrived`` when the first of them was with the thinker,
    ``length`` the end of the last thing shown.
    """

    session: str
    units: tuple[int, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]
    marks: tuple[Mark, ...]
    arrived: int
    length: int

    def later(self, by_ns: int) -> Picture:
        """The same, moved to the right."""
        return attrs.evolve(
            self,
            bars=tuple(
                attrs.evolve(b, start=b.start + by_ns, end=b.end + by_ns) for b in self.bars
            ),
            arrows=tuple(
                attrs.evolve(a, from_ns=a.from_ns + by_ns, to_ns=a.to_ns + by_ns)
                for a in self.arrows
            ),
            marks=tuple(attrs.evolve(mark, at=mark.at + by_ns) for mark in self.marks),
            arrived=self.arrived + by_ns,
            length=self.length + by_ns,
        )


def picture(
    events: Iterable[TraceEvent],
    first: int = 0,
    count: int = 6,
    session: str | None = None,
    deadline_ns: int = DEADLINE_NS,
) -> Picture:
    """The units ``first`` to ``first + count - 1`` of a session, its first one if None.

    Raises:
        ConfigError: the trace has no such session, or none of these units.
    """
    trace = list(events)
    sessions = by_session(moments(trace))
    name = next(iter(sessions), "") if session is None else session
    if name not in sessions:
        raise ConfigError("session", name, ", ".join([*sessions][:8]) or "a trace with units")
    units = [unit for unit in sessions[name] if first <= unit.unit < first + count]
    if not units:
        last = sessions[name][-1].unit
        raise ConfigError("units", f"{first} to {first + count - 1}", f"0 to {last}")
    zero = _origin(units[0])
    starts = [_shown(unit) for unit in units]
    bars = [
        bar
        for unit, following in zip(units, [*starts[1:], None], strict=True)
        for bar in _bars(unit, following, deadline_ns)
    ]
    if not bars:
        raise ConfigError("units", f"{first} to {first + count - 1}", "units with spans")
    end = max(bar.end for bar in bars)
    marks = [mark for unit in units for mark in _marks(unit, deadline_ns)]
    marks += [
        Mark(what="fault", at=event.t_ns, unit=event.unit)
        for event in trace
        if event.kind is Kind.FAULT and event.session in ("", name) and zero <= event.t_ns <= end
    ]
    arrived = units[0].arrived
    return Picture(
        session=name,
        units=tuple(unit.unit for unit in units),
        bars=tuple(bars),
        arrows=tuple(arrow for unit in units for arrow in _arrows(unit)),
        marks=tuple(marks),
        arrived=zero if arrived is None else arrived,
        length=end,
    ).later(-zero)


def _origin(unit: Moments) -> int:
    """The start of the unit's capture where that is traced, else its arrival."""
    if unit.captured is not None:
        return unit.captured - clock.UNIT_NS
    return min((span[0] for span in _spans(unit).values()), default=0)


def _spans(unit: Moments) -> dict[tuple[str, str], Span]:
    """The lanes that the unit is in, and when."""
    spans = {
        ("thinker", "encode"): unit.encode,
        ("thinker", "update"): unit.update,
        ("thinker", "decode"): unit.decode,
        ("thinker", "commit"): unit.thinker_commit,
        ("link", "KV slice"): _until(unit.sent, unit.appended),
        ("link", "latents"): _until(unit.returning, unit.returned),
        ("performer", "solve"): unit.solve,
        ("performer", "commit"): unit.performer_commit,
    }
    if unit.captured is not None:
        spans["client", "user's unit"] = unit.captured - clock.UNIT_NS, unit.captured
    # What takes no time has no bar, and a lane of it no room.
    return {lane: span for lane, span in spans.items() if span is not None and span[0] < span[1]}


def _shown(unit: Moments) -> int | None:
    """When the user begins to see the response; when it leaves, where no client is traced."""
    return unit.emitted if unit.heard is None else unit.heard


def _until(sent: Span | None, there: int | None) -> Span | None:
    return None if sent is None or there is None else (sent[0], there)


def _deadline(unit: Moments, deadline_ns: int) -> int | None:
    return None if unit.arrived is None else unit.arrived + deadline_ns


def _bars(unit: Moments, following: int | None, deadline_ns: int) -> Iterable[Bar]:
    """``following`` is when the next response takes the place of this one."""
    for lane, (start, end) in _spans(unit).items():
        yield Bar(lane=LANES.index(lane), start=start, end=end, unit=unit.unit)
    due, shown = _deadline(unit, deadline_ns), _shown(unit)
    if shown is not None:
        end = shown + clock.UNIT_NS
        if following is not None:
            end = max(shown, min(end, following))
        late = due is not None and unit.emitted is not None and unit.emitted > due
        lane_number = LANES.index(("client", "response"))
        yield Bar(lane=lane_number, start=shown, end=end, unit=unit.unit, late=late)


def _arrows(unit: Moments) -> Iterable[Arrow]:
    sent = None if unit.sent is None else unit.sent[0]
    returning = None if unit.returning is None else unit.returning[0]
    heard = None if unit.heard == unit.emitted else unit.heard
    for what, from_ns, to_ns, start, end in (
        ("network", unit.captured, unit.arrived, ("client", "user's unit"), ("thinker", "encode")),
        ("KV slice", sent, unit.appended, ("thinker", "update"), ("performer", "solve")),
        ("latents", returning, unit.returned, ("performer", "solve"), ("thinker", "decode")),
        ("network", unit.emitted, heard, ("thinker", "decode"), ("client", "response")),
    ):
        if from_ns is not None and to_ns is not None:
            yield Arrow(what=what, unit=unit.unit, from_ns=from_ns, to_ns=to_ns,
                        from_lane=LANES.index(start), to_lane=LANES.index(end))  # fmt: skip


def _marks(unit: Moments, deadline_ns: int) -> Iterable[Mark]:
    available = unit.arrived if unit.captured is None else unit.captured
    if available is not None:
        yield Mark(what="boundary", at=available, unit=unit.unit)
        if unit.given_up:
            yield Mark(what="given up", at=available, unit=unit.unit)
    due = _deadline(unit, deadline_ns)
    if due is not None:
        yield Mark(what="deadline", at=due, unit=unit.unit)
