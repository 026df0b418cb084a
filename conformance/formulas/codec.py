"""Ops of the codecs: causal convolution, blocks, posterior, latent statistics, patches.

Signals have no batch axis: [channels, time] or [channels, time, height, width]
(WS-CONFORMANCE-16).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

import numpy as np

from conformance import arrays
from conformance.formulas.case import (
    Arguments,
    Near,
    Op,
    Outcome,
    Question,
    Tensors,
    drawn,
    exact,
    rounded,
    silu,
    summed,
)
from conformance.protocol import Array, DType

NORM_EPS: Final = 1e-6


def convolved(x: Array, weight: Array, bias: Array, stride: tuple[int, ...]) -> Array:
    """y[i] = bias + Σ W[:, :, j] x[s i + s - k + j], zeros before the start and around the picture,
    term after term (WS-CODEC-3, WS-CODEC-4)."""
    kernel = weight.shape[2:]
    pads = [(kernel[0] - stride[0], 0)]
    pads += [((k - s) // 2,) * 2 for k, s in zip(kernel[1:], stride[1:], strict=True)]
    padded = np.pad(x, [(0, 0), *pads])
    sizes = [n // s for n, s in zip(x.shape[1:], stride, strict=True)]
    total = np.broadcast_to(bias.reshape(-1, *[1] * len(sizes)), (len(bias), *sizes))
    for c in range(x.shape[0]):
        for j in product(*map(range, kernel)):
            heard = padded[c]
            for axis, (at, s, n) in enumerate(zip(j, stride, sizes, strict=True)):
                heard = heard.take(range(at, at + s * n, s), axis=axis)
            tap = weight.reshape(*weight.shape[:2], -1)[:, c, np.ravel_multi_index(j, kernel)]
            total = total + tap.reshape(-1, *[1] * len(sizes)) * heard
    return np.asarray(total)


def _conv(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    return {"y": convolved(t["x"], t["weight"], t["bias"], tuple(a["stride"]))}


def normed(x: Array, weight: Array) -> Array:
    """Over the channels of each point (WS-CODEC-7)."""
    squares = np.cumsum(x * x, axis=0)[-1:] / x.dtype.type(x.shape[0])
    shape = (-1, *[1] * (x.ndim - 1))
    return np.asarray(x / np.sqrt(squares + x.dtype.type(NORM_EPS)) * weight.reshape(shape))


def channel_norm(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    x, weight = t["x"].astype(np.float64), t["weight"].astype(np.float64)
    return {"y": Near(value=normed(x, weight), ulp=6.0 + len(x) ** 0.5 / 2)}


def silu_of(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """x · sigmoid(x) (WS-CODEC-7)."""
    x = t["x"].astype(np.float64)
    # Of x, not of the result: compilers lower a sigmoid to (1 + tanh(x / 2)) / 2, which far below
    # zero is right to an ulp of 1, and the exponential carries the rounding of its argument.
    return {"y": Near(value=silu(x), ulp=4.0, scale=np.abs(x))}


def _residual(_: Arguments, t: Tensors) -> Mapping[str, Array]:
    x = t["x"]
    stride = (1,) * (x.ndim - 1)
    y = silu(normed(x, t["norm1.weight"]))
    y = silu(normed(convolved(y, t["conv1.weight"], t["conv1.bias"], stride), t["norm2.weight"]))
    return {"y": x + convolved(y, t["conv2.weight"], t["conv2.bias"], stride)}


def upsample(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Channel ((j·p + r)·p + q)·c + i of (t, h, w) is channel i of (s t + j, p h + r, p w + q)
    (WS-CODEC-7)."""
    x, s, p = t["x"], a["time"], a["side"]
    if x.ndim == 2:
        c = x.shape[0] // s
        y = np.empty((c, s * x.shape[1]), x.dtype)
        for j, i in product(range(s), range(c)):
            y[i, j::s] = x[j * c + i]
        return exact(y=y)
    c = x.shape[0] // (s * p * p)
    y = np.empty((c, s * x.shape[1], p * x.shape[2], p * x.shape[3]), x.dtype)
    for j, r, q, i in product(range(s), range(p), range(p), range(c)):
        y[i, j::s, r::p, q::p] = x[((j * p + r) * p + q) * c + i]
    return exact(y=y)


def space_to_depth(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Channel i of pixel (p h + r, p w + q) is channel (r·p + q)·c + i of (h, w) (WS-CODEC-7)."""
    x, p = t["x"], a["side"]
    parts = [x[:, :, r::p, q::p] for r in range(p) for q in range(p)]
    return exact(y=np.concatenate(parts))


def patchify(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Token r·(cols/p) + s holds rows p r …, columns p s …; channel, row, column (WS-CODEC-13)."""
    z, p = t["z"], a["patch"]
    _, rows, cols = z.shape
    tokens = [
        z[:, p * r : p * r + p, p * s : p * s + p].reshape(-1)
        for r in range(rows // p)
        for s in range(cols // p)
    ]
    return exact(tokens=np.stack(tokens))


def unpatchify(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """The inverse of `patchify` (WS-CODEC-13)."""
    tokens, p, rows = t["tokens"], a["patch"], a["patch_rows"]
    cols = len(tokens) // rows
    z = np.empty((tokens.shape[1] // p**2, p * rows, p * cols), tokens.dtype)
    for n, token in enumerate(tokens):
        r, s = divmod(n, cols)
        z[:, p * r : p * r + p, p * s : p * s + p] = token.reshape(-1, p, p)
    return exact(z=z)


def posterior(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """Halves of the channels; only the log-variance is clamped, to [-30, 20] (WS-CODEC-10)."""
    c = len(t["moments"]) // 2
    mean, log_variance = t["moments"][:c], t["moments"][c:]
    return exact(mean=np.array(mean), log_variance=np.clip(log_variance, -30, 20))


def _channels(t: Tensors, like: Array) -> tuple[Array, Array]:
    shape = (-1, *[1] * (like.ndim - 1))
    mu, sigma = (t[n].astype(np.float64).reshape(shape) for n in ("latent_mean", "latent_std"))
    return mu, sigma


def normalise(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """(mean - μ) / σ and log-variance - 2 ln σ (WS-CODEC-11)."""
    mean, log_variance = t["mean"].astype(np.float64), t["log_variance"].astype(np.float64)
    mu, sigma = _channels(t, mean)
    shift = 2 * np.log(sigma)
    return {
        # Two terms, since a port may fold 1 / σ and -μ / σ.
        "mean": Near(value=(mean - mu) / sigma, ulp=3.0, scale=(np.abs(mean) + np.abs(mu)) / sigma),
        "log_variance": Near(
            value=log_variance - shift, ulp=3.0, scale=np.abs(log_variance) + np.abs(shift)
        ),
    }


def denormalise(_: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """z σ + μ (WS-CODEC-11)."""
    z = t["z"].astype(np.float64)
    mu, sigma = _channels(t, z)
    return {"z": Near(value=z * sigma + mu, ulp=2.0, scale=np.abs(z * sigma) + np.abs(mu))}


CONVOLUTIONS: Final = {
    # in, out channels, kernel, stride, time and grid
    "same": (3, 4, (3,), (1,), (8,)),
    "strided": (2, 3, (6,), (3,), (12,)),
    "wave": (1, 5, (7,), (1,), (9,)),
    "many-channels": (35, 33, (3,), (1,), (5,)),
    "no-context": (2, 2, (2,), (2,), (6,)),
    "one-output": (3, 1, (4,), (2,), (2,)),
    "picture": (2, 3, (1, 3, 3), (1, 1, 1), (2, 5, 3)),
    "volume": (2, 3, (3, 3, 3), (1, 1, 1), (4, 3, 4)),
    "down": (2, 3, (4, 4, 4), (2, 2, 2), (6, 4, 6)),
}


def _convs(dtype: DType) -> Iterator[Question]:
    for family, (c_in, c_out, kernel, stride, size) in CONVOLUTIONS.items():
        tensors = {
            "x": drawn(f"conv/{family}/x", (c_in, *size), dtype, 2.0),
            "weight": drawn(f"conv/{family}/w", (c_out, c_in, *kernel), dtype, 0.7),
            "bias": drawn(f"conv/{family}/b", (c_out,), dtype),
        }
        s = stride[0]
        units = size[0] // s
        # Whole; step by step; an uneven cut.
        plans: dict[str, list[int]] = {"whole": [], "steps": [s] * units}
        if units > 2:
            plans["uneven"] = [2 * s, s, size[0] - 3 * s] if units > 3 else [s, size[0] - s]
        for name, plan in plans.items():
            clauses = ("WS-CODEC-5",) if plan else ("WS-CODEC-3", "WS-CODEC-4")
            yield Question(
                family=f"{family}-{name}",
                clauses=clauses,
                arguments={"stride": list(stride), "plan": plan},
                tensors=tensors,
            )
    # Only the past is zero: a signal that is large from its first step on shows it.
    flat = rounded(np.full((1, 4), 8.0), dtype)
    ones = {"weight": rounded(np.ones((1, 1, 3)), dtype), "bias": rounded(np.zeros(1), dtype)}
    for name, plan in (("whole", []), ("steps", [1] * 4)):
        yield Question(
            family=f"start-{name}",
            clauses=("WS-CODEC-4",),
            arguments={"stride": [1], "plan": plan},
            tensors={"x": flat, **ones},
        )


def _norms(dtype: DType) -> Iterator[Question]:
    for family, shape, gain in (
        ("time", (7, 5), 1.0),
        ("volume", (6, 3, 2, 4), 2.0),
        ("one-channel", (1, 3), 1.0),
        ("quiet", (9, 4), 1e-3),
        ("nearly-silent", (9, 4), 1e-5),
    ):
        if gain < 1 and dtype == "float16":
            continue
        yield Question(
            family=family,
            clauses=("WS-CODEC-7",),
            tensors={
                "x": drawn(f"channel/{family}", shape, dtype, gain),
                "weight": drawn(f"channel/{family}/w", shape[:1], dtype, 0.5, 1.0),
            },
        )


def _silus(dtype: DType) -> Iterator[Question]:
    ordinary = {"x": drawn("silu", (5, 7), dtype, 4.0)}
    yield Question(family="ordinary", clauses=("WS-CODEC-7",), tensors=ordinary)
    edges = [0.0, -0.0, 1e-4, -1e-4, 20.0, -20.0, 60.0, -60.0, 5000.0, -5000.0]
    if dtype != "float16":
        edges += [1e30, -1e30, 1e-38, -1e-38]
    x = rounded(np.array(edges), dtype)
    yield Question(family="edges", clauses=("WS-CODEC-7",), tensors={"x": x})


def _residuals(dtype: DType) -> Iterator[Question]:
    for family, c, size in (("time", 5, (6,)), ("volume", 3, (3, 2, 4))):
        axes = len(size)
        tensors: dict[str, Array] = {"x": drawn(f"residual/{family}", (c, *size), dtype, 2.0)}
        for n in ("1", "2"):
            shape = (c, c, *(3,) * axes)
            gain = 1.5 * (c * 3**axes) ** -0.5
            tensors[f"conv{n}.weight"] = drawn(f"residual/{family}/w{n}", shape, dtype, gain)
            tensors[f"conv{n}.bias"] = drawn(f"residual/{family}/b{n}", (c,), dtype, 0.3)
            tensors[f"norm{n}.weight"] = drawn(f"residual/{family}/n{n}", (c,), dtype, 0.4, 1.0)
        for name, plan in (("whole", []), ("uneven", [1, size[0] - 1])):
            yield Question(
                family=f"{family}-{name}",
                clauses=("WS-CODEC-7",) if not plan else ("WS-CODEC-5",),
                arguments={"plan": plan},
                tensors=tensors,
            )


def _moves(op: str, dtype: DType) -> Iterator[Question]:
    """Rearrangements of numbers that are all different."""
    table: dict[str, tuple[tuple[tuple[int, ...], dict[str, Any]], ...]] = {
        "upsample": (
            ((6, 5), {"time": 3, "side": 1}),
            ((24, 2, 3, 2), {"time": 2, "side": 2}),
            ((18, 1, 2, 3), {"time": 1, "side": 3}),
        ),
        "space_to_depth": (((3, 2, 8, 12), {"side": 4}), ((2, 1, 6, 3), {"side": 3})),
        "patchify": (
            ((5, 4, 6), {"patch": 2}),
            ((2, 3, 9), {"patch": 3}),
            ((1, 1, 1), {"patch": 1}),
        ),
        "unpatchify": (
            ((6, 20), {"patch": 2, "patch_rows": 2}),
            ((3, 18), {"patch": 3, "patch_rows": 1}),
            ((4, 3), {"patch": 1, "patch_rows": 4}),
        ),
    }
    name = {"patchify": "z", "unpatchify": "tokens"}.get(op, "x")
    clause = "WS-CODEC-13" if "patch" in op else "WS-CODEC-7"
    for shape, arguments in table[op]:
        yield Question(
            family="x".join(map(str, shape)),
            clauses=(clause,),
            arguments=arguments,
            tensors={name: drawn(f"{op}/{shape}", shape, dtype, 4.0)},
        )


def _posteriors(dtype: DType) -> Iterator[Question]:
    for shape in ((6, 5), (4, 2, 3, 3)):
        moments = 60.0 * arrays.uniform(f"math/posterior/{shape}", shape)
        half = moments[shape[0] // 2 :]
        half.flat[:4] = [-30.0, 20.0, 20.5, -31.0]
        tensors = {"moments": rounded(moments, dtype)}
        yield Question(family="x".join(map(str, shape)), clauses=("WS-CODEC-10",), tensors=tensors)


def _statistics(names: tuple[str, ...], dtype: DType) -> Iterator[Question]:
    for shape in ((5, 4), (3, 2, 2, 3), (1, 1)):
        tensors = {n: drawn(f"latent/{n}/{shape}", shape, dtype, 3.0) for n in names}
        tensors["latent_mean"] = drawn(f"latent/mu/{shape}", shape[:1], dtype, 0.5)
        tensors["latent_std"] = drawn(f"latent/sigma/{shape}", shape[:1], dtype, 0.7, 1.2)
        yield Question(family="x".join(map(str, shape)), clauses=("WS-CODEC-11",), tensors=tensors)


RESIDUAL: Final = "norm1, norm2 .weight, conv1, conv2 .weight and .bias"
OPS: Final = (
    Op(name="codec.conv", signature="stride, plan (lengths of the chunks in input steps, empty for"
       " the whole signal in one call); x [in, T, ...], weight [out, in, *kernel], bias [out] ->"
       " y [out, T / stride, ...]", formula=summed(_conv), questions=_convs, tolerance="C",
       oracle="float64"),
    Op(name="codec.channel_norm", signature="x [c, ...], weight [c] -> y [c, ...]",
       formula=channel_norm, questions=_norms, tolerance="B", oracle="float64"),
    Op(name="codec.silu", signature="x [...] -> y [...]", formula=silu_of, questions=_silus,
       tolerance="B", oracle="float64"),
    Op(name="codec.residual", signature=f"plan; x [c, T, ...], {RESIDUAL} -> y [c, T, ...]",
       formula=summed(_residual), questions=_residuals, tolerance="C", oracle="float64"),
    Op(name="codec.upsample", signature="time, side; x [time side side c, T, H, W] or [time c, T]"
       " -> y [c, time T, side H, side W] or [c, time T]", formula=upsample,
       questions=lambda d: _moves("upsample", d), tolerance="A", oracle="analytic"),
    Op(name="codec.space_to_depth", signature="side; x [c, T, H, W] -> y [side side c, T, H / side,"
       " W / side]", formula=space_to_depth, questions=lambda d: _moves("space_to_depth", d),
       tolerance="A", oracle="analytic"),
    Op(name="codec.patchify", signature="patch; z [C, rows, cols] -> tokens [n, C patch patch]",
       formula=patchify, questions=lambda d: _moves("patchify", d), tolerance="A",
       oracle="analytic"),
    Op(name="codec.unpatchify", signature="patch, patch_rows; tokens [n, C patch patch] ->"
       " z [C, rows, cols]", formula=unpatchify, questions=lambda d: _moves("unpatchify", d),
       tolerance="A", oracle="analytic"),
    Op(name="codec.posterior", signature="moments [2 C, ...] -> mean, log_variance [C, ...]",
       formula=posterior, questions=_posteriors, tolerance="A", oracle="analytic"),
    Op(name="codec.normalise", signature="mean, log_variance [C, ...], latent_mean, latent_std [C]"
       " -> mean, log_variance [C, ...]", formula=normalise,
       questions=lambda d: _statistics(("mean", "log_variance"), d), tolerance="B",
       oracle="float64"),
    Op(name="codec.denormalise", signature="z [C, ...], latent_mean, latent_std [C] -> z [C, ...]",
       formula=denormalise, questions=lambda d: _statistics(("z",), d), tolerance="B",
       oracle="float64"),
)  # fmt: skip
