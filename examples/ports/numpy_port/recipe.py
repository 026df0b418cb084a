"""Weights by name: the integer recipe (WS-RECIPE-1, -2, -3, -5) and its digest (WS-RECIPE-7)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]

RULES: tuple[tuple[str, str, float, float], ...] = (
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
"""(pattern, kind, gain, center): the first that is found in a name applies."""


def words(name: str, count: int) -> NDArray[np.uint64]:
    """The first words of a stream; numpy's unsigned integers wrap as the recipe asks."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    n = np.arange(1, count + 1, dtype=np.uint64)
    z = np.uint64(key) + n * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


asked: dict[str, Shape] = {}
"""Names and shapes of all weights that were asked for since this was cleared."""


def weight(name: str, shape: Shape) -> NDArray[np.float32]:
    """The weight called ``name``; one array for all who ask for it, and not to be written to."""
    asked[name] = shape
    return _weight(name, shape)


@cache
def _weight(name: str, shape: Shape) -> NDArray[np.float32]:
    """In float64, rounded once to float32."""
    top = (words(f"weights/{name}", math.prod(shape)) >> np.uint64(40)).astype(np.int64)
    u = (2 * top + 1 - 2**24) / 2.0**24
    _, kind, gain, center = next(rule for rule in RULES if re.search(rule[0], name))
    bound = gain * math.sqrt(3.0 / math.prod(shape[1:])) if kind == "uniform" else gain
    values = np.asarray(center + bound * u, np.float32).reshape(shape)
    values.flags.writeable = False
    return values


def digest(shapes: Mapping[str, Shape]) -> str:
    """SHA-256 over the weights of these names and shapes."""
    total = hashlib.sha256()
    for name, shape in sorted(shapes.items()):
        total.update(f"{name}\n{','.join(map(str, shape))}\n".encode())
        total.update(_weight(name, shape).astype("<f4").tobytes())
    return total.hexdigest()
