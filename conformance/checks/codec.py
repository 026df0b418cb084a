"""Causal codecs and encoders: any chunking gives the same numbers, and nothing looks ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from conformance import arrays
from conformance.case import Case, Context, family
from conformance.oracle import naive_dtype
from conformance.pairing import settled
from conformance.protocol import PARTS, Array, CodecRequest, DType, Part, Refusal, wire_dtype
from conformance.shapes import codec_shapes
from conformance.spread import PartSpread
from conformance.tolerance import EPS, budget, exceeds, first_difference, same_bits
from spec import clock
from spec.presets import TINY_BARE

UNITS: Final = 4
OFFLINE: Final[tuple[int, ...]] = ()
UNIT_BY_UNIT: Final = (1,) * UNITS
SEEN: Final = 1e3
"""A move of the truth that is this many times the port's epsilon must show."""
AGAIN: Final = 6
"""Times one command is given; noise of every second or third run shows."""
PLANS: Final = (OFFLINE, (UNITS,), UNIT_BY_UNIT, (1, 2, 1), (3, 1))


def codec_input(context: Context, part: Part, dtype: DType, units: int = UNITS) -> Array:
    """The same numbers for every plan: float32 values in (-1, 1)."""
    shape, _ = codec_shapes(context.preset, part, units)
    return arrays.uniform(f"conformance/{part}", shape).astype(np.float32).astype(wire_dtype(dtype))


def _run(context: Context, part: Part, dtype: DType, plan: tuple[int, ...], data: Array) -> Array:
    request = CodecRequest(preset=context.preset.name, dtype=dtype, part=part, plan=plan)
    return np.array(context.port.codec(request, data))


def paired(
    context: Context,
    truth: Callable[[DType], Array],
    before: Callable[[], Array],
    after: Callable[[], Array],
    judge: Callable[[Array, Array], str | None],
    used: Callable[[Array, Array], str | None] | None = None,
) -> str | None:
    """``judge`` and ``used`` on two runs as `settled` has it, by bits (WS-CONFORMANCE-9) or, where
    the port does not repeat its own, by what rounding explains (WS-CONFORMANCE-25).

    Args:
        truth: the oracle's answer in a dtype to what ``before`` asks.
        used: what must move, where nothing but values is another in ``after``.
    """

    def repeats(a: Array, b: Array) -> str | None:
        return None if same_bits(a, b) else first_difference(a, b)

    spread = PartSpread(truth=truth, dtype=context.dtype)
    if used is None:
        return settled(context, before, after, judge, repeats, spread)
    return settled(context, before, after, judge, repeats, spread, used, spread)


def _truth(context: Context, part: Part, dtype: DType, data: Array) -> Array:
    request = CodecRequest(preset=context.preset.name, dtype=dtype, part=part, plan=OFFLINE)
    return context.oracle.codec(request, data.astype(wire_dtype(dtype)))


def _oracle(context: Context, part: Part, dtype: DType) -> Array:
    return _truth(context, part, dtype, codec_input(context, part, dtype))


def chunking(context: Context) -> Iterator[Case]:
    """Every plan of chunks against the oracle's offline form (WS-CODEC-5)."""
    for part in PARTS:
        for dtype in context.hello.dtypes:
            # One dtype over all plans; the others only over the one that serving uses.
            for plan in PLANS if dtype == context.dtype else (UNIT_BY_UNIT,):
                yield Case(
                    name=f"{part}-{dtype}-{'+'.join(map(str, plan)) or 'offline'}",
                    judge=partial(_equals_offline, context, part, dtype, plan),
                )


def _equals_offline(
    context: Context, part: Part, dtype: DType, plan: tuple[int, ...]
) -> str | None:
    actual = _run(context, part, dtype, plan, codec_input(context, part, dtype))
    truth = _oracle(context, part, "float64")
    naive = _oracle(context, part, naive_dtype(dtype))
    reason = exceeds(actual, truth, budget(truth, [naive], dtype))
    return None if reason is None else f"{part} in chunks {list(plan) or 'offline'}: {reason}"


CAUSAL: Final = {True: ("WS-CODEC-6", "WS-CODEC-3"), False: ("WS-ENCODER-8",)}
"""Who says that a codec, or else an encoder, does not look ahead."""


def causal(context: Context) -> Iterator[Case]:
    """Changing unit k moves the output of unit k and none before it, to the bit (WS-CODEC-6,
    WS-ENCODER-8)."""
    for part in PARTS:
        for plan in (UNIT_BY_UNIT, OFFLINE):
            for k in range(UNITS):
                form = "stream" if plan else "offline"
                yield Case(
                    name=f"{part}-{form}-unit{k}",
                    clauses=CAUSAL["codec" in part],
                    judge=partial(_only_forward, context, part, plan, k),
                )

    for part in PARTS:
        for plan in (UNIT_BY_UNIT, OFFLINE):
            form = "stream" if plan else "offline"
            yield Case(
                name=f"{part}-{form}-last-step",
                clauses=CAUSAL["codec" in part],
                judge=partial(_last_step, context, part, plan),
            )


def _last_step(context: Context, part: Part, plan: tuple[int, ...]) -> str | None:
    """The last sample, frame or latent of a latent's span reaches that span's output and none
    before it: no look-ahead inside a unit, and no delay."""
    spans = 1 if "video" in part else clock.TICKS_PER_UNIT
    n_in, n_out = (s[0] // spans for s in codec_shapes(context.preset, part, 1))
    data = codec_input(context, part, context.dtype)
    changed, i = data.copy(), UNITS * spans // 2
    # Far from what it was: a window may give its last sample next to no weight.
    last = data[(i + 1) * n_in - 1]
    changed[(i + 1) * n_in - 1] = -last - np.sign(last)
    early, own = slice(0, i * n_out), slice(i * n_out, (i + 1) * n_out)

    def judge(before: Array, after: Array) -> str | None:
        if not same_bits(before[early], after[early]):
            where = first_difference(before[early], after[early])
            return f"{part}: span {i} reached an earlier one, {where}"
        return None

    def used(before: Array, after: Array) -> str | None:
        if same_bits(before[own], after[own]) and _must_move(context, part, data, changed, own):
            return f"{part}: the last step of span {i} does not reach its own output"
        return None

    return paired(
        context,
        partial(_truth, context, part, data=data),
        partial(_run, context, part, context.dtype, plan, data),
        partial(_run, context, part, context.dtype, plan, changed),
        judge,
        used,
    )


def _must_move(context: Context, part: Part, data: Array, changed: Array, own: slice) -> bool:
    """Does the truth move so far that the port's dtype must show it?"""
    before, after = (_truth(context, part, "float64", d)[own] for d in (data, changed))
    far = SEEN * EPS[context.dtype] * float(np.abs(before).max())
    return float(np.abs(after - before).max()) > far


def _only_forward(context: Context, part: Part, plan: tuple[int, ...], k: int) -> str | None:
    data = codec_input(context, part, context.dtype)
    n_in, n_out = (shape[0] for shape in codec_shapes(context.preset, part, 1))
    changed = data.copy()
    # Not the other sign: a spectrogram cannot hear it.
    changed[k * n_in : (k + 1) * n_in] = data[k * n_in : (k + 1) * n_in] ** 2
    own = slice(k * n_out, (k + 1) * n_out)

    def judge(before: Array, after: Array) -> str | None:
        if not same_bits(before[: k * n_out], after[: k * n_out]):
            where = first_difference(before[: k * n_out], after[: k * n_out])
            return f"{part}: unit {k} reached an earlier unit, {where}"
        return None

    def used(before: Array, after: Array) -> str | None:
        if same_bits(before[own], after[own]):
            return f"{part}: unit {k} does not reach its own output"
        return None

    return paired(
        context,
        partial(_truth, context, part, data=data),
        partial(_run, context, part, context.dtype, plan, data),
        partial(_run, context, part, context.dtype, plan, changed),
        judge,
        used,
    )


def fresh(context: Context) -> Iterator[Case]:
    """Every run starts from the state before unit 0, whatever ran before, of this preset or another
    (WS-CODEC-4)."""
    for part in PARTS:
        yield Case(name=part, judge=partial(_fresh, context, part))


def _fresh(context: Context, part: Part) -> str | None:
    data = codec_input(context, part, context.dtype)

    def run(data: Array) -> Array:
        return _run(context, part, context.dtype, UNIT_BY_UNIT, data)

    shape, _ = codec_shapes(TINY_BARE, part, 1)
    small = np.full(shape, 0.5, data.dtype)
    other = CodecRequest(preset=TINY_BARE.name, dtype=context.dtype, part=part, plan=(1,))

    def after_others() -> Array:
        run(data**2)
        context.port.codec(other, small)
        return run(data)

    def judge(first: Array, again: Array) -> str | None:
        if same_bits(first, again):
            return None
        return f"{part}, run again: {first_difference(first, again)}"

    truth = partial(_truth, context, part, data=data)
    return paired(context, truth, partial(run, data), after_others, judge)


def repeated(context: Context) -> Iterator[Case]:
    """The same command once more gives the same bits, or numbers that rounding explains
    (WS-CONFORMANCE-25)."""
    for part in PARTS:
        yield Case(name=part, judge=partial(_repeated, context, part))


def _repeated(context: Context, part: Part) -> str | None:
    """For a port that claims the same bits, `port/claims` asks for them."""
    data = codec_input(context, part, context.dtype)
    spread = PartSpread(truth=partial(_truth, context, part, data=data), dtype=context.dtype)
    first, *others = (_run(context, part, context.dtype, UNIT_BY_UNIT, data) for _ in range(AGAIN))
    for other in others:
        if not same_bits(first, spread.near(first, other)):
            where = first_difference(first, spread.near(first, other))
            return f"{part} again, further apart than rounding explains: {where}"
    return None


WITH_HOP: Final = ("video_codec.encode", "audio_codec.encode", "audio_encoder", "video_encoder")
"""Parts that take several time steps a latent."""


def geometry(context: Context) -> Iterator[Case]:
    """Each unit has its exact number of frames and samples; nothing else is accepted
    (WS-CLOCK-2, -3, -4)."""
    for part in PARTS:
        yield Case(name=f"{part}-one-unit", judge=partial(_one_unit, context, part))
        if part in WITH_HOP:
            yield Case(name=f"{part}-split-latent", judge=partial(_split, context, part))


def _one_unit(context: Context, part: Part) -> str | None:
    """The guard has compared the shape; what is left is that one unit equals the first of many."""
    data = codec_input(context, part, context.dtype)
    n_in, n_out = (shape[0] for shape in codec_shapes(context.preset, part, 1))

    def first_of_many() -> Array:
        return _run(context, part, context.dtype, UNIT_BY_UNIT, data)[:n_out]

    def judge(one: Array, many: Array) -> str | None:
        return None if same_bits(one, many) else f"{part}, alone: {first_difference(one, many)}"

    alone = partial(_run, context, part, context.dtype, (1,), data[:n_in])
    return paired(context, partial(_truth, context, part, data=data), alone, first_of_many, judge)


def _split(context: Context, part: Part) -> str | None:
    """One frame or sample less than a unit would shift every later latent."""
    request = CodecRequest(preset=context.preset.name, dtype=context.dtype, part=part, plan=(1,))
    data = codec_input(context, part, context.dtype, units=1)[:-1]
    try:
        context.port.codec(request, data)
    except Refusal:
        return None
    return f"{part}: {data.shape[0]} of {data.shape[0] + 1} time steps were accepted as a unit"


CHUNKED: Final = (
    "WS-CODEC-5",
    "WS-CONFORMANCE-7",
    "WS-CODEC-3",
    "WS-CODEC-7",
    "WS-CODEC-8",
    "WS-CODEC-9",
    "WS-CODEC-10",
    "WS-CODEC-11",
    "WS-ENCODER-2",
    "WS-ENCODER-3",
    "WS-ENCODER-4",
    "WS-ENCODER-5",
    "WS-ENCODER-6",
    "WS-ENCODER-7",
    "WS-ENCODER-8",
)
GEOMETRY: Final = ("WS-CLOCK-2", "WS-CLOCK-3", "WS-CLOCK-4", "WS-CODEC-1", "WS-CODEC-2")


_check = family("codec", "codec")

CHECKS = (
    _check("chunking", CHUNKED, "C", chunking),
    _check("causality", ("WS-CODEC-6", "WS-CODEC-3", "WS-ENCODER-8"), "A", causal),
    _check("fresh-start", ("WS-CODEC-4", "WS-ENCODER-8"), "A", fresh),
    _check("repeated", ("WS-CONFORMANCE-25",), "C", repeated),
    _check("geometry", GEOMETRY, "A", geometry),
)
