"""Which numbers draw a word for sure, whatever rounding did to the logits (WS-TEXT-3).

Near a step of the cumulative distribution, near a cut of top_k or top_p and between logits that are
nearly equal, the last bits decide which word is drawn. What is here is worked out from logits and
from how far those that were used may be off; it leaves a range of numbers that draw the same word
from all of them. Source: CHOICE (WS-CONFORMANCE-9).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from conformance.protocol import Array, SamplingInput

SLACK: Final = 1e-9
"""What adding up probabilities in binary64 in another order may change, with room to spare."""

NO_RANGE: Final = (0.0, 0.0)
"""No number draws the word for sure."""


def range_of(logits: Array, off: float, rule: SamplingInput, token: int) -> tuple[float, float]:
    """From where, and to below where, a number draws ``token`` for sure; `NO_RANGE` if none does.

    Args:
        logits: [vocab], float64.
        off: how far each of those that were used may be from it.
    """
    # As WS-TEXT-2 orders them: falling logits, the lower id first among equals.
    order = np.argsort(-logits, kind="stable")
    ranked = logits[order]
    if rule.temperature == 0:
        greedy = token == order[0] and ranked[0] - ranked[1] > 2 * off
        return (0.0, 1.0) if greedy else NO_RANGE
    # The weights of two words are off by at most the factor exp(twist) against each other.
    twist = 2 * off / rule.temperature
    kept = _kept(ranked, off, twist, rule)
    place = int(np.flatnonzero(order == token)[0])
    if kept is None or place >= kept:
        return NO_RANGE
    p = _softmax(ranked[:kept] / rule.temperature)
    near = np.abs(ranked[:kept] - ranked[place]) <= 2 * off
    first, after = p[:place], p[place + 1 :]
    surely_before = float(first[~near[:place]].sum())
    maybe_before = float(first.sum() + after[near[place + 1 :]].sum())
    alone = not near[place + 1 :].any()
    low = _moved(maybe_before, twist) + SLACK if maybe_before else 0.0
    last = place == kept - 1 and not near[:place].any()
    high = 1.0 if last and alone else _moved(surely_before + float(p[place]), -twist) - SLACK
    return (low, high) if low < high else NO_RANGE


def _kept(ranked: Array, off: float, twist: float, rule: SamplingInput) -> int | None:
    """How many candidates top_k and top_p leave, if they are the same ones for sure."""
    count = len(ranked)

    def clear(n: int) -> bool:
        """Do the first ``n`` come before all others for sure?"""
        return n == count or bool(ranked[n - 1] - ranked[n] > 2 * off)

    kept = min(rule.top_k, count) if rule.top_k else count
    if not clear(kept):
        return None
    if rule.top_p >= 1:
        return kept
    p = _softmax(ranked[:kept] / rule.temperature)
    total = np.cumsum(p)
    n = int((total - p < rule.top_p).sum())
    reached = n == kept or _moved(float(total[n - 1]), -twist) - SLACK >= rule.top_p
    needed = n == 1 or _moved(float(total[n - 2]), twist) + SLACK < rule.top_p
    return n if clear(n) and reached and needed else None


def _moved(p: float, twist: float) -> float:
    """The furthest to which rounding moves the probability ``p`` of some of the words: their
    weights against those of all others by the factor exp(twist)."""
    if p >= 1:
        return 1.0
    grown = p * math.exp(twist)
    return grown / (grown + 1 - p)


def _softmax(x: Array) -> Array:
    weights = np.exp(x - x[0])
    return np.asarray(weights / weights.sum())
