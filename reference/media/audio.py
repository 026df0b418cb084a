"""User audio: decoded blocks become one gapless mono signal, then units of 16 kHz.

Source: CHOICE (WS-MEDIA-8, WS-MEDIA-9).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from av.audio.frame import AudioFrame
from jaxtyping import Float64

from reference.media import resample
from reference.media.source import Timed
from spec import clock
from spec.errors import MediaError

FULL_SCALE: Final = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}
"""Amplitude that becomes 1.0, for each of libav's sample formats (WS-MEDIA-8)."""

JITTER_NS: Final = clock.TICK_NS // 2
"""Time stamps this far off the sample count are rounding, not a gap (WS-MEDIA-9)."""


def to_mono(frame: AudioFrame, path: Path) -> Float64[np.ndarray, "n"]:
    """Full scale to ±1, then the mean of all channels, in float64 (WS-MEDIA-8).

    Samples past the frame's own stated duration are an encoder's padding and are left out, where
    the container counts in samples.

    Raises:
        MediaError: NaN or Inf, or a sample format without a scale.
    """
    name = frame.format.name.removesuffix("p")
    if name not in FULL_SCALE:
        raise MediaError(f"clip {path}", f"{name} samples", ", ".join(FULL_SCALE))
    raw = frame.to_ndarray().astype(np.float64)
    if not frame.format.is_planar:
        raw = raw.reshape(frame.samples, -1).T
    if not np.isfinite(raw).all():
        raise MediaError(f"clip {path}", "NaN or Inf in its audio", "finite samples")
    centre = FULL_SCALE["u8"] if name == "u8" else 0
    mono: Float64[np.ndarray, "n"] = ((raw - centre) / FULL_SCALE[name]).mean(axis=0)
    return mono[: _stated_samples(frame)]


def _stated_samples(frame: AudioFrame) -> int:
    base = frame.time_base
    assert base is not None
    per_tick = frame.sample_rate * base
    in_samples = per_tick.numerator == 1 and frame.duration > 0
    return min(frame.samples, int(frame.duration * per_tick)) if in_samples else frame.samples


def gapless(
    blocks: Iterator[Timed[Float64[np.ndarray, "n"]]], rate: int
) -> Iterator[Float64[np.ndarray, "n"]]:
    """The signal from time zero on: silence where nothing was sent, overlaps dropped (WS-MEDIA-9).

    The first block stands at its time to the nearest sample; later ones follow on unless they
    are more than 20 ms off. Silence comes in pieces of at most a second.
    """
    position = 0
    jitter = 0
    for block in blocks:
        begin = (2 * block.start_ns * rate + 1_000_000_000) // 2_000_000_000
        lead = begin - position
        if abs(lead) <= jitter:
            lead = 0
        while lead > 0:
            piece = min(lead, rate)
            yield np.zeros(piece)
            position += piece
            lead -= piece
        kept = block.data[-lead:]
        yield kept
        position += len(kept)
        jitter = JITTER_NS * rate // 1_000_000_000


class UserAudio:
    """Units of mono 16 kHz, pulled one by one; silence after the signal's end (WS-MEDIA-2).

    Args:
        signal: gapless mono blocks from time zero on.
        rate: their sample rate in Hz.
    """

    def __init__(self, signal: Iterator[Float64[np.ndarray, "n"]], rate: int) -> None:
        self._signal = signal
        self._rate = rate
        self._state = resample.start(rate)
        self._ready: Float64[np.ndarray, "n"] = np.zeros(0)
        self._ended = False

    @property
    def buffered_samples(self) -> int:
        """Samples held between units: at most a unit and one block (WS-MEDIA-12)."""
        return len(self._ready) + len(self._state.tail)

    def _push(self, block: Float64[np.ndarray, "n"]) -> None:
        out, self._state = resample.resample(block, self._state)
        self._ready = np.concatenate([self._ready, out])

    def _fill(self) -> None:
        while len(self._ready) < clock.USER_SAMPLES_PER_UNIT and not self._ended:
            block = next(self._signal, None)
            if block is None:
                self._ended = True
            else:
                self._push(block)

    def has_unit(self) -> bool:
        """Whether a tick of the coming unit lies in the signal by its midpoint (WS-MEDIA-2)."""
        self._fill()
        return len(self._ready) > clock.USER_SAMPLES_PER_TICK // 2

    def unit(self) -> Float64[np.ndarray, "2560"]:
        """The next unit, clipped to [-1, 1]; silence follows the signal (WS-MEDIA-2)."""
        self._fill()
        missing = clock.USER_SAMPLES_PER_UNIT - len(self._ready)
        if missing > 0:
            self._push(np.zeros(-(-missing * self._rate // clock.USER_AUDIO_HZ)))
        size = clock.USER_SAMPLES_PER_UNIT
        unit, self._ready = self._ready[:size], self._ready[size:]
        clipped: Float64[np.ndarray, "2560"] = np.clip(unit, -1.0, 1.0)
        return clipped
