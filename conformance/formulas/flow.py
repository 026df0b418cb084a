"""Ops of flow matching: path, velocity, loss, grids, solvers, guidance, τ (WS-CONFORMANCE-16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
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
    exact,
    frequencies,
    linear,
    rounded,
    silu,
    summed,
)
from conformance.protocol import Array, DType
from conformance.tolerance import EPS


def _wide(t: Tensors, *names: str) -> Iterator[Array]:
    return (t[name].astype(np.float64) for name in names)


def interpolate(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """(1 - τ) z_0 + τ ε, the ends to the bit (WS-FLOW-1)."""
    tau = a["tau"]
    if tau in (0.0, 1.0):
        return exact(z=t["eps"] if tau else t["z_0"])
    z_0, eps = _wide(t, "z_0", "eps")
    # A port may round τ and 1 - τ to its dtype first, each an absolute error.
    size = np.abs(z_0) + np.abs(eps)
    return {"z": Near(value=(1 - tau) * z_0 + tau * eps, ulp=3.0, scale=size)}


def velocity_target(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """ε - z_0 (WS-FLOW-2)."""
    z_0, eps = _wide(t, "z_0", "eps")
    return {"velocity": Near(value=eps - z_0, ulp=1.0)}


def loss(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """mean |v - (ε - z_0)|², a scalar (WS-FLOW-3)."""
    v, z_0, eps = _wide(t, "velocity", "z_0", "eps")
    value = np.asarray(np.mean((v - (eps - z_0)) ** 2))
    # Each difference of three numbers is off by a few ulp of their size, and is squared.
    size = np.mean((np.abs(v) + np.abs(eps) + np.abs(z_0)) ** 2)
    return {"loss": Near(value=value, ulp=4.0 + v.size**0.5, scale=np.asarray(size))}


def grid(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """τ_i = (N - i) / N as float64 quotients; a shift moves all but the ends (WS-FLOW-4,
    WS-FLOW-9)."""
    n, s = a["steps"], Fraction(a["shift"])
    if s == 1:
        return exact(grid=np.array([(n - i) / n for i in range(n + 1)], dtype=np.float64))
    sigma = [Fraction(n - i, n) for i in range(n + 1)]
    moved = np.array([float(s * x / (1 + (s - 1) * x)) for x in sigma])
    # Rounded σ is moved by an ulp of itself or of 1 - σ.
    slack = np.where((moved == 0) | (moved == 1), 0.0, 2 * EPS["float64"])
    return {"grid": Near(value=moved, ulp=4.0, scale=moved * (slack > 0), slack=slack,
                         dtype="float64")}  # fmt: skip


def declared(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """The grid as it is, if a solver can walk it (WS-FLOW-8)."""
    return exact(grid=t["grid"])


def euler_step(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """z + (τ' - τ) v (WS-FLOW-4)."""
    z, v = _wide(t, "z", "velocity")
    step = a["tau_next"] - a["tau"]
    return {"z": Near(value=z + step * v, ulp=3.0, scale=np.abs(z) + np.abs(v))}


def _solve(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """From τ = 1 to 0 through v = A z + b τ + c step; z is audio, then video (WS-FLOW-4, -6,
    -10)."""
    z, kind = np.concatenate((t["audio"], t["video"])), t["audio"].dtype.type

    def field(z: Array, tau: float, step: int) -> Array:
        return np.asarray(linear(z[None], t["A"])[0] + t["b"] * kind(tau) + t["c"] * kind(step))

    for i, (tau, after) in enumerate(pairwise(t["grid"].tolist())):
        if a["solver"] == "euler":
            z = z + kind(after - tau) * field(z, tau, i)
        else:
            middle = (tau + after) / 2
            half = z + kind(middle - tau) * field(z, tau, 2 * i)
            z = z + kind(after - tau) * field(half, middle, 2 * i + 1)
    n = len(t["audio"])
    return {"audio": z[:n], "video": z[n:]}


def guide(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """v_uncond + s (v_cond - v_uncond) (WS-FLOW-11)."""
    cond, uncond = _wide(t, "cond", "uncond")
    s = a["scale"]
    # The terms also of v_cond + (s - 1) (v_cond - v_uncond), which many write.
    terms = (1 + abs(s)) * (np.abs(cond) + np.abs(uncond))
    return {"velocity": Near(value=uncond + s * (cond - uncond), ulp=3.0, scale=terms)}


def features(tau: Array, dim: int, a: Arguments | None = None) -> Array:
    """cos, then sin, of 1000 τ ω_i (WS-FLOW-5)."""
    kind = (a or {}).get(ANGLE, np.float64)
    omega = frequencies(10_000.0, np.arange(dim // 2) / (dim // 2), kind)
    angle = (1000.0 * tau[:, None]).astype(kind) * omega
    return np.concatenate((np.cos(angle), np.sin(angle)), axis=-1)


def tau_features(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    value = features(t["tau"], a["dim"])
    # The float64 angle reaches 1000: 1e-12 is eight roundings of it.
    return {"features": Near(value=value, ulp=1.0, scale=np.ones_like(value), slack=1e-12)}


def _tau_embedding(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    f = features(t["tau"], a["dim"], a).astype(t["in_proj.weight"].dtype)
    inner = silu(linear(f, t["in_proj.weight"], t["in_proj.bias"]))
    return {"y": linear(inner, t["out_proj.weight"], t["out_proj.bias"])}


SHAPES: Final = {"audio": (4, 7), "video": (5, 3, 2), "one": (1,)}
TAUS: Final = (0.0, 1.0, 0.5, 1 / 3, 0.003, 0.9993)
"""Both ends, the middle, a third, and closer to either end than a grid of a thousand steps."""


def _pairs(
    op: str, clause: str, names: tuple[str, ...], dtype: DType, options: tuple[dict[str, Any], ...]
) -> Iterator[Question]:
    """The same arrays under each option, in several shapes and sizes of numbers."""
    for shape_name, shape in SHAPES.items():
        for i, option in enumerate(options):
            yield Question(
                family=f"{shape_name}-{i}",
                clauses=(clause,),
                arguments=option,
                tensors={n: drawn(f"{op}/{shape_name}/{n}", shape, dtype, 3.0) for n in names},
            )
    if dtype != "float16":
        size = np.array([1e-30, -1e25, 1.0, 3e-3, -7.0])
        tensors = {n: rounded(size * (i + 1.5), dtype) for i, n in enumerate(names)}
        yield Question(family="sizes", clauses=(clause,), arguments=options[-1], tensors=tensors)


def _losses(dtype: DType) -> Iterator[Question]:
    for family, shape in {**SHAPES, "many": (6, 41)}.items():
        names = ("velocity", "z_0", "eps")
        yield Question(
            family=family,
            clauses=("WS-FLOW-3",),
            tensors={n: drawn(f"loss/{family}/{n}", shape, dtype, 2.0) for n in names},
        )


def _grids(_: DType) -> Iterator[Question]:
    for n in (1, 3, 4, 7, 49, 1000):
        arguments = {"steps": n, "shift": 1.0}
        yield Question(family=f"{n}", clauses=("WS-FLOW-4",), arguments=arguments)
    for n, s in ((5, 3.0), (5, 0.4), (30, 7.25), (1, 2.0), (4, 0.1), (7, 0.3), (6, 1.7), (9, 5.1)):
        arguments = {"steps": n, "shift": s}
        yield Question(family=f"{n}-shift-{s}", clauses=("WS-FLOW-9",), arguments=arguments)


GRIDS: Final[Mapping[str, tuple[float, ...]]] = {
    "uneven": (1.0, 0.9, 0.2, 0.15, 0.0),
    "one-step": (1.0, 0.0),
    "close": (1.0, 0.5 + 2.0**-53, 0.5, 0.0),
}
BAD_GRIDS: Final[Mapping[str, tuple[float, ...]]] = {
    "starts-late": (0.999, 0.5, 0.0),
    "starts-above": (1.001, 0.5, 0.0),
    "ends-early": (1.0, 0.5, 0.005),
    "ends-below": (1.0, 0.5, -1e-9),
    "rises": (1.0, 0.4, 0.6, 0.0),
    "stands": (1.0, 0.5, 0.5, 0.0),
    "backwards": (0.0, 0.5, 1.0),
    "not-a-number": (1.0, 0.6, float("nan"), 0.4, 0.0),
    "only-not-a-number": (1.0, float("nan"), 0.0),
    "starts-a-hair-late": (1.0 - 2.0**-53, 0.5, 0.0),
    "ends-a-hair-early": (1.0, 0.5, 1e-300),
    "one-point": (1.0,),
    "empty": (),
}


def _declared(_: DType) -> Iterator[Question]:
    for refused, grids in ((False, GRIDS), (True, BAD_GRIDS)):
        for family, values in grids.items():
            yield Question(
                family=family,
                clauses=("WS-FLOW-8",),
                tensors={"grid": np.array(values, dtype=np.float64)},
                refused=refused,
            )


def _solves(solver: str, clauses: tuple[str, ...], dtype: DType) -> Iterator[Question]:
    for family, values in {
        "uniform": tuple((5 - i) / 5 for i in range(6)),
        "uneven": GRIDS["uneven"],
        "one-step": GRIDS["one-step"],
    }.items():
        n, m = 8, 15
        shapes = {"audio": (n,), "video": (m,), "A": (n + m, n + m), "b": (n + m,), "c": (n + m,)}
        gains = {"A": 0.4, "c": 0.1}
        tensors: dict[str, Array] = {
            name: drawn(f"solve/{family}/{name}", shape, dtype, gains.get(name, 1.0))
            for name, shape in shapes.items()
        }
        tensors["grid"] = np.array(values, dtype=np.float64)
        arguments = {"solver": solver}
        yield Question(family=family, clauses=clauses, arguments=arguments, tensors=tensors)


def _taus(_: DType) -> Iterator[Question]:
    tau = np.array([0.0, 1.0, 0.5, 2 / 3, 1 / 3, 0.001, 0.73129], dtype=np.float64)
    for dim in (2, 6, 26, 64):
        yield Question(
            family=f"{dim}",
            clauses=("WS-FLOW-5",),
            arguments={"dim": dim},
            tensors={"tau": tau},
        )


def _tau_embeddings(dtype: DType) -> Iterator[Question]:
    for dim, d in ((26, 11), (6, 20)):
        shapes = {"in_proj.weight": (d, dim), "in_proj.bias": (d,)}
        shapes |= {"out_proj.weight": (d, d), "out_proj.bias": (d,)}
        yield Question(
            family=f"{dim}-{d}",
            clauses=("WS-FLOW-5",),
            arguments={"dim": dim},
            tensors={"tau": np.array([1.0, 2 / 3, 1 / 3, 0.0, 0.04])}
            | {name: drawn(f"tau/{dim}/{name}", s, dtype, 0.5) for name, s in shapes.items()},
        )


def _options(key: str, values: tuple[float, ...]) -> tuple[dict[str, Any], ...]:
    return tuple({key: value} for value in values)


STEPS: Final = ({"tau": 1.0, "tau_next": 0.75}, {"tau": 1 / 3, "tau_next": 0.0})
OPS: Final = (
    Op(name="flow.interpolate", signature="tau; z_0, eps [...] -> z [...]", formula=interpolate,
       questions=lambda d: _pairs("interpolate", "WS-FLOW-1", ("z_0", "eps"), d,
                                  _options("tau", TAUS)), tolerance="B", oracle="float64"),
    Op(name="flow.velocity_target", signature="z_0, eps [...] -> velocity [...]",
       formula=velocity_target, questions=lambda d: _pairs("target", "WS-FLOW-2", ("z_0", "eps"), d,
                                                           ({},)),
       tolerance="B", oracle="float64"),
    Op(name="flow.loss", signature="velocity, z_0, eps [...] -> loss []", formula=loss,
       questions=_losses, tolerance="B", oracle="float64"),
    Op(name="flow.grid", signature="steps, shift -> grid float64 [steps + 1]", formula=grid,
       questions=_grids, tolerance="B", oracle="analytic", per_dtype=False),
    Op(name="flow.declared_grid", signature="grid float64 [n] -> grid float64 [n], or a refusal",
       formula=declared, questions=_declared, tolerance="A", oracle="analytic", per_dtype=False),
    Op(name="flow.euler_step", signature="tau, tau_next; z, velocity [...] -> z [...]",
       formula=euler_step, questions=lambda d: _pairs("euler", "WS-FLOW-4", ("z", "velocity"), d,
                                                      STEPS), tolerance="B", oracle="float64"),
    Op(name="flow.solve", signature="solver euler; grid float64 [N + 1], audio [n], video [m] at"
       " tau = 1, A [n + m, n + m], b, c [n + m] of the field A z + b tau + c step -> audio, video",
       formula=summed(_solve, keep=("grid",)),
       questions=lambda d: _solves("euler", ("WS-FLOW-4", "WS-FLOW-6"), d), tolerance="C",
       oracle="float64"),
    Op(name="flow.solve_midpoint", signature="solver midpoint; as flow.solve -> audio, video",
       formula=summed(_solve, keep=("grid",)),
       questions=lambda d: _solves("midpoint", ("WS-FLOW-10",), d), tolerance="C",
       oracle="float64", feature="midpoint"),
    Op(name="flow.guide", signature="scale; cond, uncond [...] -> velocity [...]", formula=guide,
       questions=lambda d: _pairs("guide", "WS-FLOW-11", ("cond", "uncond"), d,
                                  _options("scale", (0.0, 1.0, 3.5, -0.5))), tolerance="B",
       oracle="float64"),
    Op(name="flow.tau_features", signature="dim; tau float64 [n] -> features [n, dim]",
       formula=tau_features, questions=_taus, tolerance="B", oracle="float64"),
    Op(name="flow.tau_embedding", signature="dim; tau float64 [n], in_proj.weight [d, dim],"
       " out_proj.weight [d, d], biases [d] -> y [n, d]",
       formula=summed(_tau_embedding, keep=("tau",), angular=True),
       questions=_tau_embeddings, tolerance="C", oracle="float64"),
)  # fmt: skip
