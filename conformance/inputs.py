"""What the suite feeds a port: sessions made by the integer recipe, and small changes to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, Literal

import attrs
import numpy as np

from conformance import arrays, shapes
from conformance.protocol import Array, DType, OpenRequest, UnitInput, wire_dtype
from conformance.recording import Script
from spec import clock
from spec.layout import Modalities
from spec.presets import preset_named
from spec.sizes import Preset, Schedule

UNITS: Final = 6
"""Length of a base script: both lags, all codec states and the cache are past their start."""

PROBED_UNITS: Final = 4
PROBED: Final = (0, 1, 2, 3)
"""First, second, middle and last unit of the shorter session that is perturbed."""

PROMPT: Final = (72, 105, 46)
ALL: Final = Modalities()
Field = Literal["audio", "video", "text", "agent_text", "noise_audio", "noise_video"]


@cache
def base(
    preset: str,
    schedule: Schedule,
    dtype: DType,
    *,
    units: int = UNITS,
    prompt: tuple[int, ...] = PROMPT,
    modalities: Modalities = ALL,
    seed: int = 0,
    forced: bool = False,
) -> Script:
    """A session of ``units`` units; ``forced`` prescribes the agent's text as well.

    The numbers are float32 values in either dtype, so both dtypes are asked the same question.
    """
    request = OpenRequest(
        preset=preset, schedule=schedule, dtype=dtype, prompt=prompt, modalities=modalities
    )
    make = preset_named(preset)
    return Script(
        open=request, units=tuple(_unit(make, request, k, seed, forced) for k in range(units))
    )


def _unit(preset: Preset, request: OpenRequest, k: int, seed: int, forced: bool) -> UnitInput:
    has = request.modalities

    def cast(array: Array) -> Array:
        return sealed(array.astype(np.float32).astype(wire_dtype(request.dtype)))

    def drawn(name: str, shape: shapes.Shape, gain: float) -> Array:
        return cast(gain * arrays.uniform(f"conformance/{seed}/{name}/{k}", shape))

    return UnitInput(
        unit=k,
        text=user_text(preset, seed, k) if has.user_text else (),
        audio=drawn("audio", (clock.USER_SAMPLES_PER_UNIT,), 0.5) if has.user_audio else None,
        video=drawn("video", shapes.frames(preset), 0.9) if has.user_video else None,
        noise_audio=cast(arrays.noise(seed, k, "audio", shapes.audio_latent(preset)))
        if has.agent_audio
        else None,
        noise_video=cast(arrays.noise(seed, k, "video", shapes.video_latent(preset)))
        if has.agent_video
        else None,
        agent_text=agent_text(preset, seed, k) if forced and has.agent_text else None,
    )


def sealed(array: Array) -> Array:
    """Read-only: an input is shared by many runs, and a port has no business changing it."""
    array.flags.writeable = False
    return array


def user_text(preset: Preset, seed: int, k: int) -> tuple[int, ...]:
    """1, 2, … slots filled in turn, all of them in every other unit; so some are padding."""
    count = min(1 + k % 3, preset.user_text_slots)
    return tuple(97 + (7 * k + 3 * i + seed) % 26 for i in range(count))


def agent_text(preset: Preset, seed: int, k: int) -> tuple[int, ...]:
    """Plain letters in every slot."""
    return tuple(65 + (5 * k + 11 * i + seed) % 26 for i in range(preset.agent_text_slots))


def replace(script: Script, k: int, change: Callable[[UnitInput], UnitInput]) -> Script:
    """``script`` with unit ``k`` changed."""
    units = tuple(change(u) if u.unit == k else u for u in script.units)
    return attrs.evolve(script, units=units)


def perturbed(script: Script, field: Field, k: int, slot: int = 0) -> Script:
    """``script`` with other values, and the same lengths, in one field of unit ``k``.

    Arrays are changed everywhere, tokens in ``slot`` only.
    """

    def change(unit: UnitInput) -> UnitInput:
        value = getattr(unit, field)
        new: Any
        if isinstance(value, tuple):
            new = (*value[:slot], (value[slot] + 1) % 128, *value[slot + 1 :])
        else:
            new = sealed(value[::-1].copy())
        return attrs.evolve(unit, **{field: new})

    return replace(script, k, change)


def with_text_of(script: Script, texts: tuple[tuple[int, ...], ...]) -> Script:
    """``script`` with the agent's text forced to ``texts``, one entry a unit."""
    units = tuple(attrs.evolve(u, agent_text=t) for u, t in zip(script.units, texts, strict=True))
    return attrs.evolve(script, units=units)


def in_dtype(script: Script, dtype: DType) -> Script:
    """The same numbers in another dtype."""
    if script.open.dtype == dtype:
        return script

    def cast(array: Array | None) -> Array | None:
        return None if array is None else sealed(array.astype(wire_dtype(dtype)))

    units = tuple(
        attrs.evolve(
            u,
            audio=cast(u.audio),
            video=cast(u.video),
            noise_audio=cast(u.noise_audio),
            noise_video=cast(u.noise_video),
        )
        for u in script.units
    )
    return attrs.evolve(script, open=attrs.evolve(script.open, dtype=dtype), units=units)
