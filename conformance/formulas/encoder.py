"""Ops of the audio front end: window, mel filters, log-mel frames (WS-CONFORMANCE-16)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from conformance.formulas.case import (
    Arguments,
    Near,
    Op,
    Outcome,
    Question,
    Tensors,
    dot,
    drawn,
    rounded,
    summed,
)
from conformance.protocol import Array, DType

RATE: Final = 16_000


def window_of(n: int) -> Array:
    """Periodic Hann window, float64 (WS-ENCODER-3)."""
    return np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / n) for i in range(n)])


def filters_of(mels: int, window: int) -> Array:
    """Triangles of peak 1 on the HTK scale, float64 [mels, bins] (WS-ENCODER-4)."""
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = [700 * (10 ** (top * i / (mels + 1) / 2595) - 1) for i in range(mels + 2)]
    value = np.zeros((mels, window // 2 + 1))
    for m in range(mels):
        low, peak, high = edges[m : m + 3]
        for j in range(value.shape[1]):
            f = j * RATE / window
            if low < f < high:
                value[m, j] = (f - low) / (peak - low) if f <= peak else (high - f) / (high - peak)
    return value


def hann(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    value = window_of(a["window"])
    return {"hann": Near(value=value, ulp=1.0, scale=np.ones_like(value), slack=1e-15)}


def mel_filters(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    value = filters_of(a["mels"], a["window"])
    # Beside the rounding to the dtype: edges in float64 are off by 1e-12 of their height.
    return {"filters": Near(value=value, ulp=1.0, scale=np.ones_like(value), slack=1e-11)}


def _log_mel(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """(log10(max(mel power, 1e-10)) + 4) / 4 of frames that end with their own hop, zeros before
    the start (WS-ENCODER-2, WS-ENCODER-3, WS-ENCODER-5)."""
    x, n, hop = t["samples"], a["window"], a["hop"]
    padded = np.concatenate((np.zeros(n - hop, x.dtype), x))
    frames = np.stack([padded[i : i + n] for i in range(0, len(x), hop)])
    frames = frames * window_of(n).astype(x.dtype)
    turn = 2 * np.pi * (np.outer(np.arange(n), np.arange(n // 2 + 1)) % n) / n
    real, imaginary = (dot(frames, f(turn).astype(x.dtype)) for f in (np.cos, np.sin))
    power = real * real + imaginary * imaginary
    mel = dot(filters_of(a["mels"], n).astype(x.dtype), power.T)
    return {"features": (np.log10(np.maximum(mel, x.dtype.type(1e-10))) + 4) / 4}


SIZES: Final = {"usual": (20, 400, 160), "odd": (7, 75, 25), "no-overlap": (5, 64, 64)}
"""mels, window, hop."""


def _windows(_: DType) -> Iterator[Question]:
    for n in (400, 75, 64, 2, 1):
        yield Question(family=f"{n}", clauses=("WS-ENCODER-3",), arguments={"window": n})


def _filters(_: DType) -> Iterator[Question]:
    # In the last some filters lie between two bins, and are empty.
    for mels, window in ((20, 400), (80, 512), (5, 75), (1, 400), (40, 64)):
        yield Question(
            family=f"{mels}-{window}",
            clauses=("WS-ENCODER-4",),
            arguments={"mels": mels, "window": window},
        )


def _spectrograms(dtype: DType) -> Iterator[Question]:
    for family, (mels, window, hop) in SIZES.items():
        samples = drawn(f"mel/{family}", (6 * hop,), dtype, 0.6)
        for name, plan in (("whole", []), ("chunks", [hop, 2 * hop, 3 * hop])):
            yield Question(
                family=f"{family}-{name}",
                clauses=("WS-ENCODER-2",) if plan else ("WS-ENCODER-3", "WS-ENCODER-4"),
                arguments={"mels": mels, "window": window, "hop": hop, "plan": plan},
                tensors={"samples": samples},
            )
    arguments = {"mels": 7, "window": 75, "hop": 25, "plan": []}
    late = np.zeros(150)
    late[100:] = 0.6 * np.sin(np.arange(50) * 1.3) + 0.2 * np.cos(np.arange(50) * 0.37)
    for family, clause, signal in (
        ("silence", "WS-ENCODER-5", np.zeros(150)),
        ("loud", "WS-ENCODER-5", 100.0 * np.sign(np.sin(np.arange(150) * 0.9 + 0.1))),
        ("sound-after-silence", "WS-ENCODER-2", late),
    ):
        yield Question(
            family=family,
            clauses=(clause,),
            arguments=arguments,
            tensors={"samples": rounded(signal, dtype)},
        )
    # The state is older than the chunk before.
    samples = drawn("mel/hop-by-hop", (150,), dtype, 0.6)
    yield Question(
        family="hop-by-hop",
        clauses=("WS-ENCODER-2",),
        arguments={**arguments, "plan": [25] * 6},
        tensors={"samples": samples},
    )
    for family, length in (("empty", 0), ("part-of-a-hop", 60)):
        yield Question(
            family=family,
            clauses=("WS-ENCODER-2",),
            arguments={**arguments, "plan": [length] if length else []},
            tensors={"samples": rounded(np.zeros(length), dtype)},
            refused=True,
        )


OPS: Final = (
    Op(name="encoder.hann", signature="window -> hann [window]", formula=hann, questions=_windows,
       tolerance="B", oracle="float64"),
    Op(name="encoder.mel_filters", signature="mels, window -> filters [mels, window / 2 + 1]",
       formula=mel_filters, questions=_filters, tolerance="B", oracle="float64"),
    Op(name="encoder.log_mel", signature="mels, window, hop, plan; samples [T] -> features"
       " [mels, T / hop]; no whole number of hops is refused", formula=summed(_log_mel),
       questions=_spectrograms, tolerance="C", oracle="float64"),
)  # fmt: skip
