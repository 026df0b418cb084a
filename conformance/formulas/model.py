"""Ops of the ways into the Transformer and the heads out of it (WS-CONFORMANCE-16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from conformance.formulas.case import Arguments, Op, Question, Tensors, drawn, linear, silu, summed
from conformance.formulas.codec import patchify, unpatchify
from conformance.formulas.flow import features
from conformance.protocol import Array, DType

ROWS: Final = (
    "P text", "O video", "O audio", "O text", "L state", "L text", "Z audio", "Z video",
)  # fmt: skip
"""Rows of the segment embedding (WS-MODEL-2)."""


def _tau(a: Arguments, t: Tensors, tau: Array) -> Array:
    f = features(tau, a["tau_dim"], a).astype(t["segment_embedding"].dtype)
    inner = linear(f, t["tau_embedding.in_proj.weight"], t["tau_embedding.in_proj.bias"])
    return linear(silu(inner), t["tau_embedding.out_proj.weight"], t["tau_embedding.out_proj.bias"])


def _projected(t: Tensors, name: str, x: Array) -> Array:
    return linear(x, t[f"{name}_proj.weight"], t[f"{name}_proj.bias"])


def _observation(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """Video, audio, text of O, projected or looked up, each with its segment's row
    (WS-MODEL-2)."""
    segment, parts = t["segment_embedding"], []
    if "video" in t:
        parts.append(_projected(t, "user_video", t["video"]) + segment[ROWS.index("O video")])
    if "audio" in t:
        parts.append(_projected(t, "user_audio", t["audio"]) + segment[ROWS.index("O audio")])
    parts.append(t["embed_tokens.weight"][a["text"]] + segment[ROWS.index("O text")])
    return {"x": np.concatenate(parts)}


def _language(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """State slots, agent text and prefill text (WS-MODEL-2)."""
    segment, table = t["segment_embedding"], t["embed_tokens.weight"]
    return {
        "state": t["state_embedding"] + segment[ROWS.index("L state")],
        "text": table[a["text"]] + segment[ROWS.index("L text")],
        "prefill": table[a["prefill"]] + segment[ROWS.index("P text")],
    }


def _tokens(a: Arguments, z: Array) -> Array:
    return patchify(a, {"z": z})["tokens"].value


def _response(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """Audio, then video tokens: projection + segment row + τ embedding (WS-MODEL-3)."""
    segment = t["segment_embedding"]
    audio = _projected(t, "audio_latent", t["audio"]) + segment[ROWS.index("Z audio")]
    video = _projected(t, "video_latent", _tokens(a, t["video"])) + segment[ROWS.index("Z video")]
    return {"x": np.concatenate((audio, video)) + _tau(a, t, t["tau"])}


def _identity(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """Picture and voice as clean response tokens with rows of their own (WS-PREFILL-4)."""
    picture, voice = t["identity_segment_embedding"]
    x = np.concatenate(
        (
            _projected(t, "video_latent", _tokens(a, t["video"])) + picture,
            _projected(t, "audio_latent", t["audio"]) + voice,
        )
    )
    return {"x": x + _tau(a, t, np.zeros(len(x)))}


def _heads(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    """Velocity of the audio rows, then of the video rows, unpatched (WS-MODEL-5)."""
    hidden, n = t["hidden"], a["audio_tokens"]
    tokens = linear(hidden[n:], t["video_velocity_head.weight"], t["video_velocity_head.bias"])
    return {
        "audio": linear(hidden[:n], t["audio_velocity_head.weight"], t["audio_velocity_head.bias"]),
        "video": unpatchify(a, {"tokens": tokens})["z"].value,
    }


def _logits(_: Arguments, t: Tensors) -> Mapping[str, Array]:
    """Language head without bias (WS-MODEL-4)."""
    return {"logits": linear(t["hidden"], t["lm_head.weight"])}


D: Final = 11
CHANNELS: Final = {"audio": 7, "video": 5}
PATCH: Final = {"patch": 3, "patch_rows": 1}
TAU_DIM: Final = 6
VOCABULARY: Final = 263


def _drawn(name: str, dtype: DType, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """Weights and signals; in a name, "__" stands for a dot."""
    named = {key.replace("__", "."): shape for key, shape in shapes.items()}
    return {key: drawn(f"model/{name}/{key}", s, dtype, 1.5) for key, s in named.items()}


def _layer(name: str, out: int, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}__weight": (out, width), f"{name}__bias": (out,)}


def _observations(dtype: DType) -> Iterator[Question]:
    shapes: dict[str, tuple[int, ...]] = {
        "segment_embedding": (8, D),
        "embed_tokens__weight": (VOCABULARY, D),
        **_layer("user_video_proj", D, 10),
        **_layer("user_audio_proj", D, 6),
    }
    for family, signals in {
        "all": {"video": (3, 10), "audio": (4, 6)},
        "audio": {"audio": (4, 6)},
        "text": {},
    }.items():
        yield Question(
            family=family,
            clauses=("WS-MODEL-2",),
            arguments={"text": [5, 262, 0]},
            tensors=_drawn("observation", dtype, **shapes, **signals),
        )


def _languages(dtype: DType) -> Iterator[Question]:
    tensors = _drawn(
        "language", dtype, segment_embedding=(8, D), embed_tokens__weight=(VOCABULARY, D),
        state_embedding=(2, D),
    )  # fmt: skip
    arguments = {"text": [258, 7], "prefill": [256, 72, 105]}
    yield Question(family="odd", clauses=("WS-MODEL-2",), arguments=arguments, tensors=tensors)


def _responses(dtype: DType) -> Iterator[Question]:
    features_of_patch = CHANNELS["video"] * PATCH["patch"] ** 2
    shapes: dict[str, tuple[int, ...]] = {
        "segment_embedding": (8, D),
        "identity_segment_embedding": (2, D),
        **_layer("audio_latent_proj", D, CHANNELS["audio"]),
        **_layer("video_latent_proj", D, features_of_patch),
        **_layer("tau_embedding__in_proj", D, TAU_DIM),
        **_layer("tau_embedding__out_proj", D, D),
        "audio": (4, CHANNELS["audio"]),
        "video": (CHANNELS["video"], 3, 6),
    }
    tensors = _drawn("response", dtype, **shapes)
    arguments: dict[str, Any] = {**PATCH, "tau_dim": TAU_DIM}
    each = np.array([1.0, 0.9, 0.04, 0.5, 0.0, 1 / 3])
    for family, tau in (("noisy", 2 / 3), ("clean", 0.0), ("noise", 1.0), ("own-tau", each)):
        yield Question(
            family=family,
            clauses=("WS-MODEL-3",),
            arguments={**arguments, "segment": "Z"},
            tensors={**tensors, "tau": np.broadcast_to(tau, 6).copy()},
        )
    yield Question(
        family="identity",
        clauses=("WS-PREFILL-4",),
        arguments={**arguments, "segment": "P"},
        tensors=tensors,
    )


def _velocities(dtype: DType) -> Iterator[Question]:
    for n in (4, 0):
        yield Question(
            family=f"{n}-audio-tokens",
            clauses=("WS-MODEL-5",),
            arguments={**PATCH, "audio_tokens": n},
            tensors=_drawn(
                "velocity", dtype, hidden=(n + 2, D),
                **_layer("audio_velocity_head", CHANNELS["audio"], D),
                **_layer("video_velocity_head", CHANNELS["video"] * PATCH["patch"] ** 2, D),
            ),
        )  # fmt: skip


def _logit_questions(dtype: DType) -> Iterator[Question]:
    tensors = _drawn("logits", dtype, hidden=(3, D), lm_head__weight=(VOCABULARY, D))
    yield Question(family="odd", clauses=("WS-MODEL-4",), tensors=tensors)


def _embedded(a: Arguments, t: Tensors) -> Mapping[str, Array]:
    return _response(a, t) if a["segment"] == "Z" else _identity(a, t)


OPS: Final = (
    Op(name="model.embed_observation", signature="text [ids]; video [n, features], audio [4,"
       " features], each may be absent, segment_embedding [8, d], embed_tokens.weight [263, d],"
       " user_video_proj, user_audio_proj .weight, .bias -> x [tokens, d]",
       formula=summed(_observation), questions=_observations, tolerance="C", oracle="float64"),
    Op(name="model.embed_language", signature="text, prefill [ids]; segment_embedding [8, d],"
       " embed_tokens.weight [263, d], state_embedding [s, d] -> state, text, prefill [n, d]",
       formula=summed(_language), questions=_languages, tolerance="C", oracle="float64"),
    Op(name="model.embed_response", signature="segment Z or P (identity), patch, patch_rows,"
       " tau_dim; audio [4, C_a], video [C_v, rows, cols], tau float64 [n] (Z only),"
       " segment_embedding [8, d], identity_segment_embedding [2, d], audio_latent_proj,"
       " video_latent_proj, tau_embedding.in_proj, tau_embedding.out_proj .weight, .bias ->"
       " x [n, d], audio first in Z, video first in P",
       formula=summed(_embedded, keep=("tau",), angular=True), questions=_responses,
       tolerance="C", oracle="float64"),
    Op(name="model.velocity", signature="audio_tokens, patch, patch_rows; hidden [n, d],"
       " audio_velocity_head, video_velocity_head .weight, .bias -> audio [audio_tokens, C_a],"
       " video [C_v, rows, cols]", formula=summed(_heads), questions=_velocities, tolerance="C",
       oracle="float64"),
    Op(name="model.logits", signature="hidden [n, d], lm_head.weight [vocab, d] -> logits"
       " [n, vocab]", formula=summed(_logits), questions=_logit_questions, tolerance="C",
       oracle="float64"),
)  # fmt: skip
