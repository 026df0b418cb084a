"""What a fleet is: pairs of devices, who comes to them, who is let in, and what is promised.

One record holds everything, so that a run is a function of it. Times are whole ns or whole units.
Source: CHOICE (WS-FLEET-1). Files are read in `simulator.fleet.reading`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

import attrs

from spec import clock
from spec.errors import ConfigError
from spec.roofline import Plan

SECOND_NS: Final = 1_000_000_000

ArrivalKind = Literal["poisson", "bursty", "diurnal", "users"]
LengthKind = Literal["exponential", "constant", "uniform", "lognormal"]
Memory = Literal["longest", "present"]
"""``longest``: a session holds, from its start, the memory of the longest one. ``present``: it is
let in if what is cached now and a headroom fit; where memory runs out, the oldest is cut
(WS-FLEET-5)."""
Placement = Literal["least-loaded", "random"]

MAX_SESSIONS: Final = 100_000_000
MAX_SEED: Final = (1 << 63) - 1


@attrs.frozen(kw_only=True)
class Arrivals:
    """Who comes (WS-FLEET-7).

    ``sessions``: the mean number of sessions at a time, if nobody were refused.
    ``bursty``: calm and burst in turn, each of random length around its mean; during a burst
    arrivals come ``burst_factor`` times as often. ``diurnal``: a sine of relative height ``swing``
    and length ``period_ns``, from its middle upwards. ``users``: a closed crowd of so many, of whom
    those who are not there come at random, so often that ``sessions`` of them would be there.
    """

    kind: ArrivalKind
    sessions: int
    burst_factor: Fraction = Fraction(1)
    burst_ns: int = 0
    calm_ns: int = 0
    swing: Fraction = Fraction(0)
    period_ns: int = 0
    users: int = 0

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.sessions <= MAX_SESSIONS:
            raise ConfigError("sessions", self.sessions, f"1 to {MAX_SESSIONS}")
        if self.kind == "users" and not self.sessions < self.users <= MAX_SESSIONS:
            allowed = f"more than the {self.sessions} sessions, at most {MAX_SESSIONS}"
            raise ConfigError("users", self.users, allowed)

    @property
    def load_per_idle_user(self) -> Fraction:
        """Mean length of a session / mean time between two of one user (WS-FLEET-11)."""
        return Fraction(self.sessions, self.users - self.sessions)


@attrs.frozen(kw_only=True)
class Lengths:
    """How long sessions last, before they are held to ``longest_ns`` (WS-FLEET-7).

    ``spread``: uniform, half the width relative to the mean; lognormal, the standard deviation
    relative to the mean.
    """

    kind: LengthKind
    mean_ns: int
    longest_ns: int
    spread: Fraction = Fraction(0)

    def __attrs_post_init__(self) -> None:
        if not clock.UNIT_NS <= self.mean_ns <= self.longest_ns:
            allowed = f"0.16 s to the longest, {self.longest_ns / SECOND_NS:g} s"
            raise ConfigError(
                "mean length of a session", f"{self.mean_ns / SECOND_NS:g} s", allowed
            )

    @property
    def longest_units(self) -> int:
        """Units of the longest session."""
        return clock.units_covering_ns(self.longest_ns)


@attrs.frozen(kw_only=True)
class Admission:
    """Who is let in, and where (WS-FLEET-5, WS-FLEET-6).

    ``time_share``: of T, the most that the predicted cycle of a pair may take; ``memory_share``:
    of a device's memory, the most that weights and caches may. ``most_sessions``: of a pair, None
    for as many as fit. ``patience_ns``: how long a session waits to be let in before it is
    rejected. ``headroom_ns``: growth for which ``present`` keeps room, for each session.
    """

    memory: Memory = "longest"
    placement: Placement = "least-loaded"
    time_share: Fraction = Fraction(1)
    memory_share: Fraction = Fraction(1)
    most_sessions: int | None = None
    patience_ns: int = 0
    headroom_ns: int = clock.UNIT_NS


@attrs.frozen(kw_only=True)
class Slo:
    """What is promised (WS-FLEET-9): a unit is on time if its model-side latency is at most
    ``deadline_ns``; shares are of units, and of sessions that come."""

    deadline_ns: int = 2 * clock.UNIT_NS
    on_time: Fraction = Fraction(99, 100)
    blocking: Fraction = Fraction(1, 100)
    p99_ns: int = 2 * clock.UNIT_NS
    confidence: Fraction = Fraction(95, 100)


@attrs.frozen(kw_only=True)
class Site:
    """Assumptions about the world around the devices (WS-FLEET-12); no device table has them.

    ``up_kbit_s`` and ``down_kbit_s``: what a user sends and receives. ``idle_share``: of a
    device's power, what it draws when idle. ``power_overhead``: site power / device power.
    ``kwh_price`` and ``device_hour_price``: in the money of ``currency``.
    """

    up_kbit_s: int
    down_kbit_s: int
    idle_share: Fraction
    power_overhead: Fraction
    kwh_price: Fraction
    device_hour_price: Fraction
    currency: str


@attrs.frozen(kw_only=True)
class Fleet:
    """One simulation of a fleet (WS-FLEET-1).

    ``pairs``: None for as many as Erlang B asks for (WS-FLEET-11). ``jitter``: the standard
    deviation of a round's stage times, relative to their mean. ``warmup_ns``: simulated first and
    not counted.
    """

    name: str
    plan: Plan
    arrivals: Arrivals
    lengths: Lengths
    admission: Admission
    slo: Slo
    duration_ns: int
    pairs: int | None = None
    jitter: Fraction = Fraction(0)
    warmup_ns: int = 0
    seed: int = 0
    site: Site | None = None

    def __attrs_post_init__(self) -> None:
        if self.pairs is not None and not 1 <= self.pairs <= MAX_SESSIONS:
            raise ConfigError("pairs", self.pairs, f"1 to {MAX_SESSIONS}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError("seed", self.seed, f"0 to {MAX_SEED}")
        if self.duration_ns < clock.UNIT_NS:
            raise ConfigError("duration", f"{self.duration_ns} ns", "at least a unit, 160 ms")

    @property
    def warmup_rounds(self) -> int:
        """Rounds before counting starts."""
        return clock.units_covering_ns(self.warmup_ns)

    @property
    def rounds(self) -> int:
        """Rounds that are counted."""
        return clock.units_covering_ns(self.duration_ns)
