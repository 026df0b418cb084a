"""Formulas that are wrong at the edges of their domain: seeds, texts, scores, zeros and places."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.math_port import MathPort, wrong
from conformance.mutants.patching import Mutant
from conformance.protocol import MathRequest
from optimized import wire
from reference import (
    attention,
    byte_text,
    kv_cache,
    log_mel,
    recipe,
    sampling,
    schedules,
    thinker,
)

CANDIDATES = sampling.candidates
NOISE = recipe.noise
TEXT_NUMBERS = recipe.text_numbers
ENCODE = byte_text.encode
DIGEST = kv_cache.digest
DECLARED = schedules.declared
LOG_MEL = log_mel.log_mel
LINE = wire.encode
NEXT = thinker.next_token


def without_largest(logits: Tensor, rule: Any) -> Any:
    """exp(logit / T) itself: where none is a number, the first is certain."""
    wide = torch.exp(logits.double() / rule.temperature)
    if bool(torch.isfinite(wide).all()) and float(wide.sum()):
        return CANDIDATES(logits, rule)
    return CANDIDATES(logits, attrs.evolve(rule, top_k=1))


def almost_greedy(logits: Tensor, rule: Any) -> Any:
    """A temperature below 1e-5 is 0."""
    return CANDIDATES(logits, attrs.evolve(rule, top_k=1) if rule.temperature < 1e-5 else rule)


def by_signed_zero(logits: Tensor, rule: Any) -> Any:
    """Of two zeros the negative one is less."""
    ids, p = CANDIDATES(logits, rule)
    of = logits.tolist()
    order = sorted(
        range(len(ids)),
        key=lambda i: (-of[int(ids[i])], math.copysign(1.0, of[int(ids[i])]) < 0, int(ids[i])),
    )
    return ids[order], p[order]


def held_for_two_slots(config: Any, said: Sequence[int], logits: Tensor, uniform: Any) -> int:
    """<eos> is looked for in the two slots before."""
    return NEXT(config, said[-2:], logits, uniform)


def in_32_bits(seed: int) -> int:
    return (seed + 2**31) % 2**32 - 2**31


def composed(words: str) -> tuple[int, ...]:
    return ENCODE(unicodedata.normalize("NFC", words))


def one_line_end(words: str) -> tuple[int, ...]:
    return ENCODE(words.replace("\r\n", "\n"))


def trimmed(words: str) -> tuple[int, ...]:
    return ENCODE(words.rstrip())


def added_mask(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Hidden keys have 10,000 taken from their scores."""
    served = len(q) // len(k)
    keys, values = (x.repeat_interleave(served, dim=0) for x in (k, v))
    scores = q @ keys.transpose(-1, -2) / math.sqrt(q.shape[-1])
    hidden = torch.where(mask, 0.0, -1e4).to(scores.dtype)
    return torch.softmax(scores + hidden, dim=-1) @ values


def not_above(grid: tuple[float, ...]) -> tuple[float, ...]:
    """No value is above the one before: what is no number never is."""
    rises = any(later >= earlier for earlier, later in pairwise(grid))
    if len(grid) > 1 and grid[0] == 1.0 and grid[-1] == 0.0 and not rises:
        return grid
    return DECLARED(grid)


def short_memory(x: Tensor, state: Tensor, sizes: Any) -> Any:
    """A chunk that is shorter than the state puts zeros before itself."""
    features, last = LOG_MEL(x, state, sizes)
    missing = last.shape[1] - x.shape[1]
    if missing > 0:
        last = last.clone()
        last[:, :missing] = 0
    return features, last


def for_web_pages(message: Any, payload: bytes = b"") -> bytes:
    """What a page would read as a tag is escaped."""
    text = LINE(message)[65:-1]
    for letter in b"<>&":
        text = text.replace(bytes((letter,)), b"\\u%04x" % letter)
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n" + payload


def unsigned_zeros(cache: Any, up_to_unit: int) -> str:
    """Zeros lose their sign."""
    return str(DIGEST(attrs.evolve(cache, k=cache.k + 0.0, v=cache.v + 0.0), up_to_unit))


class Asked(MathPort):
    """A port that takes requests for some ops for others."""

    def __init__(self, name: str, ops: Sequence[str], taken: Callable[[MathRequest], Any]) -> None:
        super().__init__(name, ())
        self._ops, self._taken = ops, taken

    def math(self, request: MathRequest) -> Any:
        return super().math(self._taken(request) if request.op in self._ops else request)


def with_tensors(request: MathRequest, **changed: Any) -> MathRequest:
    return attrs.evolve(request, tensors={**request.tensors, **changed})


def narrow_positions(request: MathRequest) -> MathRequest:
    """Positions are kept in 16 bits."""
    narrow = request.tensors["positions"].astype(np.int16).astype(np.int64)
    return with_tensors(request, positions=narrow)


def float_rows(request: MathRequest) -> MathRequest:
    """Positions pass through float32."""
    rows = request.tensors["rows"].copy()
    rows[:, 4:7] = rows[:, 4:7].astype(np.float32).astype(np.int64)
    return with_tensors(request, rows=rows)


def narrow_units(request: MathRequest) -> MathRequest:
    """Units are compared in 16 bits."""

    def narrow(rows: Any) -> Any:
        units = rows[:, :1].astype(np.int16).astype(np.int64)
        return np.concatenate((units, rows[:, 1:]), axis=1)

    return with_tensors(request, **{n: narrow(request.tensors[n]) for n in ("queries", "keys")})


def first_of_alike(request: MathRequest) -> MathRequest:
    """Of noisy copies of one τ all are the first."""
    taus = request.arguments["noisy_tau"]
    return attrs.evolve(
        request, arguments={**request.arguments, "noisy_tau": list(dict.fromkeys(taus))}
    )


def asked(
    name: str, clause: str, ops: Sequence[str], taken: Callable[[MathRequest], MathRequest]
) -> Mutant:
    """A mutant that takes a request for another."""
    return Mutant(
        name=f"math-{name}",
        clause=clause,
        description=str(taken.__doc__),
        factory=lambda: Asked(f"math-{name}", ops, taken),
    )


MUTANTS: Final = (
    wrong("softmax-overflows", "WS-TEXT-2", str(without_largest.__doc__),
          (sampling, "candidates", without_largest)),
    wrong("almost-greedy", "WS-TEXT-2", str(almost_greedy.__doc__),
          (sampling, "candidates", almost_greedy)),
    wrong("zeros-in-order", "WS-TEXT-2", str(by_signed_zero.__doc__),
          (sampling, "candidates", by_signed_zero)),
    wrong("held-for-two-slots", "WS-TEXT-6", str(held_for_two_slots.__doc__),
          (thinker, "next_token", held_for_two_slots)),
    wrong("noise-seed-of-32-bits", "WS-RECIPE-4", "seeds are cut to 32 bits",
          (recipe, "noise", lambda seed, *rest: NOISE(in_32_bits(seed), *rest))),
    wrong("text-seed-unsigned", "WS-RECIPE-8", "negative seeds are those of 64 unsigned bits",
          (recipe, "text_numbers", lambda seed, *rest: TEXT_NUMBERS(seed % 2**64, *rest))),
    wrong("text-composed", "WS-PRESETS-4", "letters in two parts are put together",
          (byte_text, "encode", composed)),
    wrong("one-line-end", "WS-PRESETS-4", "two bytes of a line end become one",
          (byte_text, "encode", one_line_end)),
    wrong("text-trimmed", "WS-PRESETS-4", "blanks at the end are left out",
          (byte_text, "encode", trimmed)),
    wrong("mask-added", "WS-BACKBONE-4", str(added_mask.__doc__),
          (attention, "attend", added_mask)),
    wrong("grid-of-no-number", "WS-FLOW-8", str(not_above.__doc__),
          (schedules, "declared", not_above)),
    wrong("spectrogram-short-memory", "WS-ENCODER-2", str(short_memory.__doc__),
          (log_mel, "log_mel", short_memory)),
    wrong("line-for-web-pages", "WS-EXCHANGE-14", str(for_web_pages.__doc__),
          (wire, "encode", for_web_pages)),
    wrong("kv-digest-unsigned-zeros", "WS-STREAMING-6", str(unsigned_zeros.__doc__),
          (kv_cache, "digest", unsigned_zeros)),
    asked("attention-at-16-bits", "WS-BACKBONE-3", ("backbone.attention",), narrow_positions),
    asked("backbone-at-float32", "WS-BACKBONE-1", ("backbone.run",), float_rows),
    asked("mask-of-16-bits", "WS-VISIBILITY-1", ("visibility.mask",), narrow_units),
    asked("noisy-by-tau", "WS-LAYOUT-6", ("layout.rows",), first_of_alike),
)  # fmt: skip
