"""The math profile of the reference: each op by the function of `reference` that implements it.

Integers, bytes and tables stand here, float formulas in `conformance.ports.math_numbers`
(WS-CONFORMANCE-16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from conformance.ports import math_numbers, math_planning, math_training
from conformance.ports.convert import array_of
from conformance.ports.math_layout import layout_of
from conformance.ports.math_numbers import Answer, Arguments, Results, Tensors
from conformance.protocol import Array, DType, MathRequest, Unsupported
from optimized import slice_payload, wire
from reference import (
    byte_text,
    digest,
    kv_cache,
    masks,
    recipe,
    sampling,
    text_queue,
    thinker,
)
from reference.kv_cache import KVEntries
from reference.media import frames, resample, writer
from reference.media.source import Timed
from reference.text_queue import TextQueue
from reference.token_table import COLUMNS, TokenTable
from reference.units import AgentUnit, Latents
from spec import clock, exchange_headers, exchange_terms, layout
from spec import recipe as recipe_names
from spec.exchange_json import from_json
from spec.exchange_terms import Part, Terms
from spec.presets import TINY
from spec.session import SessionConfig
from spec.text import Sampling

TORCH_DTYPE: Final[Mapping[DType, torch.dtype]] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
ALWAYS_WIDE: Final = frozenset({"tau", "grid", "u"})
"""Arrays that are float64 in every session."""


def answer(request: MathRequest) -> Mapping[str, Array]:
    """The results of one formula, in their wire form.

    Raises:
        Unsupported: an op that this version does not know.
    """
    answers: Answer | None = ANSWERS.get(request.op)
    if answers is None:
        raise Unsupported(request.op)
    dtype = TORCH_DTYPE[request.dtype]
    tensors = {}
    for name, array in request.tensors.items():
        tensor = torch.tensor(array)
        narrow = tensor.is_floating_point() and name not in ALWAYS_WIDE
        tensors[name] = tensor.to(dtype) if narrow and request.op not in FLOAT_AS_GIVEN else tensor
    with torch.no_grad():
        results = answers({**request.arguments, "torch_dtype": dtype}, tensors)
    return {name: array_of(value) for name, value in results.items()}


def _indices(a: Arguments) -> tuple[int, Array]:
    span = np.arange(a["start"], a["start"] + a["count"], dtype=np.uint64)
    return recipe_names.stream_id(a["name"]), span


def words(a: Arguments, _: Tensors) -> Results:
    return {"words": torch.from_numpy(recipe.words(*_indices(a)))}


class Named(nn.Module):
    """Parameters under any names, those with dots in them too."""

    def __init__(self, pairs: Sequence[tuple[str, nn.Parameter]]) -> None:
        super().__init__()
        self._pairs = pairs

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(self._pairs)


def weight(a: Arguments, _: Tensors) -> Results:
    """Filled as a parameter of the model is."""
    parameter = nn.Parameter(torch.empty(a["shape"], dtype=a["torch_dtype"]))
    recipe.fill(Named([(a["name"], parameter)]))
    return {"weight": parameter}


def weights_digest(a: Arguments, t: Tensors) -> Results:
    parameters = [nn.Parameter(x, requires_grad=False) for x in t.values()]
    pairs = list(zip(a["names"], parameters, strict=True))
    return {"sha256": _hex(recipe.weights_sha256(Named(pairs)))}


def _hex(text: str) -> Tensor:
    return _octets(bytes.fromhex(text))


def _octets(data: bytes) -> Tensor:
    return torch.tensor(list(data), dtype=torch.uint8)


def _ints(values: Sequence[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def times(_: Arguments, t: Tensors) -> Results:
    units = t["units"].tolist()
    return {
        "start_ns": _ints([clock.unit_start_ns(k) for k in units]),
        "available_ns": _ints([clock.unit_available_ns(k) for k in units]),
    }


def covering(_: Arguments, t: Tensors) -> Results:
    return {"units": _ints([clock.units_covering_ns(n) for n in t["durations_ns"].tolist()])}


def rows(a: Arguments, _: Tensors) -> Results:
    plan = layout_of(a)
    found = [*layout.prefill_rows(plan)]
    for k, typed in enumerate(a["user_tokens"]):
        found += layout.observation_rows(plan, k, typed)
        found += layout.language_rows(plan, k)
        found += layout.response_rows(plan, k)
        for step, tau in enumerate(a["noisy_tau"]):
            found += layout.response_rows(plan, k, noisy=True, step=step, tau=tau)
    table = TokenTable.of(found)
    cells = table.cells
    return {
        "kind": cells[:, :4], "position": cells[:, 4:7], "state": cells[:, 7:], "tau": table.tau,
    }  # fmt: skip


def _table(cells: Tensor) -> TokenTable:
    return TokenTable(cells, torch.zeros(len(cells), dtype=torch.float64))


def mask(a: Arguments, t: Tensors) -> Results:
    seen = masks.dense_mask(_table(t["queries"]), _table(t["keys"]), a["lag"])
    return {"mask": seen.long()}


def _sampling(a: Arguments) -> Sampling:
    return Sampling(temperature=a["temperature"], top_k=a["top_k"], top_p=a["top_p"])


def candidates(a: Arguments, t: Tensors) -> Results:
    ids, p = sampling.candidates(t["logits"], _sampling(a))
    return {"ids": ids, "p": p}


def draw(a: Arguments, t: Tensors) -> Results:
    return {"ids": _ints([sampling.draw(t["logits"], _sampling(a), u) for u in t["u"].tolist()])}


def next_token(a: Arguments, t: Tensors) -> Results:
    config = SessionConfig(preset=TINY, schedule="overlapped", sampling=_sampling(a))
    return {"ids": _ints([thinker.next_token(config, a["said"], t["logits"], t["u"])])}


def queue(a: Arguments, _: Tensors) -> Results:
    preset = attrs.evolve(TINY, user_text_slots=a["slots"])
    config, state, units = SessionConfig(preset=preset, schedule="overlapped"), TextQueue(), []
    for bursts in a["bursts"]:
        for burst in bursts:
            state = text_queue.typed(config, state, burst)
        ids, state = text_queue.next_unit(config, state)
        units.append([*ids, *[-1] * (a["slots"] - len(ids))])
    return {"units": _ints(units).reshape(-1, a["slots"]), "waiting": _ints(state.waiting)}


def kv_digest(a: Arguments, t: Tensors) -> Results:
    rows = t["rows"]
    clean = torch.zeros(len(rows), len(COLUMNS) - rows.shape[1], dtype=torch.int64)
    cache = KVEntries(_table(torch.cat((rows, clean), dim=1)), t["keys"], t["values"])
    return {"sha256": _hex(kv_cache.digest(cache, a["up_to_unit"]))}


def output_digest(a: Arguments, t: Tensors) -> Results:
    sha, nothing = digest.OutputDigest(), Latents(audio=None, video=None)
    for k, text in enumerate(a["text"]):
        sha.update(
            AgentUnit(
                unit=k,
                text=tuple(text),
                logits=torch.zeros(0),
                latents=nothing,
                audio=t["audio"][k] if "audio" in t else None,
                video=t["video"][k] if "video" in t else None,
            )
        )
    return {"sha256": _hex(sha.hexdigest())}


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _bits(tensor: Tensor) -> Array:
    """As numpy has it; bfloat16, which it has not, as 16 bits."""
    found: Array = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def packed_slice(a: Arguments, t: Tensors) -> Results:
    part = slice(*a["layers"]), slice(*a["heads"])
    k, v = (_bits(t[name][part]) for name in ("keys", "values"))
    payload = slice_payload.pack_slice(t["rows"].numpy(), k, v, _named(a["torch_dtype"]))
    return {"payload": _octets(payload)}


def packed_latents(a: Arguments, t: Tensors) -> Results:
    audio, video = (_bits(t[name]) if name in t else None for name in ("audio", "video"))
    return {"payload": _octets(slice_payload.pack_latents(audio, video, _named(a["torch_dtype"])))}


def slice_digest(a: Arguments, _: Tensors) -> Results:
    parts = [Part(tuple(p["layers"]), tuple(p["heads"]), p["digest"]) for p in a["parts"]]
    return {"sha256": _hex(exchange_terms.slice_digest(parts))}


def header(a: Arguments, _: Tensors) -> Results:
    tokens = a["tokens"]
    terms = Terms(
        session="math",
        schedule=a["schedule"],
        window=1 if a["schedule"] == "sequential" else 2,
        layers=a["layers"][1],
        kv_heads=a["heads"][1],
        head_dim=a["head_dim"],
        dtype=a["dtype"],
        prefill_tokens=tokens["P"],
        observation_tokens=tokens["O"],
        language_tokens=tokens["L"],
        response_tokens=tokens["Z"],
        latent_values=0,
    )
    part = Part(tuple(a["layers"]), tuple(a["heads"]), hashlib.sha256().hexdigest())
    found = exchange_headers.slice_header(terms, 0, a["unit"], a["snapshot"], part)
    return {
        "segments": _ints([("POLZ".index(name), count) for name, count in found.segments]),
        "lengths": _ints([found.token_count, found.kv_len_before, found.kv_len_after]),
        "byte_count": torch.tensor(found.byte_count),
    }


def line(a: Arguments, _: Tensors) -> Results:
    return {"line": _octets(wire.encode(from_json(a["message"])))}


def shown(_: Arguments, t: Tensors) -> Results:
    starts, ends = t["start_ns"].tolist(), t["end_ns"].tolist()

    def source() -> Iterator[Timed[int]]:
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            yield Timed(start_ns=start, end_ns=end, data=i)

    return {"frames": _ints([-1 if i is None else i for i in frames.hold(source())])}


def fitted_size(a: Arguments, _: Tensors) -> Results:
    shape = a["width"], a["height"], Fraction(*a["aspect"]), a["frame_width"], a["frame_height"]
    return {"size": _ints(frames.fitted_size(*shape))}


def resampled(a: Arguments, t: Tensors) -> Results:
    state, parts = resample.start(a["rate"]), []
    for piece in torch.split(t["x"], list(a["plan"]) or len(t["x"])):
        y, state = resample.resample(piece.numpy(), state)
        parts.append(y)
    return {"y": torch.from_numpy(np.concatenate(parts))}


def to_pixels(_: Arguments, t: Tensors) -> Results:
    return {"pixels": torch.from_numpy(writer.to_pixels(t["video"]))}


FLOAT_AS_GIVEN: Final = frozenset(
    {"recipe.digest", "media.to_pixels", "media.to_samples", "media.resample"}
)
"""Ops whose arrays do not take the dtype of a session."""

ANSWERS: Final[Mapping[str, Answer]] = {
    "recipe.words": words,
    "recipe.uniform": lambda a, _: {"values": torch.from_numpy(recipe.uniform(*_indices(a)))},
    "recipe.gaussian": lambda a, _: {"values": torch.from_numpy(recipe.gaussian(*_indices(a)))},
    "recipe.weight": weight,
    "recipe.noise": lambda a, _: {
        "noise": recipe.noise(
            a["seed"], a["unit"], a["modality"], tuple(a["shape"]), a["torch_dtype"]
        )
    },
    "recipe.text_numbers": lambda a, _: {
        "u": recipe.text_numbers(a["seed"], a["unit"], a["slots"])
    },
    "recipe.digest": weights_digest,
    "clock.times": times,
    "clock.units_covering": covering,
    "layout.rows": rows,
    "visibility.mask": mask,
    "text.greedy": lambda _, t: {"ids": _ints([thinker.greedy(row) for row in t["logits"]])},
    "text.candidates": candidates,
    "text.draw": draw,
    "text.next": next_token,
    "text.queue": queue,
    "text.encode": lambda a, _: {"ids": _ints(byte_text.encode(a["text"]))},
    "text.decode": lambda a, _: {"utf8": _octets(byte_text.decode(a["ids"]).encode())},
    "streaming.kv_digest": kv_digest,
    "streaming.output_digest": output_digest,
    "exchange.slice_payload": packed_slice,
    "exchange.latents_payload": packed_latents,
    "exchange.slice_digest": slice_digest,
    "exchange.header": header,
    "exchange.line": line,
    "media.to_signal": lambda _, t: {"video": frames.to_signal(t["pixels"].byte().numpy())},
    "media.to_pixels": to_pixels,
    "media.to_samples": lambda _, t: {
        "samples": torch.from_numpy(writer.to_samples(t["audio"])[0])
    },
    "media.shown": shown,
    "media.fitted_size": fitted_size,
    "media.resample": resampled,
    **math_numbers.ANSWERS,
    **math_planning.ANSWERS,
    **math_training.ANSWERS,
}
