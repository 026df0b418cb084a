"""What a codec remembers, and for how long: long runs, single samples, and signals at their limits.

What must move is read off the oracle: a single input is changed, and where its float64 output moves
the port's may move, and nowhere else. So every part and preset is held to its own receptive field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np

from conformance import arrays
from conformance.case import Case, Context, family
from conformance.checks.codec import OFFLINE, SEEN, paired
from conformance.inputs import WHISPER
from conformance.oracle import naive_dtype
from conformance.protocol import PARTS, Array, CodecRequest, DType, Part, Refusal, wire_dtype
from conformance.shapes import codec_shapes
from conformance.tolerance import EPS, budget, exceeds, first_difference, same_bits
from spec.presets import TINY_BARE, preset_named

LONG: Final = 40
"""Units; far past every receptive field and every small ring."""
RAGGED: Final = (1, 5, 2, 3, 1, 18, 4, 6)
"""Chunks of `LONG` units; every small size and a large one, each after others."""
PLANS: Final = {
    "units": (1,) * LONG,
    "ragged": RAGGED,
    "one-chunk": (LONG,),
    "offline": OFFLINE,
}
WITHIN: Final = 18
"""Units in which the memory of every part of `TINY_BARE` begins and ends."""

Plan = tuple[int, ...]


def signal(part: Part, dtype: DType, units: int, preset: str = TINY_BARE.name) -> Array:
    """Float32 values in (-1, 1), the same for every dtype and, as far as they go, every length."""
    shape, _ = codec_shapes(preset_named(preset), part, units)
    drawn = arrays.uniform(f"conformance/memory/{part}", shape)
    return drawn.astype(np.float32).astype(wire_dtype(dtype))


def run(context: Context, part: Part, dtype: DType, plan: Plan, data: Array) -> Array:
    """The port's answer, as an array of our own."""
    request = CodecRequest(preset=TINY_BARE.name, dtype=dtype, part=part, plan=plan)
    return np.array(context.port.codec(request, data))


def truth(context: Context, part: Part, dtype: DType, data: Array) -> Array:
    """The oracle's offline form in ``dtype``."""
    request = CodecRequest(preset=TINY_BARE.name, dtype=dtype, part=part, plan=OFFLINE)
    return context.oracle.codec(request, data.astype(wire_dtype(dtype)))


def as_oracle(context: Context, part: Part, plan: Plan, data: Array) -> str | None:
    """Class C in the port's main dtype."""
    true = truth(context, part, "float64", data)
    naive = truth(context, part, naive_dtype(context.dtype), data)
    actual = run(context, part, context.dtype, plan, data)
    reason = exceeds(actual, true, budget(true, [naive], context.dtype))
    return None if reason is None else f"{part} in chunks {list(plan) or 'offline'}: {reason}"


def long_runs(context: Context) -> Iterator[Case]:
    """Forty units in other chunks: nothing changes after a while, nothing wraps (WS-CODEC-5)."""
    for part in PARTS:
        for name, plan in PLANS.items():
            whole = "WS-CODEC-5" if "codec" in part else "WS-ENCODER-8"
            yield Case(
                name=f"{part}-{name}",
                clauses=(whole, "WS-PRESETS-1"),
                judge=partial(_long, context, part, plan),
            )


def _long(context: Context, part: Part, plan: Plan) -> str | None:
    return as_oracle(context, part, plan, signal(part, context.dtype, LONG))


def receptive_fields(context: Context) -> Iterator[Case]:
    """One sample, pixel or latent is changed: exactly the outputs that see it move (WS-CODEC-12,
    WS-ENCODER-9, WS-CODEC-6, WS-ENCODER-8)."""
    for part in PARTS:
        for form, plan in (("stream", (1,) * WITHIN), ("offline", OFFLINE)):
            for place in ("first", "last", "middle"):
                codec = ("WS-CODEC-12", "WS-CODEC-6")
                yield Case(
                    name=f"{part}-{form}-{place}",
                    clauses=codec if "codec" in part else ("WS-ENCODER-9", "WS-ENCODER-8"),
                    judge=partial(_receptive_field, context, part, plan, place),
                )


def _receptive_field(context: Context, part: Part, plan: Plan, place: str) -> str | None:
    data = signal(part, context.dtype, WITHIN)
    per_unit = len(data) // WITHIN
    # The first and the last step of a unit, and one within; early enough to be forgotten again.
    step = {"first": per_unit, "last": 2 * per_unit - 1, "middle": per_unit + per_unit // 3}[place]
    changed = data.copy()
    changed[step] = -changed[step] - np.sign(changed[step])
    before, after = (truth(context, part, "float64", d) for d in (data, changed))
    moves = np.abs(after - before).reshape(len(before), -1).max(axis=1)
    scale = float(np.abs(before).max())

    def judge(mine: Array, other: Array) -> str | None:
        moved = (mine != other).reshape(len(mine), -1).any(axis=1)
        for i in np.flatnonzero(moved & (moves == 0.0)):
            return f"{part}: output {i} moved with input {step}, which it does not see"
        return None

    def used(mine: Array, other: Array) -> str | None:
        moved = (mine != other).reshape(len(mine), -1).any(axis=1)
        for i in np.flatnonzero(~moved & (moves > SEEN * EPS[context.dtype] * scale)):
            return f"{part}: output {i} did not move with input {step}, which it sees"
        return None

    return paired(
        context,
        partial(truth, context, part, data=data),
        partial(run, context, part, context.dtype, plan, data),
        partial(run, context, part, context.dtype, plan, changed),
        judge,
        used,
    )


LEVELS: Final[dict[str, Callable[[Array], Array]]] = {
    "silence": np.zeros_like,
    "whisper": lambda x: x * x.dtype.type(WHISPER),
    "full-scale": np.sign,
    "constant": lambda x: np.full_like(x, 0.75),
    "silence-then-sound": lambda x: np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1))
                                             < len(x) // 2, x.dtype.type(0), x),
    "sound-then-silence": lambda x: np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1))
                                             < len(x) // 2, x, x.dtype.type(0)),
}  # fmt: skip

LOUD: Final[dict[str, Callable[[Array], Array]]] = {"far-latents": lambda x: x * x.dtype.type(40)}
"""What a solver may give a decoder: a latent has no range (WS-CODEC-11)."""


def levels(context: Context) -> Iterator[Case]:
    """Signals without noise, without mean, without end: no gate, no gain, no floor of one's own
    (WS-CODEC-5, WS-ENCODER-5)."""
    for part in PARTS:
        for name in (*LEVELS, *(LOUD if part.endswith("decode") else ())):
            yield Case(name=f"{part}-{name}", judge=partial(_level, context, part, name))


def _level(context: Context, part: Part, name: str) -> str | None:
    data = {**LEVELS, **LOUD}[name](signal(part, context.dtype, 4))
    return as_oracle(context, part, (1, 1, 1, 1), data)


def _with(x: Array, index: int, value: float) -> Array:
    """``x`` with another element at a flat index."""
    changed = x.copy()
    changed.reshape(-1)[index] = value
    return changed


Damage = Callable[[CodecRequest, Array], tuple[CodecRequest, Array]]

BAD: Final[dict[str, Damage]] = {
    "nan": lambda r, x: (r, _with(x, 7, np.nan)),
    "nan-at-the-end": lambda r, x: (r, _with(x, -1, np.nan)),
    "infinity": lambda r, x: (r, _with(x, 7, np.inf)),
    "minus-infinity": lambda r, x: (r, _with(x, x.size // 2, -np.inf)),
    "one-axis-more": lambda r, x: (r, x[None]),
    "a-step-more": lambda r, x: (r, np.concatenate((x, x[:1]))),
    "no-units": lambda r, x: (_replanned(r, ()), x[:0]),
    "plan-too-short": lambda r, x: (_replanned(r, (1,)), x),
    "plan-too-long": lambda r, x: (_replanned(r, (1, 2)), x),
    "unknown-preset": lambda r, x: (_of_preset(r, "no-such-preset"), x),
}
WIDE: Final[dict[str, Damage]] = {
    "a-channel-more": lambda r, x: (r, np.concatenate((x, x[:, :1]), axis=1)),
}
"""For data that have channels."""
PARTLY: Final[dict[str, Damage]] = {
    "a-unit-and-a-half": lambda r, x: (_replanned(r, ()), x[: 3 * len(x) // 4]),
}
"""For parts whose data have more than one row a unit."""


def _replanned(request: CodecRequest, plan: Plan) -> CodecRequest:
    return CodecRequest(preset=request.preset, dtype=request.dtype, part=request.part, plan=plan)


def _of_preset(request: CodecRequest, preset: str) -> CodecRequest:
    return CodecRequest(preset=preset, dtype=request.dtype, part=request.part, plan=request.plan)


def refusals(context: Context) -> Iterator[Case]:
    """What does not fit is refused, not guessed at, and what comes next is answered as ever
    (WS-CONFORMANCE-4, WS-CONFORMANCE-7)."""
    for part in PARTS:
        channels = len(codec_shapes(TINY_BARE, part, 1)[0]) > 1
        ticks = codec_shapes(TINY_BARE, part, 1)[0][0] > 1
        for name in (*BAD, *(WIDE if channels else ()), *(PARTLY if ticks else ())):
            yield Case(name=f"{part}-{name}", judge=partial(_refused, context, part, name))
        yield Case(name=f"{part}-goes-on", judge=partial(_goes_on, context, part))


def _refused(context: Context, part: Part, name: str) -> str | None:
    try:
        _ask_badly(context, part, name)
    except Refusal:
        return None
    return f"{part}: {name.replace('-', ' ')} was accepted"


def _ask_badly(context: Context, part: Part, name: str) -> None:
    good = CodecRequest(preset=TINY_BARE.name, dtype=context.dtype, part=part, plan=(1, 1))
    request, data = {**BAD, **WIDE, **PARTLY}[name](good, signal(part, context.dtype, 2))
    context.port.codec(request, data)


def _goes_on(context: Context, part: Part) -> str | None:
    """A good request after each bad one."""
    data = signal(part, context.dtype, 2)
    good = partial(run, context, part, context.dtype, (1, 1), data)

    def undisturbed() -> Array:
        # The case before has ended in a refusal.
        good()
        return np.stack([good() for _ in BAD])

    def after_refusals() -> Array:
        answers = []
        for name in BAD:
            with suppress(Refusal):
                _ask_badly(context, part, name)
            answers.append(good())
        return np.stack(answers)

    def judge(before: Array, after: Array) -> str | None:
        for name, one, other in zip(BAD, before, after, strict=True):
            if not same_bits(one, other):
                where = first_difference(one, other)
                return f"{part}, after {name.replace('-', ' ')}: {where}"
        return None

    known = partial(truth, context, part, data=data)
    return paired(context, known, undisturbed, after_refusals, judge)


_check = family("codec", "codec")

CHECKS = (
    _check("long", ("WS-CODEC-5", "WS-ENCODER-8", "WS-PRESETS-1"), "C", long_runs),
    _check(
        "receptive-field",
        ("WS-CODEC-12", "WS-ENCODER-9", "WS-CODEC-6", "WS-ENCODER-8"),
        "A",
        receptive_fields,
    ),
    _check(
        "levels",
        ("WS-CODEC-5", "WS-ENCODER-5", "WS-CODEC-4", "WS-CODEC-7", "WS-CODEC-8", "WS-CODEC-9"),
        "C",
        levels,
    ),
    _check("refusals", ("WS-CONFORMANCE-4", "WS-CONFORMANCE-7"), "A", refusals),
)
