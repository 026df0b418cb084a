"""Fault schedules: what goes wrong, where and when, as data (WS-FAULTS-1, WS-FAULTS-2).

A schedule is a tuple of `Fault` records and the whole of what happens to a run: the same schedule
gives the same run, fewer records give a simpler one. They are drawn swarm style: each run draws
which kinds are on, and how often each strikes. Source: design §13 (CHOICE).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import attrs

from spec import clock
from spec.errors import WanStreamerError

MAX_SESSIONS: Final = 64
MAX_AT: Final = 10**18


class FaultError(WanStreamerError):
    """A fault, or a description of faults, outside its domain (WS-FAULTS-1)."""


class FaultKind(StrEnum):
    """What can go wrong (WS-FAULTS-1)."""

    PAUSE = "pause"
    CRASH = "crash"
    RESTART = "restart"
    LATE = "late"
    DROP = "drop"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    REORDER = "reorder"
    CLOG = "clog"
    PARTITION = "partition"
    SKEW = "skew"
    BURST = "burst"
    STALL = "stall"
    STRAY = "stray"
    TAMPER = "tamper"
    RUSH = "rush"
    SUSPECT = "suspect"
    THINKER_CRASH = "thinker-crash"


K = FaultKind

DIRECTIONS: Final = ("to-performer", "to-thinker")
PROCESSES: Final = ("thinker", "performer")

WHERE: Final[Mapping[FaultKind, tuple[str, ...]]] = {
    **dict.fromkeys((K.LATE, K.DROP, K.DUPLICATE, K.CORRUPT, K.REORDER), DIRECTIONS),
    **dict.fromkeys((K.STRAY, K.TAMPER, K.CLOG, K.PARTITION), DIRECTIONS),
    **dict.fromkeys((K.PAUSE, K.SKEW), PROCESSES),
    **dict.fromkeys((K.CRASH, K.RESTART), ("performer",)),
    **dict.fromkeys((K.BURST, K.STALL), ("client",)),
    **dict.fromkeys((K.RUSH, K.SUSPECT, K.THINKER_CRASH), ("thinker",)),
}
"""Where a fault of each kind can strike."""

MESSAGE_KINDS: Final = frozenset(
    {K.LATE, K.DROP, K.DUPLICATE, K.CORRUPT, K.REORDER, K.STRAY, K.TAMPER}
)
"""Faults of one message: ``at`` counts the messages sent in its direction, from 0. For all other
kinds ``at`` is an instant in ns."""

RATES: Final[Mapping[FaultKind, float]] = {
    K.PAUSE: 0.004, K.CRASH: 0.002, K.RESTART: 0.002, K.LATE: 0.01, K.DROP: 0.02,
    K.DUPLICATE: 0.02, K.CORRUPT: 0.01, K.REORDER: 0.02, K.CLOG: 0.003, K.PARTITION: 0.002,
    K.SKEW: 0.002, K.BURST: 0.004, K.STALL: 0.002, K.STRAY: 0.005, K.TAMPER: 0.0015,
    K.RUSH: 0.004, K.SUSPECT: 0.002, K.THINKER_CRASH: 0.0003,
}  # fmt: skip
"""Faults a unit, on average, that ``all`` stands for."""

SWARM: Final = (0.0, 0.25, 1.0, 4.0)
"""Each run multiplies each rate by one of these, so that kinds meet in ever new mixtures."""

SKEW_PPM: Final = 200_000
"""Clocks run at most this much too fast or too slow."""


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong (WS-FAULTS-1).

    ``session`` counts from 0. ``amount`` is a length in ns; for `SKEW` parts per million, for
    `TAMPER` which field is changed.

    Raises:
        FaultError: a field outside its domain.
    """

    kind: FaultKind
    session: int
    where: str
    at: int
    amount: int

    def __attrs_post_init__(self) -> None:
        if self.kind not in WHERE:
            raise FaultError("fault kind", self.kind, ", ".join(FaultKind))
        if self.where not in WHERE[self.kind]:
            raise FaultError(f"where of a {self.kind}", self.where, ", ".join(WHERE[self.kind]))
        lowest = -SKEW_PPM if self.kind is K.SKEW else 0
        highest = SKEW_PPM if self.kind is K.SKEW else MAX_AT
        for name, low, high in (
            ("session", 0, MAX_SESSIONS - 1), ("at", 0, MAX_AT), ("amount", lowest, highest),
        ):  # fmt: skip
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise FaultError(f"{name} of a {self.kind}", value, f"an integer, {low} to {high}")


Schedule = tuple[Fault, ...]


def parse_faults(text: str) -> dict[FaultKind, float]:
    """Rates by kind from ``none``, ``all`` or ``kind=rate,...`` (WS-FAULTS-2).

    A rate is the mean number of faults a unit, 0 to 1.

    Raises:
        FaultError: an unknown kind, one named twice, or a rate that is no number from 0 to 1.
    """
    if text == "none":
        return {}
    if text == "all":
        return dict(RATES)
    rates: dict[FaultKind, float] = {}
    for item in text.split(","):
        name, equals, number = item.strip().partition("=")
        if not equals or name not in list(FaultKind):
            allowed = f"none, all, or kind=rate,... with kinds {', '.join(FaultKind)}"
            raise FaultError("--faults", item.strip(), allowed)
        if FaultKind(name) in rates:
            raise FaultError("--faults", f"{name} twice", "each kind once")
        rates[FaultKind(name)] = _rate(name, number)
    return rates


def _rate(name: str, number: str) -> float:
    try:
        rate = float(number)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        raise FaultError(f"--faults: rate of {name}", number, "faults a unit, 0 to 1")
    return rate


def swarm(rng: random.Random, rates: Mapping[FaultKind, float]) -> dict[FaultKind, float]:
    """The rates of one run: each kind off, rare, as given, or frequent (WS-FAULTS-2)."""
    mixed = {kind: min(1.0, rate * rng.choice(SWARM)) for kind, rate in rates.items()}
    return {kind: rate for kind, rate in mixed.items() if rate > 0}


def draw(
    rng: random.Random, rates: Mapping[FaultKind, float], *, units: int, sessions: int
) -> Schedule:
    """A schedule for ``sessions`` sessions of ``units`` units (WS-FAULTS-2).

    Every fault strikes within the time that the units take to arrive; what follows is the
    liveness phase.
    """
    return tuple(
        _drawn(rng, kind, session, units)
        for session in range(sessions)
        for kind, rate in rates.items()
        for _ in range(_times(rng, rate * units))
    )


def _times(rng: random.Random, mean: float) -> int:
    """A whole number with the given mean: its floor, or one more."""
    whole = math.floor(mean)
    return whole + (rng.random() < mean - whole)


MESSAGES_PER_UNIT: Final = 2
"""A slice and an acknowledgement each way, when nothing goes wrong."""

AT_THE_ENDS: Final = 1 / 8
FEW_MESSAGES: Final = 8
"""Sessions are opened and closed by a few messages; this part of the faults is meant for those."""

_UNIT = clock.UNIT_NS
LENGTHS: Final[Mapping[FaultKind, tuple[int, int]]] = {
    K.PAUSE: (_UNIT // 8, 6 * _UNIT), K.CRASH: (_UNIT // 8, 8 * _UNIT), K.RESTART: (0, 0),
    K.LATE: (_UNIT, 12 * _UNIT), K.DROP: (0, 0), K.DUPLICATE: (1_000_000, 6 * _UNIT),
    K.CORRUPT: (0, 0), K.REORDER: (1_000_000, 3 * _UNIT), K.CLOG: (_UNIT // 2, 6 * _UNIT),
    K.PARTITION: (_UNIT // 2, 30 * _UNIT), K.SKEW: (-SKEW_PPM, SKEW_PPM),
    K.BURST: (_UNIT, 8 * _UNIT), K.STALL: (_UNIT, 12 * _UNIT), K.STRAY: (0, _UNIT),
    K.TAMPER: (0, 3), K.RUSH: (0, 0), K.SUSPECT: (0, 0), K.THINKER_CRASH: (0, 0),
}  # fmt: skip
"""Smallest and largest ``amount`` that is drawn."""


def _drawn(rng: random.Random, kind: FaultKind, session: int, units: int) -> Fault:
    span = units * (MESSAGES_PER_UNIT if kind in MESSAGE_KINDS else clock.UNIT_NS)
    first = 0
    if kind in MESSAGE_KINDS and rng.random() < AT_THE_ENDS:
        first, span = rng.choice((0, span)), FEW_MESSAGES
    return Fault(
        kind=kind,
        session=session,
        where=rng.choice(WHERE[kind]),
        at=first + rng.randrange(span),
        amount=rng.randint(*LENGTHS[kind]),
    )


def to_json(schedule: Schedule) -> str:
    """A schedule as JSON, one fault a line (WS-FAULTS-1)."""
    lines = (json.dumps(attrs.asdict(fault), sort_keys=True) for fault in schedule)
    return "[" + ",\n ".join(lines) + "]\n"


def from_json(text: str) -> Schedule:
    """The schedule that `to_json` wrote.

    Raises:
        FaultError: not JSON, not a list of faults, a field that is missing, unknown or outside its
            domain; the message names the fault by its place.
    """
    try:
        items = json.loads(text)
    except (RecursionError, ValueError):
        items = None
    if not isinstance(items, list):
        raise FaultError("fault schedule", text[:40], "a JSON list of faults")
    return tuple(_fault(place, item) for place, item in enumerate(items))


def _fault(place: int, item: Any) -> Fault:
    names = [field.name for field in attrs.fields(Fault)]
    if not isinstance(item, dict) or sorted(item) != sorted(names):
        raise FaultError(f"fault {place}", item, f"an object of {', '.join(names)}")
    if item["kind"] not in list(FaultKind):
        raise FaultError(f"fault {place}: kind", item["kind"], ", ".join(FaultKind))
    try:
        return Fault(**{**item, "kind": FaultKind(item["kind"])})
    except FaultError as error:
        raise FaultError(f"fault {place}: {error.what}", error.value, error.allowed) from None
