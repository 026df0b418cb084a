"""What is said of a run of a fleet: shares with their confidence, and percentiles.

Units of one pair are late together, and arrivals are refused together, so the share of a run is
worth fewer trials than it has. Trials are put in clusters that hardly know of each other; from the
spread among clusters follows how many independent trials the share is worth, and for those the
exact binomial bound holds.
Source: CHOICE (WS-FLEET-9); Clopper and Pearson 1934; the ratio estimator of cluster sampling.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import attrs
import numpy as np

from simulator.fleet.times import Ints

BLOCK_LENGTHS: Final = 2
"""A cluster lasts this many mean session lengths: about as long as a fleet remembers."""

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


class Clusters:
    """Hits and trials of ``groups`` that run side by side, in blocks of time (WS-FLEET-9)."""

    def __init__(self, groups: int) -> None:
        self._hits, self._trials = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
        self._sums = np.zeros(3)
        self._hit, self._total, self._clusters = 0, 0, 0

    def add(self, hits: Ints | int, trials: Ints | int) -> None:
        """Hits and trials of each group; one sum of all where there is one group."""
        alone = len(self._hits) == 1
        self._hits += np.sum(hits) if alone else hits
        self._trials += np.sum(trials) if alone else trials

    def end_block(self) -> None:
        """What comes now is another cluster for every group."""
        h, n = self._hits.astype(float), self._trials.astype(float)
        self._sums += np.array([(h * h).sum(), (h * n).sum(), (n * n).sum()])
        self._hit, self._total = self._hit + int(h.sum()), self._total + int(n.sum())
        self._clusters += int((n > 0).sum())
        self._hits[:], self._trials[:] = 0, 0

    def share(self) -> Share:
        """The share over all ended blocks, and how many independent trials it is worth: those that
        explain the spread; as many as there are clusters where there is none (WS-FLEET-9)."""
        value = self._hit / self._total if self._total else 0.0
        clusters = self._clusters
        spread = float(self._sums @ [1, -2 * value, value * value])
        if spread <= 0 or clusters < 2 or value in (0, 1):
            worth = float(clusters)
        else:
            variance = spread * clusters / (clusters - 1) / self._total**2
            worth = value * (1 - value) / variance
        return Share(hits=self._hit, trials=self._total, effective=min(self._total, worth))


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
