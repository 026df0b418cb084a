"""The integer recipe: weights and noise that are the same numbers on every machine.

Counter-based splitmix64 words, keyed by a name, turned into floats by exact arithmetic only
(integers, one division, one square root, one rounding to float32), so any language reproduces
every bit (WS-RECIPE-1). The pure-Python form below is the definition; `reference.recipe` is its
array form. Source: CHOICE (design §7, §12).
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Final, Literal

import attrs

MASK64: Final = (1 << 64) - 1
GOLDEN: Final = 0x9E3779B97F4A7C15

Kind = Literal["uniform", "offset"]


def stream_id(name: str) -> int:
    """Key of the stream called ``name``: first 8 bytes, little-endian, of its SHA-256
    (WS-RECIPE-1)."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "little")


def word(stream: int, counter: int) -> int:
    """The 64-bit word number ``counter`` of a stream: splitmix64's output function
    (WS-RECIPE-1)."""
    z = (stream + (counter + 1) * GOLDEN) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def uniform(stream: int, index: int) -> float:
    """Element ``index`` in (-1, 1): an odd 25-bit integer over 2**24, exact (WS-RECIPE-2)."""
    top24 = word(stream, index) >> 40
    return (2 * top24 + 1 - (1 << 24)) / (1 << 24)


def fraction(stream: int, index: int) -> float:
    """Element ``index`` in [0, 1): a 53-bit integer over 2**53, exact in binary64
    (WS-RECIPE-8)."""
    return (word(stream, index) >> 11) / (1 << 53)


def gaussian(stream: int, index: int) -> float:
    """Element ``index`` of a unit Gaussian to 12 lanes: the sum of twelve 16-bit lanes of three
    words, less its mean, over 2**16 (Irwin-Hall, variance 1 - 2**-32), exact (WS-RECIPE-4)."""
    total = 0
    for j in range(3):
        w = word(stream, 3 * index + j)
        total += sum((w >> shift) & 0xFFFF for shift in (0, 16, 32, 48))
    # Twelve lanes of mean (2**16 - 1) / 2 each.
    return (total - 6 * 0xFFFF) / (1 << 16)


@attrs.frozen(kw_only=True)
class Rule:
    """How tensors whose name matches ``pattern`` are filled (WS-RECIPE-3).

    ``uniform``: bound x u with bound = gain x sqrt(3 / fan_in), so the variance is
    gain^2 / fan_in. ``offset``: center + gain x u.
    """

    pattern: str
    kind: Kind
    gain: float
    center: float = 0.0


RULES: Final[tuple[Rule, ...]] = (
    Rule(pattern=r"latent_std$", kind="offset", gain=0.25, center=1.0),
    Rule(pattern=r"latent_mean$", kind="offset", gain=0.25),
    # Sharp queries and keys: near-uniform attention would hide mask and position errors.
    Rule(pattern=r"\.(q_norm|k_norm)\.weight$", kind="offset", gain=0.25, center=1.5),
    Rule(pattern=r"norm[0-9]*\.weight$", kind="offset", gain=0.25, center=1.0),
    Rule(pattern=r"\.bias$", kind="offset", gain=0.125),
    Rule(pattern=r"segment_embedding$", kind="offset", gain=0.5),
    Rule(pattern=r"(embedding|embed_tokens\.weight)$", kind="offset", gain=1.5),
    Rule(pattern=r"lm_head\.weight$", kind="uniform", gain=4.0),
    Rule(pattern=r"\.(q_proj|k_proj)\.weight$", kind="uniform", gain=1.5),
    # A codec's output stays inside [-1, 1] almost everywhere, where no container clips it.
    Rule(pattern=r"decoder\.head\.weight$", kind="uniform", gain=0.5),
    Rule(pattern=r"velocity_head\.weight$", kind="uniform", gain=1.0),
    Rule(pattern=r"weight$", kind="uniform", gain=1.0),
)
"""The first rule whose pattern is found in a tensor's name fills it (WS-RECIPE-3)."""


def rule_for(name: str) -> Rule:
    """The rule that fills the tensor called ``name`` (WS-RECIPE-3)."""
    for rule in RULES:
        if re.search(rule.pattern, name):
            return rule
    raise AssertionError(f"no recipe rule for tensor {name}")


def bound(rule: Rule, shape: tuple[int, ...]) -> float:
    """The factor of u for a tensor of ``shape`` (WS-RECIPE-3). fan_in = elements / shape[0]."""
    if rule.kind == "offset":
        return rule.gain
    fan_in = math.prod(shape[1:])
    return rule.gain * math.sqrt(3.0 / fan_in)


def weight(name: str, shape: tuple[int, ...], index: int) -> float:
    """Element ``index`` (row-major) of the weight called ``name``, before the one rounding to
    float32 (WS-RECIPE-3)."""
    rule = rule_for(name)
    return rule.center + bound(rule, shape) * uniform(stream_id("weights/" + name), index)


def noise(seed: int, unit: int, modality: str, index: int) -> float:
    """Element ``index`` (row-major) of the noise ε of one unit and modality ("audio", "video")
    (WS-RECIPE-4)."""
    return gaussian(stream_id(f"noise/{seed}/{unit}/{modality}"), index)


def text_number(seed: int, unit: int, slot: int) -> float:
    """The number in [0, 1) that chooses the token of an agent text slot (WS-RECIPE-8)."""
    return fraction(stream_id(f"text/{seed}/{unit}"), slot)
