"""Ops of the Transformer: norm, attention, feed-forward, whole passes (WS-CONFORMANCE-16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
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
    dot,
    drawn,
    linear,
    silu,
    summed,
)
from conformance.formulas.layout import P, session, table
from conformance.formulas.positions import angles
from conformance.formulas.visibility import mask as dense_mask
from conformance.protocol import Array, DType


def normed(x: Array, weight: Array, eps: float) -> Array:
    """x / sqrt(mean(x²) + eps) · weight (WS-BACKBONE-2)."""
    squares = np.cumsum(x * x, axis=-1)[..., -1:]
    return np.asarray(x / np.sqrt(squares / x.shape[-1] + x.dtype.type(eps)) * weight)


def rms_norm(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    x, weight = t["x"].astype(np.float64), t["weight"].astype(np.float64)
    # The terms of the mean are positive: their sum is off by half an ulp a term at most.
    ulp = 6.0 + x.shape[-1] ** 0.5 / 2
    return {"y": Near(value=normed(x, weight, a["eps"]), ulp=ulp)}


def attended(q: Array, k: Array, v: Array, mask: Array) -> Array:
    """softmax(q kᵀ / sqrt(d)) v, query head h at key head floor(h · kv / heads) (WS-BACKBONE-4)."""
    heads, kv = q.shape[0], k.shape[0]
    out = []
    for h in range(heads):
        own = h * kv // heads
        scores = dot(q[h], k[own].T) / np.sqrt(q.dtype.type(q.shape[-1]))
        scores = np.where(mask, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out.append(dot(weights, v[own]) / np.cumsum(weights, axis=-1)[:, -1:])
    return np.stack(out)


def _attend(_: Arguments, t: Tensors) -> Mapping[str, Array]:
    return {"y": attended(t["q"], t["k"], t["v"], t["mask"] != 0)}


def _mlp(x: Array, w: Tensors, at: str = "") -> Array:
    gate, up = linear(x, w[f"{at}gate_proj.weight"]), linear(x, w[f"{at}up_proj.weight"])
    return linear(silu(gate) * up, w[f"{at}down_proj.weight"])


def _swiglu(_: Arguments, t: Tensors) -> Mapping[str, Array]:
    return {"y": _mlp(t["x"], t)}


def attention(
    a: Arguments, w: Tensors, at: str, x: Array, positions: Array, mask: Array
) -> tuple[Array, Array, Array]:
    """Output, rotated keys and values of one block (WS-BACKBONE-3)."""
    d = a["head_dim"]
    angle = angles(a, positions)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)

    def heads(name: str) -> Array:
        bias = w[f"{at}{name}_proj.bias"] if a["qkv_bias"] else None
        y = linear(x, w[f"{at}{name}_proj.weight"], bias)
        return y.reshape(len(x), -1, d).transpose(1, 0, 2)

    def turned(name: str) -> Array:
        y = heads(name)
        if a["qk_norm"]:
            y = normed(y, w[f"{at}{name}_norm.weight"], a["eps"])
        first, second = y[..., : d // 2], y[..., d // 2 :]
        return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)

    q, k, v = turned("q"), turned("k"), heads("v")
    y = attended(q, k, v, mask).transpose(1, 0, 2).reshape(len(x), -1)
    return linear(y, w[f"{at}o_proj.weight"]), k, v


def _attention(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    y, k, v = attention(a, t, "", t["x"], t["positions"], t["mask"] != 0)
    return {"y": y, "k": k, "v": v}


def _run(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """All layers and the last norm over a clean sequence and its rows (WS-BACKBONE-1)."""
    rows, x, eps = t["rows"], t["x"], a["eps"]
    seen = dense_mask({"lag": a["lag"]}, {"queries": rows, "keys": rows})["mask"].value != 0
    for n in range(a["n_layers"]):
        at = f"layers.{n}."
        before = normed(x, t[f"{at}input_layernorm.weight"], eps)
        x = x + attention(a, t, f"{at}self_attn.", before, rows[:, 4:7], seen)[0]
        x = x + _mlp(normed(x, t[f"{at}post_attention_layernorm.weight"], eps), t, f"{at}mlp.")
    return {"hidden": normed(x, t["norm.weight"], eps)}


def _norms(dtype: DType) -> Iterator[Question]:
    half = dtype in ("bfloat16", "float16")
    families: dict[str, tuple[tuple[int, ...], float, float, float]] = {
        # shape, gain, center, eps
        "ordinary": ((7, 33), 1.0, 0.0, 1e-6),
        "off-center": ((5, 12), 0.5, 3.0, 1e-6),
        "one-element": ((1, 1), 2.0, 0.0, 1e-5),
        "wide": ((2, 257), 1.0, 0.0, 1e-5),
        "heads": ((2, 3, 14), 1.0, 0.0, 1e-6),
        "large-eps": ((4, 9), 1.0, 0.0, 0.25),
    }
    if dtype != "float16":
        families["tiny"] = ((6, 20), 1e-3, 0.0, 1e-6)
        families["far-below-eps"] = ((3, 20), 1e-12, 0.0, 1e-5)
        families["huge"] = ((3, 20), 1e15, 0.0, 1e-6)
    for family, (shape, gain, center, eps) in families.items():
        x = np.array(drawn(f"norm/{family}", shape, dtype, gain, center))
        if prod(shape) > 1 and not half:
            # A row of zeros stays zero, and one large element is what its row is made of.
            x[0], x[-1, ..., 0] = 0.0, 100 * gain
        yield Question(
            family=family,
            clauses=("WS-BACKBONE-2",),
            arguments={"eps": eps},
            tensors={"x": x, "weight": drawn(f"norm/{family}/w", shape[-1:], dtype, 0.5, 1.0)},
        )


def _attends(dtype: DType) -> Iterator[Question]:
    families: dict[str, tuple[int, int, int, int, int, float]] = {
        # heads, kv heads, queries, keys, head_dim, gain of q and k
        "grouped": (6, 2, 5, 9, 14, 2.0),
        "three-groups": (6, 3, 4, 7, 10, 2.0),
        "one-key-head": (4, 1, 3, 6, 8, 2.0),
        "ungrouped": (3, 3, 4, 11, 6, 2.0),
        "one-query": (2, 1, 1, 13, 2, 2.0),
        "one-key": (4, 2, 3, 1, 6, 2.0),
        # Past the tiles of fused kernels, and no multiple of them.
        "long": (2, 1, 67, 131, 8, 2.0),
    }
    if dtype in ("float32", "float64"):
        families["peaked"] = (2, 2, 4, 6, 16, 30.0)
        # One key each, and hidden ones whose scores are 100,000 away: what hides them must be more.
        families["far-apart"] = (2, 2, 5, 5, 16, 400.0)
    for family, (heads, kv, n, m, d, gain) in families.items():
        mask = (arrays.uniform(f"math/attend/{family}/mask", (n, m)) > -0.3).astype(np.int64)
        mask[:, m // 2] = 1
        mask[0] = 0
        mask[0, m // 2] = 1
        if family == "far-apart":
            mask = np.eye(n, m, dtype=np.int64)
        k = drawn(f"attend/{family}/k", (kv, m, d), dtype, gain)
        v = np.array(drawn(f"attend/{family}/v", (kv, m, d), dtype))
        hidden = (mask == 0).all(axis=0)
        # What no query may see would show at once.
        v[:, hidden] *= 1000.0
        yield Question(
            family=family,
            clauses=("WS-BACKBONE-4",),
            tensors={
                "q": drawn(f"attend/{family}/q", (heads, n, d), dtype, gain),
                "k": k,
                "v": v,
                "mask": mask,
            },
        )


def _swiglus(dtype: DType) -> Iterator[Question]:
    for family, n, d, d_ff in (
        ("odd", 5, 9, 13),
        ("narrow", 3, 7, 1),
        ("wide", 3, 12, 40),
        ("long", 2, 131, 67),
    ):
        yield Question(
            family=family,
            clauses=("WS-BACKBONE-5",),
            tensors={
                "x": drawn(f"swiglu/{family}/x", (n, d), dtype, 2.0),
                "gate_proj.weight": drawn(f"swiglu/{family}/gate", (d_ff, d), dtype),
                "up_proj.weight": drawn(f"swiglu/{family}/up", (d_ff, d), dtype),
                "down_proj.weight": drawn(f"swiglu/{family}/down", (d, d_ff), dtype),
            },
        )


def _sizes(heads: int, kv: int, head_dim: int, qk_norm: bool, qkv_bias: bool) -> dict[str, Any]:
    half = head_dim // 2
    return {
        "n_heads": heads,
        "n_kv_heads": kv,
        "head_dim": head_dim,
        "theta": 10_000.0,
        "sections": [half - 2 * (half // 3), half // 3, half // 3],
        "eps": 1e-5,
        "qk_norm": qk_norm,
        "qkv_bias": qkv_bias,
    }


def _weights(a: Arguments, name: str, d: int, dtype: DType, at: str = "") -> dict[str, Array]:
    h, kv, hd = a["n_heads"], a["n_kv_heads"], a["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "q_proj.weight": (h * hd, d),
        "k_proj.weight": (kv * hd, d),
        "v_proj.weight": (kv * hd, d),
        "o_proj.weight": (d, h * hd),
    }
    if a["qkv_bias"]:
        biases = {"q": h, "k": kv, "v": kv}
        shapes |= {f"{p}_proj.bias": (n * hd,) for p, n in biases.items()}
    found = {
        f"{at}{part}": drawn(f"{name}/{part}", shape, dtype, 2.0 * shape[-1] ** -0.5)
        for part, shape in shapes.items()
    }
    if a["qk_norm"]:
        for p in "qk":
            found[f"{at}{p}_norm.weight"] = drawn(f"{name}/{p}_norm", (hd,), dtype, 0.4, 1.5)
    return found


SWITCHES: Final = {
    "plain": (6, 2, 6, False, False),
    "bias": (3, 1, 8, False, True),
    "qk-norm": (2, 2, 10, True, False),
    "both": (4, 2, 14, True, True),
}


def _attentions(dtype: DType) -> Iterator[Question]:
    # The last stands where float32 has no room for odd numbers, in a session's second week.
    starts = [(family, switches, 5) for family, switches in SWITCHES.items()]
    for family, switches, start in (*starts, ("far-out", SWITCHES["both"], 20_000_003)):
        a, n, d = _sizes(*switches), 6, 11
        steps = np.array([[i, 2 * i, 1 + i] for i in range(n)], dtype=np.int64)
        positions = start + steps
        yield Question(
            family=family,
            clauses=("WS-BACKBONE-3",),
            arguments=a,
            tensors={
                "x": drawn(f"attention/{family}/x", (n, d), dtype, 2.0),
                "positions": positions,
                "mask": np.tril(np.ones((n, n), dtype=np.int64)),
                **_weights(a, f"attention/{family}", d, dtype),
            },
        )


def _runs(dtype: DType) -> Iterator[Question]:
    cells = table(session(prompt_tokens=2, patch_cols=1, user_tokens=[1, 3], noisy_tau=[]))[0]
    far = cells.copy()
    far[far[:, 1] != P, 0] += 5_000_001
    far[far[:, 1] != P, 4:7] += 4 * 5_000_001
    for family, lag, layers, rows in (
        ("two-layers", 1, 2, cells),
        ("one-layer", 0, 1, cells),
        ("far-out", 1, 1, far),
    ):
        a, d, d_ff = _sizes(4, 2, 6, True, True), 10, 15
        weights: dict[str, Array] = {
            "norm.weight": drawn(f"run/{family}/norm", (d,), dtype, 0.5, 1)
        }
        for n in range(layers):
            at, name = f"layers.{n}.", f"run/{family}/{n}"
            weights |= _weights(a, name, d, dtype, f"{at}self_attn.")
            for part in ("input_layernorm", "post_attention_layernorm"):
                weights[f"{at}{part}.weight"] = drawn(f"{name}/{part}", (d,), dtype, 0.5, 1.0)
            for part, shape in (("gate", (d_ff, d)), ("up", (d_ff, d)), ("down", (d, d_ff))):
                gain = 2.0 * shape[1] ** -0.5
                weights[f"{at}mlp.{part}_proj.weight"] = drawn(f"{name}/{part}", shape, dtype, gain)
        yield Question(
            family=family,
            clauses=("WS-BACKBONE-1",),
            arguments={**a, "n_layers": layers, "lag": lag},
            tensors={"x": drawn(f"run/{family}/x", (len(rows), d), dtype, 1.5), "rows": rows}
            | weights,
        )


HEADS: Final = "n_heads, n_kv_heads, head_dim, theta, sections [3], eps, qk_norm, qkv_bias"
WEIGHTS: Final = "q_proj, k_proj, v_proj, o_proj .weight [out, in], .bias, q_norm, k_norm .weight"
OPS: Final = (
    Op(name="backbone.rms_norm", signature="eps; x [..., d], weight [d] -> y [..., d]",
       formula=rms_norm, questions=_norms, tolerance="B", oracle="float64"),
    Op(name="backbone.attend", signature="q [heads, n, d], k, v [kv_heads, m, d], mask int64 [n, m]"
       " -> y [heads, n, d]", formula=summed(_attend), questions=_attends, tolerance="C",
       oracle="float64"),
    Op(name="backbone.attention", signature=f"{HEADS}; x [n, d_model], positions int64 [n, 3],"
       f" mask int64 [n, n], {WEIGHTS} -> y [n, d_model], k (rotated), v [kv_heads, n, head_dim]",
       formula=summed(_attention, angular=True), questions=_attentions, tolerance="C",
       oracle="float64"),
    Op(name="backbone.swiglu", signature="x [n, d], gate_proj.weight, up_proj.weight [d_ff, d],"
       " down_proj.weight [d, d_ff] -> y [n, d]", formula=summed(_swiglu), questions=_swiglus,
       tolerance="C", oracle="float64"),
    Op(name="backbone.run", signature=f"{HEADS}, n_layers, lag; x [n, d_model], rows int64 [n, 10]"
       " (columns of WS-LAYOUT-2 but tau), layers.N.self_attn, layers.N.mlp, layers.N."
       "input_layernorm, layers.N.post_attention_layernorm, norm -> hidden [n, d_model]",
       formula=summed(_run, angular=True), questions=_runs, tolerance="C", oracle="float64"),
)  # fmt: skip
