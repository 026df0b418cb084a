"""A clean trace, and the ways to break it: each defect of `BROKEN` violates one clause only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from spec.trace import Kind, TraceEvent, event_key
from spec.trace_reading import sorted_trace
from spec.trace_sessions import CAUSES

MS = 1_000_000


def clean_trace(units: int = 3, session: str = "s") -> list[TraceEvent]:
    """A session as both sides would trace it, a unit every 160 ms."""
    counts = {"thinker": 0, "performer": 0, "client": 0}
    made: list[TraceEvent] = []

    def add(process: str, kind: Kind, unit: int, t: int, dur: int = 0, **rest: Any) -> str:
        name = f"{process}:{counts[process]}"
        counts[process] += 1
        made.append(
            TraceEvent(
                id=name, session=session, process=process, kind=kind, unit=unit, t_ns=t * MS,
                dur_ns=dur * MS, cause=rest.get("cause", ()), detail=rest.get("detail", {}),
            )
        )  # fmt: skip
        return name

    def append(unit: int, t: int, cause: str, epoch: int = 0) -> str:
        before = 0 if unit == -1 else 10 + 5 * unit
        after = 10 + 5 * (unit + 1)
        detail = {"epoch": epoch, "kv_len_before": before, "kv_len_after": after}
        return add("performer", Kind.APPEND, unit, t, cause=(cause,), detail=detail)

    append(-1, 2, add("thinker", Kind.SEND, -1, 1))
    for k in range(units):
        t = 160 * (k + 1)
        queued = {"queue": 1, "queue_limit": 4}
        observed = add("thinker", Kind.OBSERVE, k, t, 20)
        updated = add("thinker", Kind.UPDATE, k, t + 20, 20, cause=(observed,), detail=queued)
        sent = add("thinker", Kind.SEND, k, t + 40, cause=(updated,))
        appended = append(k, t + 42, sent)
        solved = add("performer", Kind.SOLVE, k, t + 42, 60, cause=(appended,))
        add("performer", Kind.COMMIT, k, t + 102, 10, cause=(solved,))
        decoded = add("thinker", Kind.DECODE, k, t + 110, 30, cause=(solved,))
        # At the very instant the decoding ends: "client" stands before "thinker" in the order.
        out = {"audio_end_ns": 160 * MS * (k + 1), "video_end_ns": 160 * MS * (k + 1)}
        due = {"deadline_ns": (t + 140) * MS, "gap_ns": 0}
        add("client", Kind.EMIT, k, t + 140, cause=(decoded,), detail={**out, **due})
    for process in ("thinker", "performer", "client"):
        add(process, Kind.END, -1, 160 * (units + 2))
    return made


def changed(trace: list[TraceEvent], kind: Kind, unit: int, /, **changes: Any) -> list[TraceEvent]:
    """The trace with one event changed, in order again."""
    return sorted_trace(
        attrs.evolve(e, **changes) if (e.kind, e.unit) == (kind, unit) else e for e in trace
    )


def without(trace: list[TraceEvent], kind: Kind, unit: int) -> list[TraceEvent]:
    return sorted_trace(e for e in trace if (e.kind, e.unit) != (kind, unit))


def one(trace: list[TraceEvent], kind: Kind, unit: int) -> TraceEvent:
    return next(e for e in trace if (e.kind, e.unit) == (kind, unit))


def stating(trace: list[TraceEvent], kind: Kind, unit: int, /, **values: Any) -> list[TraceEvent]:
    """The trace with values of one event's detail changed; None takes one away."""
    stated = {**one(trace, kind, unit).detail, **values}
    kept = {name: value for name, value in stated.items() if value is not None}
    return changed(trace, kind, unit, detail=kept)


def given_up(trace: list[TraceEvent], unit: int, t: int) -> list[TraceEvent]:
    """The trace with a unit given up, an event that `numbered` gives its number."""
    drop = TraceEvent(
        id=f"link:{t}", session="s", process="link", kind=Kind.DROP, unit=unit, t_ns=t * MS,
        dur_ns=0, cause=(), detail={"policy": "skip"},
    )  # fmt: skip
    return sorted_trace([*trace, drop])


def session_given_up(trace: list[TraceEvent], t: int) -> list[TraceEvent]:
    return changed(given_up(trace, 9, t), Kind.DROP, 9, unit=-1)


def numbered(*traces: list[TraceEvent]) -> list[TraceEvent]:
    """One trace of several, its ids numbered anew without gaps, causes with them."""
    counts: Counter[str] = Counter()
    names: dict[tuple[int, str], str] = {}
    for which, event in sorted(
        ((w, e) for w, trace in enumerate(traces) for e in trace),
        key=lambda pair: (*event_key(pair[1])[:2], pair[0], event_key(pair[1])[2]),
    ):
        names[which, event.id] = f"{event.process}:{counts[event.process]}"
        counts[event.process] += 1
    return sorted_trace(
        attrs.evolve(
            event,
            id=names[which, event.id],
            cause=tuple(names.get((which, cause), cause) for cause in event.cause),
        )
        for which, trace in enumerate(traces)
        for event in trace
    )


def detail(epoch: int, before: int, after: int) -> dict[str, int]:
    return {"epoch": epoch, "kv_len_before": before, "kv_len_after": after}


LINK: list[TraceEvent] = [
    TraceEvent(
        id=f"link:{n}", session="s", process="link", kind=kind, unit=1, t_ns=t * MS,
        dur_ns=0, cause=(), detail={},
    )
    for n, kind, t in ((0, Kind.WAIT, 400), (1, Kind.END, 850))
]  # fmt: skip
"""Events of the link, to be moved and copied by defects."""


def ancient(trace: list[TraceEvent]) -> list[TraceEvent]:
    """An event that names the first of a session as its cause, 3 * CAUSES events later."""
    waits = [
        TraceEvent(
            id=f"link:{n + 2}", session="s", process="link", kind=Kind.WAIT, unit=-1,
            t_ns=700 * MS + n, dur_ns=0, cause=(), detail={},
        )
        for n in range(3 * CAUSES)
    ]  # fmt: skip
    late = attrs.evolve(waits[-1], t_ns=750 * MS, id=f"link:{len(waits) + 2}", cause=("thinker:0",))
    return sorted_trace([*trace, *waits, late])


def going_on(trace: list[TraceEvent]) -> list[TraceEvent]:
    """An event that begins together with its cause, which takes a while and stands after it."""
    solve = one(trace, Kind.SOLVE, 1)
    wait = attrs.evolve(LINK[0], id="link:9", t_ns=solve.t_ns, cause=(solve.id,))
    assert event_key(wait) < event_key(solve)
    return numbered([*trace, wait])


def circle(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Two waits at one instant, each for the other."""
    a, b = (
        TraceEvent(
            id=f"link:{n}", session="s", process="link", kind=kind, unit=-1, t_ns=900 * MS,
            dur_ns=0, cause=(f"link:{5 - n}",), detail={},
        )
        for n, kind in ((2, Kind.WAIT), (3, Kind.END))
    )  # fmt: skip
    return sorted_trace([*trace, a, b])


def beside(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Two exports of one process, of which the second begins before the first has ended."""
    exports = [
        attrs.evolve(LINK[0], id=f"link:{n}", kind=Kind.EXPORT, t_ns=(500 + n) * MS, dur_ns=2 * MS)
        for n in (5, 6)
    ]
    return numbered([*trace, *exports])


def again(trace: list[TraceEvent], kind: Kind, unit: int) -> list[TraceEvent]:
    """An event once more, 50 ms later, without a cause and what it states."""
    event = one(trace, kind, unit)
    return numbered(
        [*trace, attrs.evolve(event, id=f"{event.process}:90", t_ns=event.t_ns + 50 * MS,
                              cause=(), detail={})]
    )  # fmt: skip


def named(trace: list[TraceEvent]) -> list[TraceEvent]:
    """Both sessions solve on one GPU at the same time."""
    return [
        attrs.evolve(e, detail={"resource": "gpu0"}) if e.kind is Kind.SOLVE else e
        for e in numbered(trace, clean_trace(session="t"))
    ]


def ahead(trace: list[TraceEvent]) -> list[TraceEvent]:
    """The thinker runs through 5 units in a row; their responses come after the last."""
    first, rest = clean_trace(5), [e for e in trace if e.process == "link"]
    late = {Kind.DECODE, Kind.EMIT}
    shift = 5 * 160 * MS
    moved = [attrs.evolve(e, t_ns=e.t_ns + shift) if e.kind in late else e for e in first]
    return numbered(
        [
            attrs.evolve(e, t_ns=5000 * MS) if e.kind is Kind.END
            else attrs.evolve(
                e, detail={**e.detail, "deadline_ns": e.t_ns, "gap_ns": 0}
            ) if e.kind is Kind.EMIT else e
            for e in [*moved, *rest]
        ]
    )  # fmt: skip


def crossed(trace: list[TraceEvent]) -> list[TraceEvent]:
    """A slice of one session is received for another."""
    both = numbered(trace, clean_trace(session="t"))
    theirs = next(e for e in both if (e.session, e.kind, e.unit) == ("t", Kind.SEND, 1))
    return [
        attrs.evolve(e, cause=(theirs.id,))
        if (e.session, e.kind, e.unit) == ("s", Kind.APPEND, 1) else e
        for e in both
    ]  # fmt: skip


Change = Callable[[list[TraceEvent]], list[TraceEvent]]

BROKEN: dict[str, Change] = {
    "WS-TRACE-5 a cause that does not exist": lambda t: changed(
        t, Kind.SEND, 1, cause=("thinker:999",)
    ),
    "WS-TRACE-5 a cause that ends too late": lambda t: changed(t, Kind.UPDATE, 1, dur_ns=21 * MS),
    "WS-TRACE-5 a cause that comes later": lambda t: changed(
        t, Kind.SEND, 1, cause=(one(t, Kind.EMIT, 1).id,)
    ),
    "WS-TRACE-5 a second cause that does not exist": lambda t: changed(
        t, Kind.SEND, 1, cause=(one(t, Kind.UPDATE, 1).id, "thinker:999")
    ),
    "WS-TRACE-5 a cause that ends within its effect": lambda t: changed(
        changed(t, Kind.WAIT, 1, dur_ns=31 * MS), Kind.DECODE, 1, cause=("link:0",)
    ),
    "WS-TRACE-5 a cause of itself": lambda t: changed(
        t, Kind.EMIT, 1, cause=(one(t, Kind.EMIT, 1).id,)
    ),
    "WS-TRACE-5 a cause of one instant that goes on": going_on,
    "WS-TRACE-5 an id used twice": lambda t: sorted_trace(
        [*t, attrs.evolve(LINK[0], t_ns=450 * MS)]
    ),
    "WS-TRACE-5 a line left out": lambda t: without(t, Kind.COMMIT, 2),
    "WS-TRACE-14 a cause too long ago": ancient,
    "WS-TRACE-6 a slice appended twice": lambda t: changed(
        t, Kind.APPEND, 2, unit=1, detail=detail(0, 15, 20)
    ),
    "WS-TRACE-6 a slice left out": lambda t: changed(
        t, Kind.APPEND, 2, unit=3, detail=detail(0, 20, 25)
    ),
    "WS-TRACE-6 a hole": lambda t: changed(t, Kind.APPEND, 2, detail=detail(0, 21, 26)),
    "WS-TRACE-6 a slice over the one before": lambda t: changed(
        t, Kind.APPEND, 2, detail=detail(0, 19, 25)
    ),
    "WS-TRACE-6 an epoch that does not begin at 0": lambda t: changed(
        t, Kind.APPEND, 2, detail=detail(1, 20, 25)
    ),
    "WS-TRACE-6 an epoch that comes back": lambda t: changed(
        changed(t, Kind.APPEND, 1, detail=detail(1, 0, 15)), Kind.APPEND, 2,
        detail=detail(0, 0, 20),
    ),
    "WS-TRACE-6 a cache that shrinks": lambda t: changed(
        t, Kind.APPEND, 2, detail=detail(0, 20, 19)
    ),
    "WS-TRACE-6 no lengths": lambda t: changed(t, Kind.APPEND, 2, detail={"epoch": 0}),
    "WS-TRACE-6 an epoch that is no number": lambda t: stating(t, Kind.APPEND, 2, epoch=False),
    "WS-TRACE-7 two things at once": lambda t: changed(t, Kind.COMMIT, 1, t_ns=(320 + 101) * MS,
                                                       cause=()),
    "WS-TRACE-7 a short one inside a long one": lambda t: changed(
        changed(t, Kind.OBSERVE, 1, dur_ns=100 * MS), Kind.UPDATE, 1, cause=()
    ),
    "WS-TRACE-7 an export beside another": beside,
    "WS-TRACE-7 two sessions on one named resource": named,
    "WS-TRACE-9 decoded twice": lambda t: again(t, Kind.DECODE, 2),
    "WS-TRACE-9 decoded out of order": lambda t: changed(t, Kind.DECODE, 2, unit=1),
    "WS-TRACE-9 emitted twice": lambda t: again(t, Kind.EMIT, 2),
    "WS-TRACE-9 emitted while it is decoded": lambda t: stating(
        changed(t, Kind.EMIT, 2, t_ns=(480 + 139) * MS, cause=()), Kind.EMIT, 2
    ),
    "WS-TRACE-9 emitted before it is decoded": lambda t: changed(
        t, Kind.EMIT, 2, t_ns=(480 + 105) * MS, cause=()
    ),
    "WS-TRACE-10 a unit left out": lambda t: numbered(
        without(without(t, Kind.DECODE, 1), Kind.EMIT, 1)
    ),
    "WS-TRACE-10 the last unit left out": lambda t: numbered(
        without(without(t, Kind.DECODE, 2), Kind.EMIT, 2)
    ),
    "WS-TRACE-10 a unit not observed": lambda t: numbered(
        without(changed(t, Kind.UPDATE, 1, cause=()), Kind.OBSERVE, 1)
    ),
    "WS-TRACE-10 observed twice": lambda t: changed(t, Kind.OBSERVE, 2, unit=1),
    "WS-TRACE-10 given up and emitted": lambda t: numbered(given_up(t, 1, 330)),
    "WS-TRACE-10 given up after it was emitted": lambda t: numbered(given_up(t, 1, 470)),
    "WS-TRACE-10 given up twice": lambda t: numbered(
        given_up(given_up(without(without(t, Kind.DECODE, 1), Kind.EMIT, 1), 1, 330), 1, 331)
    ),
    "WS-TRACE-10 given up without a policy": lambda t: numbered(
        changed(
            given_up(without(without(t, Kind.DECODE, 1), Kind.EMIT, 1), 1, 330), Kind.DROP, 1,
            detail={},
        )
    ),
    "WS-TRACE-10 given up with a policy that is no text": lambda t: numbered(
        stating(
            given_up(without(without(t, Kind.DECODE, 1), Kind.EMIT, 1), 1, 330), Kind.DROP, 1,
            policy=1,
        )
    ),
    "WS-TRACE-10 observed after the session was given up": lambda t: numbered(
        session_given_up(t, 330)
    ),
    "WS-TRACE-11 too far ahead": ahead,
    "WS-TRACE-11 a queue beyond its limit": lambda t: stating(t, Kind.UPDATE, 1, queue=5),
    "WS-TRACE-11 a queue of less than nothing": lambda t: stating(t, Kind.UPDATE, 1, queue=-1),
    "WS-TRACE-11 a queue without a length": lambda t: stating(t, Kind.UPDATE, 1, queue=None),
    "WS-TRACE-11 a limit that gives way": lambda t: stating(t, Kind.UPDATE, 2, queue_limit=5),
    "WS-TRACE-11 units in work that are not there": lambda t: stating(
        t, Kind.OBSERVE, 1, queue=2, queue_limit=3
    ),
    "WS-TRACE-12 a gap that is not told": lambda t: changed(
        t, Kind.EMIT, 2, t_ns=(480 + 150) * MS
    ),
    "WS-TRACE-12 a gap that was none": lambda t: stating(t, Kind.EMIT, 2, gap_ns=1),
    "WS-TRACE-12 a deadline put off": lambda t: stating(
        changed(t, Kind.EMIT, 2, t_ns=(480 + 150) * MS), Kind.EMIT, 2,
        deadline_ns=(480 + 150) * MS,
    ),
    "WS-TRACE-12 a deadline brought forward": lambda t: stating(
        t, Kind.EMIT, 2, deadline_ns=(320 + 140) * MS, gap_ns=160 * MS
    ),
    "WS-TRACE-12 a gap that delays nothing": lambda t: stating(
        changed(t, Kind.EMIT, 1, t_ns=(320 + 150) * MS), Kind.EMIT, 1, gap_ns=10 * MS
    ),
    "WS-TRACE-12 half of an account": lambda t: stating(t, Kind.EMIT, 1, gap_ns=None),
    "WS-TRACE-13 sound goes back": lambda t: stating(t, Kind.EMIT, 2, audio_end_ns=310 * MS),
    "WS-TRACE-13 sound alone goes back": lambda t: stating(
        t, Kind.EMIT, 2, audio_end_ns=310 * MS, video_end_ns=None
    ),
    "WS-TRACE-13 a picture goes back": lambda t: stating(t, Kind.EMIT, 2, video_end_ns=310 * MS),
    "WS-TRACE-13 a picture of the future": lambda t: stating(
        t, Kind.EMIT, 2, video_end_ns=481 * MS
    ),
    "WS-TRACE-14 an effect in another session": crossed,
}  # fmt: skip
BROKEN["WS-TRACE-5 two that cause each other"] = circle
