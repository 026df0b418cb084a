"""What the suite feeds a port: sessions made by the integer recipe, and small changes to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Literal

import attrs
import numpy as np

from conformance import arrays, shapes
from conformance.protocol import (
    Array,
    DType,
    IdentityInput,
    OpenRequest,
    UnitInput,
    wire_dtype,
)
from conformance.reach import Place
from conformance.recording import Script
from spec import clock
from spec.layout import Modalities
from spec.presets import preset_named
from spec.sizes import Preset, Schedule

UNITS: Final = 6
"""Length of a base script: both lags, all codec states and the cache are past their start."""

PROBED_UNITS: Final = 9
PROBED: Final = (0, 4, 8)
"""First, middle and last unit of the session that is perturbed."""

PROMPT: Final = (72, 105, 46)
ALL: Final = Modalities()
BARE: Final = "tiny-bare"
"""The small preset with other sizes everywhere, at a third of the cost of `tiny`."""

Field = Literal["audio", "video", "text", "agent_text", "noise_audio", "noise_video"]


Signal = Literal["drawn", "zero", "constant", "loud", "lowest", "square", "whisper", "huge", "held"]
"""What fills an array: uniform numbers, nothing, one value, or numbers at full scale. Sound and
pictures may also be -1 everywhere (a black frame), nothing but -1 and 1, or at most `WHISPER`, or
the first frame may be held; noise may be many times what it is drawn from."""

WHISPER: Final = 2.0**-16
"""Half of the last bit of 16-bit samples: less than a device records, and no silence."""

LEVEL: Final = {"zero": 0.0, "constant": 0.25, "lowest": -1.0}
LOUDER: Final = {"loud": 3.0, "huge": 16.0}


@attrs.frozen(kw_only=True)
class Content:
    """What enters in one unit, as plain values; with the request it makes a `UnitInput`.

    ``text`` and ``agent_text`` are token ids; ``agent_text`` None lets the agent choose. Arrays are
    drawn from the integer recipe with ``seed``.
    """

    seed: int = 0
    text: tuple[int, ...] = ()
    agent_text: tuple[int, ...] | None = None
    audio: Signal = "drawn"
    video: Signal = "drawn"
    noise: Signal = "drawn"


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
    contents = [
        Content(
            seed=seed,
            text=user_text(make, seed, k),
            agent_text=agent_text(make, seed, k) if forced else None,
        )
        for k in range(units)
    ]
    return script_of(request, contents)


def script_of(request: OpenRequest, contents: Sequence[Content]) -> Script:
    """A session from beginning to end."""
    units = tuple(unit_of(request, k, content) for k, content in enumerate(contents))
    return Script(open=request, units=units)


@cache
def unit_of(request: OpenRequest, k: int, content: Content) -> UnitInput:
    """Unit ``k`` of a session with this content; what the session does not have is left out."""
    preset, has = preset_named(request.preset), request.modalities

    def filled(name: str, signal: Signal, shape: shapes.Shape, gain: float) -> Array:
        if signal in LEVEL:
            return cast(np.full(shape, LEVEL[signal]))
        drawn = arrays.uniform(f"conformance/{content.seed}/{name}/{k}", shape)
        if signal == "held":
            return cast(np.repeat(gain * drawn[:1], len(drawn), axis=0))
        if signal == "square":
            return cast(np.sign(drawn))
        return cast(drawn * {"loud": 1.0, "whisper": WHISPER}.get(signal, gain))

    def noise(name: str, shape: shapes.Shape) -> Array:
        if content.noise in LEVEL:
            return cast(np.full(shape, LEVEL[content.noise]))
        return cast(arrays.noise(content.seed, k, name, shape) * LOUDER.get(content.noise, 1.0))

    def cast(array: Array) -> Array:
        return sealed(array.astype(np.float32).astype(wire_dtype(request.dtype)))

    heard, seen = (clock.USER_SAMPLES_PER_UNIT,), shapes.frames(preset)
    return UnitInput(
        unit=k,
        text=content.text if has.user_text else (),
        audio=filled("audio", content.audio, heard, 0.5) if has.user_audio else None,
        video=filled("video", content.video, seen, 0.9) if has.user_video else None,
        noise_audio=noise("audio", shapes.audio_latent(preset)) if has.agent_audio else None,
        noise_video=noise("video", shapes.video_latent(preset)) if has.agent_video else None,
        agent_text=content.agent_text if has.agent_text else None,
        uniform=text_numbers(preset, content.seed, k)
        if request.sampling is not None and has.agent_text
        else None,
    )


def text_numbers(preset: Preset, seed: int, k: int) -> Array:
    """A number in [0, 1) for each text slot of unit ``k``, float64 (WS-RECIPE-8)."""
    return sealed(arrays.fraction(f"text/{seed}/{k}", (preset.agent_text_slots,)))


@cache
def identity(
    preset: str, dtype: DType, *, image: bool = True, voice_ticks: int = 0, seed: int = 0
) -> IdentityInput:
    """A drawn picture, a drawn recording of so many ticks; the same record for the same
    arguments, so that requests which hold it are equal."""
    sizes = preset_named(preset)
    frame, samples = shapes.frames(sizes)[1:], (clock.AGENT_SAMPLES_PER_TICK * voice_ticks,)

    def filled(name: str, shape: shapes.Shape, gain: float) -> Array:
        drawn = gain * arrays.uniform(f"conformance/identity/{seed}/{name}", shape)
        return sealed(drawn.astype(np.float32).astype(wire_dtype(dtype)))

    return IdentityInput(
        image=image,
        voice_ticks=voice_ticks,
        picture=filled("picture", frame, 0.9) if image else None,
        voice=filled("voice", samples, 0.5) if voice_ticks else None,
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
        ids = isinstance(value, tuple)
        new: Any = _other_id(value, slot) if ids else sealed(_other_values(value))
        return attrs.evolve(unit, **{field: new})

    return replace(script, k, change)


def _other_values(array: Array) -> Array:
    """In another order, smaller and shifted: neither mean nor energy stays, and the range holds."""
    return np.asarray((0.75 * array[::-1] + 0.125).astype(array.dtype))


def touched(script: Script, place: Place) -> Script:
    """``script`` with one token's input changed, and nothing else: one sample, one pixel, one
    element of noise, one id."""
    k, i = place.unit, place.index
    if place.site == "prompt":
        prompt = _other_id(script.open.prompt, i)
        return attrs.evolve(script, open=attrs.evolve(script.open, prompt=prompt))
    preset = preset_named(script.open.preset)
    patch = preset.video_codec.patch
    row, col = (patch * n for n in divmod(i, preset.patch_cols))
    where: dict[str, tuple[int, ...]] = {
        "audio": (clock.USER_SAMPLES_PER_TICK * i + clock.USER_SAMPLES_PER_TICK // 2,),
        "video": (1, 1, *(clock.VIDEO_SPATIAL_STRIDE * n + 8 for n in (row, col))),
        "noise_audio": (i, 1),
        "noise_video": (1, row, col),
    }

    def change(unit: UnitInput) -> UnitInput:
        value: Any = getattr(unit, place.site)
        new: Any = _other_id(value, i) if isinstance(value, tuple) else value.copy()
        if not isinstance(value, tuple):
            new[where[place.site]] += 0.5
            new = sealed(new)
        return attrs.evolve(unit, **{place.site: new})

    return replace(script, k, change)


def _other_id(ids: tuple[int, ...], i: int) -> tuple[int, ...]:
    return (*ids[:i], (ids[i] + 1) % 128, *ids[i + 1 :])


def with_text_of(script: Script, texts: tuple[tuple[int, ...], ...]) -> Script:
    """``script`` with the agent's text forced to ``texts``, one entry a unit."""
    units = tuple(attrs.evolve(u, agent_text=t) for u, t in zip(script.units, texts, strict=True))
    return attrs.evolve(script, units=units)


def in_dtype(script: Script, dtype: DType) -> Script:
    """The same numbers in another dtype."""
    if script.open.dtype == dtype:
        return script
    opened = attrs.evolve(script.open, dtype=dtype)
    return _each_array(
        attrs.evolve(script, open=opened), lambda array: array.astype(wire_dtype(dtype))
    )


def finer(script: Script) -> Script:
    """A float64 session whose numbers no float32 holds: those of ``script``, hardly smaller."""
    return _each_array(script, lambda array: array * (1.0 - 2.0**-30))


def _each_array(script: Script, change: Callable[[Array], Array]) -> Script:
    def made(array: Array | None) -> Array | None:
        return None if array is None else sealed(change(array))

    units = tuple(
        attrs.evolve(
            u,
            audio=made(u.audio),
            video=made(u.video),
            noise_audio=made(u.noise_audio),
            noise_video=made(u.noise_video),
        )
        for u in script.units
    )
    opened = script.open
    if opened.identity is not None:
        who = opened.identity
        who = attrs.evolve(who, picture=made(who.picture), voice=made(who.voice))
        opened = attrs.evolve(opened, identity=who)
    return attrs.evolve(script, open=opened, units=units)
