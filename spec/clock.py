"""The clock: 160 ms units, 40 ms ticks, and how many samples and frames each of them holds.

All times are integer nanoseconds counted from the start of unit 0; there are no float seconds
anywhere (WS-CLOCK-1). Source: PAPER abstract and §3 (160 ms units, 25 fps); the rest CHOICE.
"""

from __future__ import annotations

from typing import Final

UNIT_NS: Final = 160_000_000
"""One streaming unit in ns (WS-CLOCK-1, PAPER abstract)."""

TICKS_PER_UNIT: Final = 4
TICK_NS: Final = UNIT_NS // TICKS_PER_UNIT
"""One tick in ns: one video frame, one audio latent frame, one text position (WS-CLOCK-2)."""

FPS: Final = 25
"""Video frames a second, on both sides (WS-CLOCK-2, PAPER §3)."""

FRAMES_PER_UNIT: Final = TICKS_PER_UNIT

USER_AUDIO_HZ: Final = 16_000
AGENT_AUDIO_HZ: Final = 24_000
USER_SAMPLES_PER_UNIT: Final = USER_AUDIO_HZ * UNIT_NS // 1_000_000_000
AGENT_SAMPLES_PER_UNIT: Final = AGENT_AUDIO_HZ * UNIT_NS // 1_000_000_000
USER_SAMPLES_PER_TICK: Final = USER_SAMPLES_PER_UNIT // TICKS_PER_UNIT
AGENT_SAMPLES_PER_TICK: Final = AGENT_SAMPLES_PER_UNIT // TICKS_PER_UNIT
"""The audio codec's hop: 960 samples at 24 kHz, so latents come at 25 Hz (WS-CLOCK-3)."""

VIDEO_SPATIAL_STRIDE: Final = 16
VIDEO_TEMPORAL_STRIDE: Final = FRAMES_PER_UNIT
"""The video codec turns the 4 frames of a unit into 1 latent frame (WS-CLOCK-4)."""


def unit_start_ns(k: int) -> int:
    """Start of unit ``k`` in ns after the start of unit 0 (WS-CLOCK-1)."""
    return k * UNIT_NS


def unit_available_ns(k: int) -> int:
    """The instant at which all of user unit ``k`` has been captured, in ns (WS-CLOCK-5).

    Latency is counted from here (PAPER §3): nothing of unit ``k`` is usable earlier.
    """
    return (k + 1) * UNIT_NS


def units_covering_ns(duration_ns: int) -> int:
    """How many units a clip of ``duration_ns`` fills, the last one padded (WS-CLOCK-6)."""
    return -(-duration_ns // UNIT_NS)
