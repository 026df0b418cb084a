"""Fits stage models to the first part of a real split run and predicts the rest of it.

The prediction runs the split engine's own order of work, in which user units are there at once:
think, wait for the response before, decode it, commit it. Source: CHOICE (design §13).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

import attrs
import numpy as np

from simulator.calibrate_samples import STAGES, WAYS, UnitSample, samples
from simulator.metrics import percentile
from simulator.random_streams import RandomStream
from simulator.stage_models import Constant, Quantiles, StageModel
from spec.errors import ConfigError
from spec.trace import TraceEvent

MS: Final = 1_000_000
WARM_UP: Final = 2
"""Units at the start that are left out: nothing is in memory yet, and no response comes before. So
is the last unit, whose response no later one holds up."""

SURE: Final = 3.0
"""Standard errors from which on a growth is taken for real."""

GROWING: Final = ("update", "solve", "performer commit", "commit")
"""Stages that attend to all of history (WS-COST-8); the others take what they take."""

PREDICTED_UNITS: Final = 4_096
"""Units of a prediction, at least: the rest's numbers again and again, until chance evens out."""

PERCENTILES: Final[Mapping[int, int]] = {50: 5, 90: 29, 95: 59, 99: 299}
"""Percentile q, and the least n with 1 - (q/100)^n of at least 95 %: fewer units need not hold a
single one beyond it."""

TOTALS: Final = ("latency", "cycle")
"""``latency``: encoding begins, response decoded. ``cycle``: one response decoded to the next."""


@attrs.frozen(kw_only=True)
class Row:
    """One number of one quantity, ms: measured in the rest of the run, predicted from the first
    part. ``units`` were measured; with fewer than ``needed`` the number says little."""

    quantity: str
    statistic: str
    measured: float
    predicted: float
    units: int
    needed: int

    @property
    def error(self) -> float:
        """Predicted over measured, minus 1."""
        return self.predicted / self.measured - 1 if self.measured else 0.0

    @property
    def enough(self) -> bool:
        """Whether there are units enough to say it."""
        return self.units >= self.needed


@attrs.frozen(kw_only=True)
class Calibration:
    """A fit and how well it predicts (WS-METRICS-12).

    ``fitted``, ``predicted``: units of the first part and of the rest. ``models``: at unit 0, from
    which a stage grows by its ``growth``, ns a unit, as history does. ``bounds``: ways of which
    only an upper bound is known, since no receiver was ever waiting.
    """

    fitted: int
    predicted: int
    models: Mapping[str, StageModel]
    growth: Mapping[str, float]
    bounds: tuple[str, ...]
    rows: tuple[Row, ...]


def calibrate(events: Iterable[TraceEvent], part: Fraction = Fraction(1, 2)) -> Calibration:
    """Fit the first ``part`` of a run, predict the rest (WS-METRICS-12).

    Raises:
        ConfigError: too short a run, or a part that is not between 0 and 1.
    """
    if not 0 < part < 1:
        raise ConfigError("part to fit", str(part), "between 0 and 1")
    units = samples(events)[WARM_UP:-1]
    split = int(len(units) * part)
    if split < 2 or len(units) - split < 3:
        found = f"{len(units)} whole units between the first {WARM_UP} and the last"
        raise ConfigError("trace", found, "enough for 2 to fit and 3 to predict")
    first, rest = units[:split], units[split:]
    models, growth, bounds = fit(first)
    numbers = [unit.unit for unit in rest]
    rounds = -(-PREDICTED_UNITS // len(rest))
    predicted = predict(models, growth, numbers * rounds)
    measured = measured_of(rest)
    return Calibration(
        fitted=len(first),
        predicted=len(rest),
        models=models,
        growth=growth,
        bounds=bounds,
        rows=tuple(
            row
            for quantity in (*STAGES, *TOTALS)
            if quantity not in bounds
            for row in rows_of(quantity, measured[quantity], predicted[quantity])
        ),
    )


Fit = tuple[dict[str, StageModel], dict[str, float], tuple[str, ...]]
"""Models at unit 0, growth, and the ways that are only bounded."""


def fit(units: Sequence[UnitSample]) -> Fit:
    """A model for each stage (WS-METRICS-12).

    A stage is drawn between the times that it took, its growth taken out. A way is too, from the
    times at which its receiver was waiting; with fewer than two it is the least time ever seen.
    """
    models: dict[str, StageModel] = {}
    growth, bounds = dict.fromkeys(STAGES, 0.0), []
    for stage in STAGES:
        known = [unit for unit in units if stage not in WAYS or stage in unit.exact]
        if len(known) < 2:
            bounds.append(stage)
            models[stage] = Constant(ns=min(unit.ns[stage] for unit in units))
            continue
        numbers, times = [unit.unit for unit in known], [unit.ns[stage] for unit in known]
        if stage in GROWING:
            growth[stage] = max(0.0, slope(numbers, times))
        at_zero = (time - growth[stage] * k for k, time in zip(numbers, times, strict=True))
        models[stage] = Quantiles(points_ns=tuple(sorted(map(round, at_zero))))
    return models, growth, tuple(bounds)


def slope(numbers: Sequence[int], times: Sequence[int]) -> float:
    """Least-squares slope, ns a unit; 0 unless it is `SURE` times its standard error
    (WS-METRICS-12): what chance alone may have made is not carried on."""
    count = len(numbers)
    if count < 5:
        return 0.0
    x, y = np.array(numbers, np.float64), np.array(times, np.float64)
    x -= x.mean()
    found = float(x @ y / (x @ x))
    left = y - y.mean() - found * x
    error = float(np.sqrt(left @ left / (count - 2) / (x @ x)))
    return found if found != 0 and abs(found) >= SURE * error else 0.0


Times = Mapping[str, Sequence[int]]
"""ns by quantity."""


def measured_of(units: Sequence[UnitSample]) -> Times:
    """What the trace says; of a way, the times that are exact."""
    found: dict[str, Sequence[int]] = {
        stage: [unit.ns[stage] for unit in units if stage not in WAYS or stage in unit.exact]
        for stage in STAGES
    }
    found["latency"] = [unit.decoded - unit.began for unit in units]
    found["cycle"] = [
        b.decoded - a.decoded for a, b in itertools.pairwise(units) if b.unit == a.unit + 1
    ]
    return found


def predict(
    models: Mapping[str, StageModel],
    growth: Mapping[str, float],
    numbers: Sequence[int],
    seed: int = 0,
) -> Times:
    """As `measured_of`, of units with these numbers, whose times are drawn from the models."""
    drawn: dict[str, Sequence[int]] = {}
    for stage in STAGES:
        key = np.array(RandomStream(seed=seed, component=f"calibrate/{stage}").key, np.uint64)
        at_zero = models[stage].times_ns(key, 0, len(numbers)).tolist()
        drawn[stage] = [
            max(0, time + round(growth[stage] * k))
            for time, k in zip(at_zero, numbers, strict=True)
        ]
    began, decoded = replay(drawn)
    return {
        **drawn,
        "latency": [end - start for start, end in zip(began, decoded, strict=True)][WARM_UP:],
        "cycle": [after - before for before, after in itertools.pairwise(decoded)][WARM_UP:],
    }


def replay(times: Times) -> tuple[list[int], list[int]]:
    """When each unit's encoding begins and its response is decoded, in the split engine's order of
    work (WS-METRICS-12, WS-STREAMING-9).

    Step k: encode and update unit k, send slice k; then wait for the latents of k - 1, decode and
    commit them. The performer solves a slice when it is there and the one before is committed; it
    sends latents before it commits them. Messages occupy nobody.
    """
    began, decoded = list[int](), list[int]()
    free = performer_free = returned = 0
    columns = [times[stage] for stage in STAGES]
    before: tuple[int, int] | None = None
    for encode, update, way, solve, own, back, decode, commit in zip(*columns, strict=True):
        began.append(free)
        free += encode + update
        solved = max(free + way, performer_free) + solve
        if before is not None:
            decoded.append(max(free, returned) + before[0])
            free = decoded[-1] + before[1]
        performer_free, returned = solved + own, solved + back
        before = decode, commit
    if before is not None:
        decoded.append(max(free, returned) + before[0])
    return began, decoded


def rows_of(quantity: str, measured: Sequence[int], predicted: Sequence[int]) -> Iterable[Row]:
    """Mean and percentiles of both; none if nothing was measured."""
    if not measured:
        return
    ours, theirs = sorted(measured), sorted(predicted)
    numbers = [("mean", sum(ours) / len(ours), sum(theirs) / len(theirs), 5)]
    numbers += [
        (f"p{q}", percentile(ours, q), percentile(theirs, q), needed)
        for q, needed in PERCENTILES.items()
    ]
    for statistic, here, there, needed in numbers:
        yield Row(
            quantity=quantity,
            statistic=statistic,
            measured=here / MS,
            predicted=there / MS,
            units=len(measured),
            needed=needed,
        )
