"""Ops of media: pixels, samples, which frame a tick shows, fitted sizes, resampling.

A port that takes units ready-made has none of them; they are the optional feature "media"
(WS-CONFORMANCE-16).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil, cos, floor, pi, sin
from typing import Any, Final

import numpy as np

from conformance import arrays
from conformance.formulas.case import Arguments, Near, Op, Outcome, Question, Tensors, exact
from conformance.protocol import DType

TICK: Final = 40_000_000
TARGET: Final = 16_000


def to_signal(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """x / 127.5 - 1 in float32, channels first (WS-MEDIA-5)."""
    x = t["pixels"].astype(np.float32) / np.float32(127.5) - np.float32(1)
    return exact(video=np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def to_pixels(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """round((clip(x) + 1) 127.5) to the nearest integer, ties to even (WS-MEDIA-14)."""

    def pixel(x: float) -> int:
        # An exact fraction: Python rounds it to the nearest integer, ties to even.
        return round((min(max(Fraction(x), Fraction(-1)), Fraction(1)) + 1) * Fraction(255, 2))

    values = [pixel(x) for x in t["video"].astype(np.float64).ravel().tolist()]
    pixels = np.array(values, dtype=np.uint8).reshape(t["video"].shape)
    return exact(pixels=np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)))


def to_samples(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """clip(x, -1, 1) in float32 (WS-MEDIA-14)."""
    return exact(samples=np.clip(t["audio"], -1, 1).astype(np.float32))


def shown(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """For each tick whose midpoint is before the last frame's end, the frame it shows, -1 for black
    (WS-MEDIA-2, WS-MEDIA-3)."""
    starts, ends = t["start_ns"].tolist(), t["end_ns"].tolist()
    kept: list[int] = []
    for i, start in enumerate(starts):
        if not kept or start >= starts[kept[-1]]:
            kept.append(i)
    end = ends[kept[-1]]
    middles = [n * TICK + TICK // 2 for n in range(end // TICK + 1)]
    frames = [
        max((i for i in kept if starts[i] <= middle), default=-1)
        for middle in middles
        if middle < end
    ]
    return exact(frames=np.array(frames, dtype=np.int64))


def fitted_size(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """Width and height of the largest picture of that shape inside the frame; halves are rounded
    up, nothing is below 1 (WS-MEDIA-4)."""
    shape = Fraction(*a["aspect"]) * a["width"] / a["height"]
    wide = shape * a["frame_height"] >= a["frame_width"]
    exact_size = (
        (Fraction(a["frame_width"]), a["frame_width"] / shape)
        if wide
        else (a["frame_height"] * shape, Fraction(a["frame_height"]))
    )
    size = [max(1, floor(side + Fraction(1, 2))) for side in exact_size]
    return exact(size=np.array(size, dtype=np.int64))


def resample(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """(B / F) Σ x[m] h(B (m / F - (n - D) / G)), every output before the end of the input
    (WS-MEDIA-6, WS-MEDIA-7)."""
    x, rate = t["x"], a["rate"]
    if rate == TARGET:
        return exact(y=x)
    cutoff = Fraction(99, 100) * min(rate, TARGET)
    delay = ceil(6 * TARGET / cutoff)
    y = []
    for n in range(-(-len(x) * TARGET // rate)):
        center, reach = Fraction(n - delay, TARGET), 6 / cutoff
        first = max(0, ceil((center - reach) * rate))
        last = min(len(x) - 1, floor((center + reach) * rate))
        y.append(
            sum(
                float(x[m])
                * float(cutoff / rate)
                * _kernel(float(cutoff * (Fraction(m, rate) - center)))
                for m in range(first, last + 1)
            )
        )
    return {"y": Near(value=np.array(y, dtype=np.float64), ulp=0.0, slack=1e-12, dtype="float64")}


def _kernel(t: float) -> float:
    if abs(t) >= 6:
        return 0.0
    return (sin(pi * t) / (pi * t) if t else 1.0) * cos(pi * t / 12) ** 2


def _signals(_: DType) -> Iterator[Question]:
    every = np.arange(264, dtype=np.int64).clip(max=255).reshape(2, 4, 11, 3)
    yield Question(family="all-values", clauses=("WS-MEDIA-5",), tensors={"pixels": every})


def _pixels(dtype: DType) -> Iterator[Question]:
    borders = (2 * np.arange(255) + 1) / 255.0 - 1.0
    # The border at 0 is a tie; its neighbours are lost in the sum, so they stay out.
    near = borders[borders != 0].astype(np.float32)
    around = [np.nextafter(near, np.float32(side)) for side in (-2, 2)]
    values = np.concatenate(
        [near, *around, np.array([-1.5, 1.5, -1.0, 1.0, 0.0, 1e-3], np.float32)]
    )
    kind = np.float64 if dtype == "float64" else np.float32
    video = np.resize(values, (2, 3, 7, 19)).astype(kind)
    yield Question(family="borders", clauses=("WS-MEDIA-14",), tensors={"video": video})
    if dtype == "float64":
        wide = np.resize(np.concatenate([borders - 1e-12, borders + 1e-12]), (2, 3, 5, 17))
        yield Question(family="close", clauses=("WS-MEDIA-14",), tensors={"video": wide})


def _samples(dtype: DType) -> Iterator[Question]:
    kind = np.float64 if dtype == "float64" else np.float32
    audio = (1.7 * arrays.uniform("math/samples", (101,))).astype(kind)
    yield Question(family="loud", clauses=("WS-MEDIA-14",), tensors={"audio": audio})
    for value in (np.inf, -np.inf, np.nan):
        yield Question(
            family=f"{value}",
            clauses=("WS-MEDIA-14",),
            tensors={"audio": np.array([0.5, value, 0.25], dtype=kind)},
            refused=True,
        )


FRAMES: Final[Mapping[str, list[float]]] = {
    "25-fps": [0, 40, 80, 120, 160],
    "30-fps": [0, 33.333, 66.667, 100, 133.333, 166.667],
    "late": [19.999999, 60, 99.999999, 140],
    "just-too-late": [20.000001, 60.000001, 100.000001, 140.000001],
    "starts-later": [170, 210],
    "a-gap": [0, 40, 200],
    "back-in-time": [0, 80, 40, 120, 100, 160],
    "at-once": [0, 0, 0, 5, 40],
    "two-at-once": [0, 40, 40, 80],
    "back-twice": [0, 200, 80, 100, 240],
    "slow": [0, 1000 / 7, 2000 / 7],
}
"""Milliseconds at which the frames of a clip begin."""


def _shown(_: DType) -> Iterator[Question]:
    for family, times in FRAMES.items():
        start = np.array([round(ms * 1e6) for ms in times], dtype=np.int64)
        tensors = {"start_ns": start, "end_ns": start + TICK}
        clauses = ("WS-MEDIA-3", "WS-MEDIA-2")
        yield Question(family=family, clauses=clauses, tensors=tensors)


def _fits(_: DType) -> Iterator[Question]:
    for width, height, aspect, frame in (
        (1920, 1080, (1, 1), (144, 96)),
        (1080, 1920, (1, 1), (144, 96)),
        (720, 576, (16, 15), (336, 192)),
        (3, 2, (1, 1), (144, 96)),
        (64, 21, (1, 1), (32, 96)),
        (9, 16_384, (1, 1), (144, 96)),
        (16_384, 1, (2, 1), (144, 96)),
        (96, 27, (1, 1), (16, 16)),
        # A half to which no binary fraction leads.
        (1344, 720, (40, 33), (336, 192)),
    ):
        yield Question(
            family=f"{width}x{height}-in-{frame[0]}x{frame[1]}",
            clauses=("WS-MEDIA-4",),
            arguments={
                "width": width,
                "height": height,
                "aspect": list(aspect),
                "frame_width": frame[0],
                "frame_height": frame[1],
            },
        )


def _resamples(_: DType) -> Iterator[Question]:
    for rate, length in ((48_000, 150), (44_100, 120), (8_000, 40), (4_000, 13), (16_000, 9)):
        # Louder than full scale: whoever plays it clips it, not the resampler.
        x = 2.0 * arrays.uniform(f"math/resample/{rate}", (length,))
        plans: dict[str, list[int]] = {
            "whole": [],
            "pieces": [1, length // 3, length - length // 3 - 1],
            # Shorter than what makes one sample.
            "single-samples": [1] * length,
        }
        for name, plan in plans.items():
            arguments: dict[str, Any] = {"rate": rate, "plan": plan}
            yield Question(
                family=f"{rate}-{name}",
                clauses=("WS-MEDIA-6", "WS-MEDIA-7"),
                arguments=arguments,
                tensors={"x": x},
            )


def _op(name: str, signature: str, **rest: Any) -> Op:
    return Op(name=f"media.{name}", signature=signature, feature="media", oracle="analytic", **rest)


OPS: Final = (
    _op("to_signal", "pixels int64 [n, H, W, 3], 0 to 255 -> video float32 [n, 3, H, W]",
        formula=to_signal, questions=_signals, tolerance="A", per_dtype=False),
    _op("to_pixels", "video [n, 3, H, W] -> pixels uint8 [n, H, W, 3]", formula=to_pixels,
        questions=_pixels, tolerance="A"),
    _op("to_samples", "audio [n] -> samples float32 [n]", formula=to_samples, questions=_samples,
        tolerance="A"),
    _op("shown", "start_ns, end_ns int64 [frames] -> frames int64 [ticks], -1 for black",
        formula=shown, questions=_shown, tolerance="A", per_dtype=False),
    _op("fitted_size", "width, height, aspect [2] (of a pixel), frame_width, frame_height ->"
        " size int64 [2] (width, height)", formula=fitted_size, questions=_fits, tolerance="A",
        per_dtype=False),
    _op("resample", "rate, plan (lengths of the pieces); x float64 [n] -> y float64 [m]",
        formula=resample, questions=_resamples, tolerance="B", per_dtype=False),
)  # fmt: skip
