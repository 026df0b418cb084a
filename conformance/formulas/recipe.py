"""Ops of the integer recipe: words, uniform and Gaussian numbers, weights, their digest.

Expected values by plain integers and binary64, one rounding an operation (WS-CONFORMANCE-16).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from conformance import arrays
from conformance.formulas.case import Arguments, Op, Outcome, Question, Tensors, exact, rounded
from conformance.protocol import Array, DType

M64: Final = (1 << 64) - 1
RULES: Final = (
    (r"latent_std$", "offset", 0.25, 1.0),
    (r"latent_mean$", "offset", 0.25, 0.0),
    (r"\.(q_norm|k_norm)\.weight$", "offset", 0.25, 1.5),
    (r"norm[0-9]*\.weight$", "offset", 0.25, 1.0),
    (r"\.bias$", "offset", 0.125, 0.0),
    (r"segment_embedding$", "offset", 0.5, 0.0),
    (r"(embedding|embed_tokens\.weight)$", "offset", 1.5, 0.0),
    (r"lm_head\.weight$", "uniform", 4.0, 0.0),
    (r"\.(q_proj|k_proj)\.weight$", "uniform", 1.5, 0.0),
    (r"decoder\.head\.weight$", "uniform", 0.5, 0.0),
    (r"velocity_head\.weight$", "uniform", 1.0, 0.0),
    (r"weight$", "uniform", 1.0, 0.0),
)
"""The table of WS-RECIPE-3: pattern, kind, gain, center."""


def word(name: str, n: int) -> int:
    """Word n of the stream called ``name`` (WS-RECIPE-1)."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    z = (key + (n + 1) * 0x9E3779B97F4A7C15) & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    return z ^ z >> 31


def uniform(name: str, i: int) -> float:
    """Element i in (-1, 1) (WS-RECIPE-2)."""
    return (2 * (word(name, i) >> 40) + 1 - (1 << 24)) / (1 << 24)


def gaussian(name: str, i: int) -> float:
    """Element i of the Gaussian form (WS-RECIPE-4)."""
    three = word(name, 3 * i) | word(name, 3 * i + 1) << 64 | word(name, 3 * i + 2) << 128
    lanes = sum(three >> 16 * j & 0xFFFF for j in range(12))
    return (lanes - 6 * 65535) / (1 << 16)


def _span(a: Arguments) -> range:
    return range(a["start"], a["start"] + a["count"])


def words(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    values = [word(a["name"], n) for n in _span(a)]
    return exact(words=np.array(values, dtype=np.uint64))


def uniforms(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    return exact(values=np.array([uniform(a["name"], i) for i in _span(a)], dtype=np.float64))


def gaussians(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    return exact(values=np.array([gaussian(a["name"], i) for i in _span(a)], dtype=np.float64))


def weight(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """WS-RECIPE-3 and WS-RECIPE-5: binary64, then float32, then the dtype of the model."""
    name, shape = a["name"], tuple(a["shape"])
    kind, gain, center = next(rule[1:] for rule in RULES if re.search(rule[0], name))
    bound = gain
    if kind == "uniform":
        bound = math.sqrt(3.0 / math.prod(shape[1:])) * gain
    u = [uniform(f"weights/{name}", i) for i in range(math.prod(shape))]
    single = np.array([center + bound * x for x in u], dtype=np.float64).astype(np.float32)
    return exact(weight=rounded(single, a["dtype"]).reshape(shape))


def noise(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """WS-RECIPE-4: float32 and float64 hold it exactly."""
    name, shape = f"noise/{a['seed']}/{a['unit']}/{a['modality']}", tuple(a["shape"])
    values = [gaussian(name, i) for i in range(math.prod(shape))]
    return exact(noise=rounded(np.array(values), a["dtype"]).reshape(shape))


def text_numbers(a: Arguments, _: Tensors) -> Mapping[str, Outcome]:
    """WS-RECIPE-8, always binary64."""
    name = f"text/{a['seed']}/{a['unit']}"
    return exact(u=np.array([(word(name, i) >> 11) / (1 << 53) for i in range(a["slots"])]))


def digest(a: Arguments, t: Tensors) -> Mapping[str, Outcome]:
    """WS-RECIPE-7."""
    sha = hashlib.sha256()
    for name, key in sorted(zip(a["names"], t, strict=True)):
        shape = ",".join(str(n) for n in t[key].shape)
        sha.update(f"{name}\n{shape}\n".encode() + t[key].astype("<f4").tobytes())
    return exact(sha256=bytes_of(sha))


def bytes_of(sha: hashlib._Hash) -> Array:
    """A digest as 32 bytes, uint8."""
    return np.frombuffer(sha.digest(), dtype=np.uint8)


NAMES: Final = {
    "ascii": ("noise/0/0/audio", 0, 9),
    "utf-8": ("weights/ö/τ", 3, 5),
    "far": ("weights/lm_head.weight", (1 << 32) - 2, 4),
}
WEIGHTS: Final = {
    "std": ("video_codec.latent_norm.latent_std", (7,)),
    "mean": ("audio_codec.latent_norm.latent_mean", (5,)),
    "qk-norm": ("backbone.layers.1.self_attn.k_norm.weight", (14,)),
    "norm": ("backbone.layers.10.input_layernorm.weight", (11,)),
    "norm2": ("audio_codec.encoder.residual0.norm2.weight", (9,)),
    "bias": ("backbone.layers.0.self_attn.q_proj.bias", (13,)),
    "segment": ("segment_embedding", (8, 3)),
    "identity": ("identity_segment_embedding", (2, 5)),
    "embedding": ("state_embedding", (3, 4)),
    "tokens": ("embed_tokens.weight", (9, 4)),
    "head": ("lm_head.weight", (5, 7)),
    "query": ("backbone.layers.2.self_attn.q_proj.weight", (6, 11)),
    "decoder-head": ("video_codec.decoder.head.weight", (4, 3, 3, 3, 3)),
    "velocity": ("audio_velocity_head.weight", (4, 13)),
    "other": ("backbone.layers.0.mlp.down_proj.weight", (5, 17)),
    "vector": ("some.weight", (6,)),
    "norm12": ("video_codec.decoder.norm12.weight", (5,)),
    # A pattern counts wherever it is found, but `$` is the end and a dot a dot.
    "not-at-the-end": ("text_embedding.weight", (4, 3)),
    "bias-inside": ("text.bias_proj.weight", (4, 3)),
    "anywhere": ("model.lm_head.weight", (3, 5)),
    "part-of-a-word": ("video.batchnorm.weight", (5,)),
    "no-dot": ("pre_q_proj.weight", (3, 4)),
}
"""One name for each rule of the table, and some that only its order tells apart."""


def _streams(clause: str) -> Iterator[Question]:
    for family, (name, start, count) in NAMES.items():
        yield Question(
            family=family,
            clauses=(clause,),
            arguments={"name": name, "start": start, "count": count},
        )


def _weights(dtype: DType) -> Iterator[Question]:
    narrow = ("WS-RECIPE-6",) if dtype != "float32" else ()
    for family, (name, shape) in WEIGHTS.items():
        kind = next(rule[1] for rule in RULES if re.search(rule[0], name))
        rounding = ("WS-RECIPE-5",) if kind == "uniform" else ()
        yield Question(
            family=family,
            clauses=("WS-RECIPE-3", *rounding, *narrow),
            arguments={"name": name, "shape": list(shape), "dtype": dtype},
        )


def _noises(dtype: DType) -> Iterator[Question]:
    if dtype in ("bfloat16", "float16"):
        return
    for family, (seed, unit, modality, shape) in {
        "audio": (0, 0, "audio", (4, 7)),
        "video": (20, 3, "video", (5, 2, 3)),
        "late": (123456789, 100000, "video", (2, 1, 1)),
        # Any integer is a seed; these are not the same in 32 bits.
        "negative": (-7, 5, "audio", (4, 1)),
        "large": (2**40 + 3, 5, "audio", (4, 1)),
    }.items():
        yield Question(
            family=family,
            clauses=("WS-RECIPE-4",),
            arguments={
                "seed": seed,
                "unit": unit,
                "modality": modality,
                "shape": list(shape),
                "dtype": dtype,
            },
        )


def _text_numbers(_: DType) -> Iterator[Question]:
    asked = ((0, 0, 4), (20, 3, 3), (7, 1_000_000, 1), (-7, 5, 2), (2**40 + 3, 5, 2))
    for seed, unit, slots in asked:
        yield Question(
            family=f"{seed}-{unit}",
            clauses=("WS-RECIPE-8",),
            arguments={"seed": seed, "unit": unit, "slots": slots},
        )


def _digests(_: DType) -> Iterator[Question]:
    for family, names in {
        "one": ["a"],
        # By code point: capitals and dots before letters, and ten before two.
        "order": ["layers.2.w", "layers.10.w", "layers.2", "Z", "é", "layers.w"],
        # Where the order of UTF-16 is another.
        "beyond-16-bits": ["\U0001d11e", "\uff71", "z"],
    }.items():
        shapes = [(2, 3), (4,), (1, 1, 2), (1,), (3, 1), (2, 2)]
        tensors = {
            str(i): arrays.uniform(f"math/digest/{i}", shapes[i]).astype(np.float32)
            for i in range(len(names))
        }
        # A zero keeps its sign.
        tensors["0"].reshape(-1)[:2] = (-0.0, 0.0)
        yield Question(
            family=family,
            clauses=("WS-RECIPE-7",),
            arguments={"names": names},
            tensors=tensors,
        )


OPS: Final = (
    Op(name="recipe.words", signature="name, start, count -> words uint64 [count]", formula=words,
       questions=lambda _: _streams("WS-RECIPE-1"), tolerance="A", oracle="analytic",
       per_dtype=False),
    Op(name="recipe.uniform", signature="name, start, count -> values float64 [count]",
       formula=uniforms, questions=lambda _: _streams("WS-RECIPE-2"), tolerance="A",
       oracle="analytic", per_dtype=False),
    Op(name="recipe.gaussian", signature="name, start, count -> values float64 [count]",
       formula=gaussians, questions=lambda _: _streams("WS-RECIPE-4"), tolerance="A",
       oracle="analytic", per_dtype=False),
    Op(name="recipe.weight", signature="name, shape, dtype -> weight [*shape]", formula=weight,
       questions=_weights, tolerance="A", oracle="analytic"),
    Op(name="recipe.noise", signature="seed, unit, modality, shape, dtype -> noise [*shape]",
       formula=noise, questions=_noises, tolerance="A", oracle="analytic"),
    Op(name="recipe.text_numbers", signature="seed, unit, slots -> u float64 [slots]",
       formula=text_numbers, questions=_text_numbers, tolerance="A", oracle="analytic",
       per_dtype=False),
    Op(name="recipe.digest", signature="names; 0, 1, ... float32: the weight of each name, in the"
       " order of names -> sha256 uint8 [32]", formula=digest, questions=_digests, tolerance="A",
       oracle="analytic", per_dtype=False),
)  # fmt: skip
