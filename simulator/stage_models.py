"""How long a stage takes, unit by unit: constant, drawn, recorded, or predicted for a device.

A model is asked for the times of a run of units; unit k uses the words 4k to 4k + 3 of its stream
and no others, so a time does not depend on what was asked before. Everything is integer
nanoseconds and integer arithmetic: no library's logarithm decides a trace hash.
Source: CHOICE (design §13); roofline times are WS-COST-8.
"""

from __future__ import annotations

import functools
import math
from typing import Final, Protocol

import attrs
import numpy as np

from simulator.random_streams import Times, Words, fraction_of, share, words
from spec import roofline
from spec.errors import ConfigError
from spec.latency import StageTimes
from spec.roofline import Plan

WORDS_PER_UNIT: Final = 4

MAX_STAGE_NS: Final = 60_000_000_000
"""A stage above a minute is a unit mistake (WS-SIMULATION-3)."""

MAX_SIGMA_Q16: Final = 1 << 16
"""σ = 1: wider is no stage time, and the factor exp(σ g) stays below 2^9."""

INVERSE_LN2_Q30: Final = 1_549_082_005
"""1 / ln 2 times 2^30, rounded."""

POWER_BITS: Final = 20
"""Bits of the fraction that `_power_of_two` looks at: 1e-6 of the value."""

_16: Final = np.uint64(16)
_LANES: Final = tuple(np.uint64(shift) for shift in (0, 16, 32, 48))
_LANE: Final = np.uint64(0xFFFF)


class StageModel(Protocol):
    """Times of one stage (WS-SIMULATION-2)."""

    def times_ns(self, key: Words, first: int, count: int) -> Times:
        """Times of units ``first``, ... in ns: int64 [*key.shape, count]; ``key``: the key of the
        stage's stream in each session, uint64 of any shape."""
        ...

    @property
    def typical_ns(self) -> int:
        """One number for closed forms: the mean where it is known exactly, else the median."""
        ...


@attrs.frozen(kw_only=True)
class Constant:
    """The same in every unit (WS-SIMULATION-2)."""

    ns: int

    def times_ns(self, key: Words, first: int, count: int) -> Times:  # noqa: ARG002
        """See `StageModel`."""
        return np.full((*key.shape, count), self.ns, np.int64)

    @property
    def typical_ns(self) -> int:
        """The time itself."""
        return self.ns


@attrs.frozen(kw_only=True)
class Uniform:
    """Every integer from ``low_ns`` to ``high_ns``, both included (WS-SIMULATION-2)."""

    low_ns: int
    high_ns: int

    def __attrs_post_init__(self) -> None:
        if self.high_ns < self.low_ns:
            raise ConfigError("uniform", (self.low_ns, self.high_ns), "low first, then high")

    def times_ns(self, key: Words, first: int, count: int) -> Times:
        """See `StageModel`."""
        drawn = words(key, WORDS_PER_UNIT * first, count, WORDS_PER_UNIT)
        return share(drawn, self.high_ns - self.low_ns + 1) + self.low_ns

    @property
    def typical_ns(self) -> int:
        """The mean, rounded down."""
        return (self.low_ns + self.high_ns) // 2


@attrs.frozen(kw_only=True)
class Quantiles:
    """Between the points of an empirical distribution, which are equally likely apart and joined
    by straight lines (WS-SIMULATION-2). ``points_ns``: ascending, the least first."""

    points_ns: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        if len(self.points_ns) < 2 or list(self.points_ns) != sorted(self.points_ns):
            raise ConfigError("quantiles", self.points_ns, "at least two times, ascending")

    def times_ns(self, key: Words, first: int, count: int) -> Times:
        """See `StageModel`."""
        drawn = words(key, WORDS_PER_UNIT * first, count, WORDS_PER_UNIT)
        points = np.array(self.points_ns, np.int64)
        gap = share(drawn, len(points) - 1)
        # The lower half of the word, independent of the upper one, places it inside the gap.
        inside = drawn & np.uint64(0xFFFFFFFF)
        return points[gap] + fraction_of(inside, np.diff(points)[gap].astype(np.uint64))

    @property
    def typical_ns(self) -> int:
        """The mean, rounded down."""
        doubled = 2 * sum(self.points_ns) - self.points_ns[0] - self.points_ns[-1]
        return doubled // (2 * (len(self.points_ns) - 1))


@attrs.frozen(kw_only=True)
class Lognormal:
    """least + median · exp(σ g), g the Gaussian to 12 lanes of the recipe (WS-SIMULATION-2,
    WS-RECIPE-4), in fixed point with 30 fractional bits, rounded down at each product.

    ``least_ns``: added to every draw. ``median_ns``: of what comes on top. ``sigma_q16``: σ in
    units of 2^-16, 0 to 1.
    """

    least_ns: int
    median_ns: int
    sigma_q16: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.sigma_q16 <= MAX_SIGMA_Q16:
            raise ConfigError("lognormal sigma", self.sigma_q16 / MAX_SIGMA_Q16, "0 to 1")

    def times_ns(self, key: Words, first: int, count: int) -> Times:
        """See `StageModel`."""
        drawn = words(key, WORDS_PER_UNIT * first, WORDS_PER_UNIT * count)
        drawn = drawn.reshape(*key.shape, count, WORDS_PER_UNIT)[..., :3]
        gaussian_q16 = np.full((*key.shape, count), -6 * 0xFFFF, np.int64)
        for shift in _LANES:
            gaussian_q16 += ((drawn >> shift) & _LANE).astype(np.int64).sum(axis=-1)
        # exp(x) = 2^(x / ln 2): a whole power, which is a shift, and a fraction.
        power = gaussian_q16 * (self.sigma_q16 * INVERSE_LN2_Q30 >> 16) >> 16
        whole, fraction = power >> 30, (power & ((1 << 30) - 1)).astype(np.uint64)
        factor_q20 = _power_of_two(fraction) >> (10 - whole).astype(np.uint64)
        high = factor_q20 * np.uint64(self.median_ns >> 16)
        low = factor_q20 * np.uint64(self.median_ns & 0xFFFF)
        return self.least_ns + ((high + (low >> _16)) >> np.uint64(4)).astype(np.int64)

    @property
    def typical_ns(self) -> int:
        """The median."""
        return self.least_ns + self.median_ns


@functools.cache
def _roots_q30() -> tuple[np.uint64, ...]:
    """2^(1/2), 2^(1/4), ... times 2^30, by integer square roots of 60-bit numbers."""
    roots, value = list[np.uint64](), 2 << 60
    for _ in range(POWER_BITS):
        value = math.isqrt(value << 60)
        roots.append(np.uint64(value >> 30))
    return tuple(roots)


def _power_of_two(fraction_q30: Words) -> Words:
    """2^f times 2^30 for f = fraction / 2^30 in [0, 1): a product of roots of 2."""
    result: Words = np.full(fraction_q30.shape, 1 << 30, np.uint64)
    for bit, root in enumerate(_roots_q30(), start=1):
        has_bit = (fraction_q30 >> np.uint64(30 - bit)) & np.uint64(1) == 1
        result = np.where(has_bit, (result * root) >> np.uint64(30), result)
    return result


@attrs.frozen(kw_only=True)
class Recorded:
    """Measured times, one a unit, from the first again after the last (WS-SIMULATION-2)."""

    values_ns: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        if not self.values_ns:
            raise ConfigError("recorded times", self.values_ns, "at least one")

    def times_ns(self, key: Words, first: int, count: int) -> Times:
        """See `StageModel`."""
        values = np.array(self.values_ns, np.int64)
        row = values[np.arange(first, first + count) % len(values)]
        return np.broadcast_to(row, (*key.shape, count))

    @property
    def typical_ns(self) -> int:
        """The mean, rounded down."""
        return sum(self.values_ns) // len(self.values_ns)


STAGES: Final = tuple(field.name for field in attrs.fields(StageTimes))

PLANNED: Final = 64
"""Units whose times are found at once."""


@attrs.frozen(kw_only=True)
class Roofline:
    """What a device allows at best, growing with the history (WS-SIMULATION-2, WS-COST-8).

    ``stage``: a field of `spec.latency.StageTimes`. ``history``: units of history at unit 0, so
    that a run can begin late in a session. Response k is committed in unit k + 1, so that is where
    its commit's time is found (WS-COST-2).
    """

    plan: Plan
    stage: str
    history: int = 0

    def times_ns(self, key: Words, first: int, count: int) -> Times:
        """See `StageModel`."""
        start = self._in_unit(first)
        numbers = range(start // PLANNED, -(-(start + count) // PLANNED))
        blocks = [_planned(self.plan, number)[STAGES.index(self.stage)] for number in numbers]
        skip = start % PLANNED
        row = np.concatenate([np.zeros(0, np.int64), *blocks])[skip : skip + count]
        return np.broadcast_to(row, (*key.shape, count))

    @property
    def typical_ns(self) -> int:
        """The time of the first unit."""
        time: int = getattr(roofline.stage_times(self.plan, self._in_unit(0)), self.stage)
        return time

    def _in_unit(self, unit: int) -> int:
        """The unit of the plan in which this stage of unit ``unit`` is done."""
        return self.history + unit + (self.stage == "commit")


# All stages of a unit are found together but asked for one by one, by some engines for all units
# of a run before the next stage. As plain numbers 65,536 units are 3 MB, however long the run.
@functools.lru_cache(maxsize=1024)
def _planned(plan: Plan, number: int) -> Times:
    """ns: int64 [stage, `PLANNED` units from number * `PLANNED` on]."""
    units = range(number * PLANNED, (number + 1) * PLANNED)
    times = (roofline.stage_times(plan, unit) for unit in units)
    return np.array([[getattr(t, stage) for stage in STAGES] for t in times], np.int64).T
