"""What a run of a fleet counts, and what is said of it: shares, percentiles, confidence.

Shares of a simulation are not shares of independent trials: sessions of one pair are late together.
The run is cut into blocks of time; from their spread follows how many independent trials the share
is worth, and for those the exact binomial bound holds.
Source: CHOICE (WS-FLEET-9); Clopper and Pearson 1934, ratio estimator of batch means.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import attrs
import numpy as np

from simulator.fleet_times import Ints

BLOCKS: Final = 20
"""Blocks of time from whose spread confidence is judged."""

BIN_NS: Final = 100_000
"""Resolution of latency percentiles: 0.1 ms."""

BINS: Final = 100_000
"""Bins below the last one, which takes all from 10 s on."""


@attrs.frozen(kw_only=True)
class Share:
    """``hits`` of ``trials``, with the number of independent trials that they are worth."""

    hits: int
    trials: int
    effective: float

    @property
    def value(self) -> float:
        """The share itself; 0 of no trials."""
        return self.hits / self.trials if self.trials else 0.0

    def upper(self, confidence: float) -> float:
        """The share is at most this, with ``confidence`` (WS-FLEET-9): 1 without a trial."""
        return binomial_upper(self.value, self.effective, confidence)

    def lower(self, confidence: float) -> float:
        """The share is at least this, with ``confidence`` (WS-FLEET-9): 0 without a trial."""
        return 1 - binomial_upper(1 - self.value, self.effective, confidence)


def share_of(hits: Ints, trials: Ints, separate: int) -> Share:
    """The share over blocks of time (WS-FLEET-9).

    Args:
        hits, trials: of each block.
        separate: groups of trials that certainly do not share one cause within a round; the
            number that counts where every trial came out alike, so that there is no spread.
    """
    total, hit = int(trials.sum()), int(hits.sum())
    if hit in (0, total):
        return Share(hits=hit, trials=total, effective=min(total, separate))
    value, filled = hit / total, trials[trials > 0]
    blocks = len(filled)
    residuals = hits[trials > 0] - value * filled
    spread = float((residuals**2).sum()) * blocks / max(blocks - 1, 1) / total**2
    independent = value * (1 - value) / spread if spread else math.inf
    return Share(hits=hit, trials=total, effective=min(total, independent))


def binomial_upper(value: float, trials: float, confidence: float) -> float:
    """The p at which ``value`` · ``trials`` hits or fewer have probability 1 - ``confidence``
    (WS-FLEET-9): Clopper and Pearson's one-sided bound, hits rounded up to whole ones."""
    n = math.floor(trials)
    hits = math.ceil(value * n - 1e-9)
    if n == 0 or hits >= n:
        return 1.0
    low, high = value, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if binomial_at_most(hits, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def binomial_at_most(hits: int, trials: int, p: float) -> float:
    """P(X ≤ hits) of a binomial X, from its largest term down, which underflows harmlessly."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return float(hits >= trials)
    log_term = (
        math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
        + hits * math.log(p) + (trials - hits) * math.log1p(-p)
    )  # fmt: skip
    term, total, odds = math.exp(log_term), 0.0, (1 - p) / p
    for n in range(hits, -1, -1):
        total += term
        term *= n / (trials - n + 1) * odds
        if term < total * 1e-17:
            break
    return min(total, 1.0)


@attrs.define(eq=False)
class Latencies:
    """A histogram of model-side latencies, exact counts in bins of `BIN_NS`."""

    counts: Ints = attrs.field(factory=lambda: np.zeros(BINS + 1, np.int64))
    largest_ns: int = 0

    def add(self, latency_ns: Ints, units: Ints) -> None:
        """``units`` at each latency."""
        bins = np.minimum(latency_ns // BIN_NS, BINS)
        found = np.bincount(bins, weights=units).astype(np.int64)
        self.counts[: len(found)] += found
        self.largest_ns = max(self.largest_ns, int(latency_ns.max(initial=0)))

    def percentile_ns(self, share: Fraction) -> int:
        """The upper end of the bin in which ``share`` of all units is reached, at most the largest
        (WS-FLEET-9); 0 without a unit."""
        total = int(self.counts.sum())
        if total == 0:
            return 0
        rank = math.ceil(share * total)
        index = int(np.searchsorted(np.cumsum(self.counts), max(rank, 1)))
        return self.largest_ns if index == BINS else min((index + 1) * BIN_NS, self.largest_ns)
