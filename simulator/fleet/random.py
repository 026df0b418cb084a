"""Distributions of a fleet as tables of equally likely integers, so that draws are integer work.

A distribution is its 65,536 quantiles at (i + 1/2) / 65536, each rounded to a whole number; a draw
is one of them, chosen by 16 bits of a random word. Means are then those of the table, exactly.
Source: CHOICE (WS-FLEET-7); random words are WS-SIMULATION-1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from statistics import NormalDist
from typing import Final

import numpy as np

from simulator.fleet.scenario import Lengths
from simulator.fleet.times import Ints
from simulator.random_streams import Words
from spec import clock

BITS: Final = 16
QUANTILES: Final = 1 << BITS
_MASK: Final = np.uint64(QUANTILES - 1)

GAP_ONE: Final = 1 << 24
"""Resolution of the gaps between arrivals: the mean gap, nearly."""

JITTER_ONE: Final = 1 << 16
"""Resolution of the factor on stage times."""


def table(quantile: Callable[[float], float]) -> Ints:
    """Quantiles of a distribution, rounded: int64 [QUANTILES], ascending (WS-FLEET-7)."""
    levels = ((2 * i + 1) / (2 * QUANTILES) for i in range(QUANTILES))
    return np.array([round(quantile(level)) for level in levels], np.int64)


def drawn(values: Ints, words: Words, lane: int = 0) -> Ints:
    """One value of a table for each word, by its bits 16 ``lane`` to 16 ``lane`` + 15."""
    picked: Ints = values[(words >> np.uint64(BITS * lane)) & _MASK]
    return picked


@functools.cache
def exponential_gaps() -> Ints:
    """Exponential with mean 1, in units of 1 / `GAP_ONE`."""
    return table(lambda q: -GAP_ONE * math.log1p(-q))


@functools.cache
def jitter_factors(spread: Fraction) -> Ints:
    """Lognormal with mean 1 and standard deviation ``spread``, in units of 1 / `JITTER_ONE`."""
    return table(lognormal(JITTER_ONE, float(spread)))


def lognormal(mean: float, spread: float) -> Callable[[float], float]:
    """Quantiles of a lognormal distribution; ``spread`` is relative to the mean."""
    sigma = math.sqrt(math.log1p(spread * spread))
    normal = NormalDist(-sigma * sigma / 2, sigma) if sigma else None
    return lambda q: mean * math.exp(normal.inv_cdf(q)) if normal else mean


@functools.cache
def length_units(lengths: Lengths) -> Ints:
    """Session lengths in units, at least 1 and at most the longest (WS-FLEET-7)."""
    mean, spread = lengths.mean_ns / clock.UNIT_NS, float(lengths.spread)
    quantile: dict[str, Callable[[float], float]] = {
        "constant": lambda _: mean,
        "exponential": lambda q: -mean * math.log1p(-q),
        "uniform": lambda q: mean * (1 + spread * (2 * q - 1)),
        "lognormal": lognormal(mean, spread),
    }
    return np.clip(table(quantile[lengths.kind]), 1, lengths.longest_units)
