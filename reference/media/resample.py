"""Causal streaming resampler: any integer rate to 16 kHz, with a fixed, bounded delay.

A Hann-windowed sinc (half-width 6 zero crossings, roll-off 0.99) is evaluated at exact rational
positions: for input rate F, target G = 16,000 and cutoff rate B = 0.99 min(F, G),

    y[n] = (B / F) sum_m x[m] h(B (m / F - (n - D) / G)),
    h(t) = sinc(t) cos^2(pi t / 12) for |t| < 6, else 0,      D = ceil(6 G / B).

The delay D makes the right edge of the window end before time n / G, so output n depends on
inputs up to its own time and no unit border is looked across (WS-MEDIA-6, WS-MEDIA-7).
Source: CHOICE; window, width and roll-off are the defaults of the field's usual resampler.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Final

import attrs
import numpy as np
from jaxtyping import Float64, Int64

from spec import clock

TARGET_HZ: Final = clock.USER_AUDIO_HZ
ZERO_CROSSINGS: Final = 6
ROLLOFF_PERCENT: Final = 99
MIN_RATE_HZ: Final = 4_000
MAX_RATE_HZ: Final = 768_000


@attrs.frozen(kw_only=True, eq=False)
class ResampleState:
    """What one stream remembers between calls.

    ``rate`` is the input rate in Hz. ``taken`` and ``made`` count the input samples received and
    the output samples returned. ``tail`` holds the inputs that coming outputs still need, the
    first of them being input number ``tail_start``; inputs before 0 are silence.
    """

    rate: int
    taken: int
    made: int
    tail_start: int
    tail: Float64[np.ndarray, "kept"]


def delay(rate: int) -> int:
    """D = ceil(6 G / B) output samples: 7 from 16,001 Hz up, 13 at 8 kHz, 25 at 4 kHz, 0 at
    16 kHz, which passes through (WS-MEDIA-7)."""
    if rate == TARGET_HZ:
        return 0
    return -(-100 * ZERO_CROSSINGS * TARGET_HZ // (ROLLOFF_PERCENT * min(rate, TARGET_HZ)))


def half_taps(rate: int) -> int:
    """L = ceil(6 F / B): input samples on either side of an output's position (WS-MEDIA-6)."""
    return -(-100 * ZERO_CROSSINGS * rate // (ROLLOFF_PERCENT * min(rate, TARGET_HZ)))


@lru_cache(maxsize=4)
def taps(rate: int) -> Float64[np.ndarray, "width phases"]:
    """Filter weights, one column for each fraction r / G' of an input sample (WS-MEDIA-6).

    With F' / G' the reduced ratio F / G, output n stands at input position
    (n - D) F' / G' = m_0 + r / G'. Row j weighs input m_0 - L + 1 + j.
    """
    phases = TARGET_HZ // gcd(rate, TARGET_HZ)
    reach = half_taps(rate)
    offset = np.arange(1 - reach, reach + 1, dtype=np.int64)[:, None]
    # B (m / F - n / G) over one common denominator: an exact integer, then one division.
    numerator = (offset * phases - np.arange(phases)) * (ROLLOFF_PERCENT * min(rate, TARGET_HZ))
    t = numerator / (100 * rate * phases)
    inside = np.abs(numerator) < ZERO_CROSSINGS * 100 * rate * phases
    window = np.cos(np.pi * t / (2 * ZERO_CROSSINGS)) ** 2
    scale = ROLLOFF_PERCENT * min(rate, TARGET_HZ) / (100 * rate)
    return np.asarray(np.where(inside, scale * np.sinc(t) * window, 0.0), np.float64)


def _position(rate: int, n: int) -> int:
    """m_0 of output ``n``: the input sample at or before its delayed time."""
    return (n - delay(rate)) * rate // TARGET_HZ


def _first_needed(rate: int, n: int) -> int:
    return _position(rate, n) - half_taps(rate) + 1


def start(rate: int) -> ResampleState:
    """State before the first sample of a stream of ``rate`` Hz, 4,000 to 768,000."""
    first = _first_needed(rate, 0)
    return ResampleState(rate=rate, taken=0, made=0, tail_start=first, tail=np.zeros(-first))


def resample(
    samples: Float64[np.ndarray, "n"], state: ResampleState
) -> tuple[Float64[np.ndarray, "m"], ResampleState]:
    """Every output whose time n / G lies within the input so far (WS-MEDIA-6, WS-MEDIA-7).

    After N input samples ceil(N G / F) outputs have been returned, however the input was cut
    into calls, and their bits do not depend on the cutting.

    Args:
        samples: finite mono float64 samples at ``state.rate`` Hz.
        state: from `start` or from the call before.
    """
    rate = state.rate
    taken = state.taken + len(samples)
    if rate == TARGET_HZ:
        return samples, attrs.evolve(state, taken=taken, made=taken)
    made = -(-taken * TARGET_HZ // rate)
    known = np.concatenate([state.tail, samples])
    out = _weigh(rate, np.arange(state.made, made, dtype=np.int64), known, state.tail_start)
    keep_from = _first_needed(rate, made)
    # Far below 16 kHz the next window may begin after the last sample that came.
    drop = min(keep_from - state.tail_start, len(known))
    return out, ResampleState(
        rate=rate,
        taken=taken,
        made=made,
        tail_start=state.tail_start + drop,
        tail=known[drop:].copy(),
    )


def _weigh(
    rate: int,
    n: Int64[np.ndarray, "m"],
    known: Float64[np.ndarray, "kept"],
    known_start: int,
) -> Float64[np.ndarray, "m"]:
    """y[n] from the inputs ``known``, tap after tap in one fixed order (WS-MEDIA-6)."""
    weights = taps(rate)
    common = gcd(rate, TARGET_HZ)
    numerator, denominator = (n - delay(rate)) * (rate // common), TARGET_HZ // common
    base, phase = numerator // denominator, numerator % denominator
    # Row 0 of the weights belongs to the first needed input; the last rows may point past the
    # end of the input, where their weight is zero by the choice of D.
    padded = np.concatenate([known, np.zeros(len(weights))])
    first = base - half_taps(rate) + 1 - known_start
    y = np.zeros(len(n))
    for j, row in enumerate(weights):
        y = y + row[phase] * padded[first + j]
    return y
