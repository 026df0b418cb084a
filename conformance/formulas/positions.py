"""Rotary factors and rotation at any position, the angle in float64 (WS-CONFORMANCE-16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from conformance.formulas.case import (
    ANGLE,
    Arguments,
    Near,
    Op,
    Outcome,
    Question,
    Tensors,
    drawn,
    frequencies,
)
from conformance.protocol import Array, DType
from conformance.tolerance import EPS

Sections = tuple[int, int, int]


def angles(a: Arguments, positions: Array) -> Array:
    """ω_i · t, h or w, [n, head_dim / 2], float64 unless `ANGLE` says otherwise
    (WS-POSITIONS-4)."""
    head_dim, theta, sections = a["head_dim"], a["theta"], a["sections"]
    kind = a.get(ANGLE, np.float64)
    axis = [0] * sections[0] + [1] * sections[1] + [2] * sections[2]
    omega = frequencies(theta, 2 * np.arange(head_dim // 2) / head_dim, kind)
    return np.asarray(positions[:, axis].astype(kind) * omega)


def _angles(a: Arguments, t: Tensors) -> tuple[Array, Array]:
    """Angles, and how far the float64 angle of another implementation may be from ours."""
    angle = angles(a, t["positions"])
    return angle, 8 * EPS["float64"] * np.abs(angle)


def factors(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Cosine and sine, rounded once (WS-POSITIONS-5)."""
    angle, slack = _angles(a, t)
    one = np.ones_like(angle)
    return {
        "cos": Near(value=np.cos(angle), ulp=1.0, scale=one, slack=slack),
        "sin": Near(value=np.sin(angle), ulp=1.0, scale=one, slack=slack),
    }


def rotate(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Pairs (x_i, x_{i + half}) by the angle of frequency i (WS-POSITIONS-6)."""
    angle, slack = _angles(a, t)
    x = t["x"].astype(np.float64)
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    cos, sin = np.cos(angle), np.sin(angle)
    value = np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
    # cos and sin carry an absolute error of a rounding each, however small they are.
    size = np.tile(np.abs(first) + np.abs(second), 2)
    return {"y": Near(value=value, ulp=3.0, scale=size, slack=np.tile(slack, 2) * size)}


def _arguments(head_dim: int, theta: float, sections: Sections) -> dict[str, Any]:
    return {"head_dim": head_dim, "theta": theta, "sections": list(sections)}


GRID: Final = np.array([[t, t + r, t + c] for t in (0, 4, 9) for r, c in ((0, 0), (1, 3), (2, 1))])
FAR: Final = np.array(
    [
        [p, p + 1, p + 5]
        for p in (1_023, 1_025, 65_537, 1_000_000, 9_000_001, 16_777_217, 5_000_000_001)
    ]
)
"""Past tables that end, past float16, past what float32 counts without a gap and past 32 bits."""

GEOMETRIES: Final[Mapping[str, tuple[int, float, Sections]]] = {
    "tiny": (14, 10_000.0, (3, 2, 2)),
    "wide": (64, 1_000_000.0, (8, 12, 12)),
    "no-time": (10, 500_000.0, (0, 2, 3)),
    "rows-only": (6, 10_000.0, (1, 2, 0)),
    "pair": (2, 10_000.0, (0, 1, 0)),
}


def _factors(_: DType) -> Iterator[Question]:
    for family, geometry in GEOMETRIES.items():
        for place, clause, positions in (
            ("near", "WS-POSITIONS-4", GRID),
            ("far", "WS-POSITIONS-5", FAR),
        ):
            yield Question(
                family=f"{family}-{place}",
                clauses=(clause,),
                arguments=_arguments(*geometry),
                tensors={"positions": positions.astype(np.int64)},
            )


def _rotations(dtype: DType) -> Iterator[Question]:
    for family, (head_dim, theta, sections) in GEOMETRIES.items():
        for heads in (1, 3):
            x = drawn(f"rotate/{family}/{heads}", (heads, len(GRID), head_dim), dtype, 3.0)
            yield Question(
                family=f"{family}-{heads}",
                clauses=("WS-POSITIONS-6",),
                arguments=_arguments(head_dim, theta, sections),
                tensors={"x": x, "positions": GRID.astype(np.int64)},
            )
        x = drawn(f"rotate/{family}/far", (2, len(FAR), head_dim), dtype, 3.0)
        yield Question(
            family=f"{family}-far",
            clauses=("WS-POSITIONS-5",),
            arguments=_arguments(head_dim, theta, sections),
            tensors={"x": x, "positions": FAR.astype(np.int64)},
        )


OPS: Final = (
    Op(name="positions.rotary_factors", signature="head_dim, theta, sections [3]; positions int64"
       " [n, 3] (t, h, w) -> cos, sin [n, head_dim / 2]", formula=factors, questions=_factors,
       tolerance="B", oracle="float64"),
    Op(name="positions.rotate", signature="head_dim, theta, sections [3]; x [heads, n, head_dim],"
       " positions int64 [n, 3] -> y [heads, n, head_dim]", formula=rotate, questions=_rotations,
       tolerance="B", oracle="float64"),
)  # fmt: skip
