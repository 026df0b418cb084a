"""The integer recipe of `spec.recipe` over numpy arrays, for the suite's own inputs."""

from __future__ import annotations

from math import prod

import numpy as np

from conformance.protocol import Array
from spec import recipe


def words(name: str, start: int, count: int) -> Array:
    """Words ``start`` … of the stream called ``name``, uint64 [count] (WS-RECIPE-1)."""
    with np.errstate(over="ignore"):
        n = np.arange(start + 1, start + count + 1, dtype=np.uint64)
        z = np.uint64(recipe.stream_id(name)) + n * np.uint64(recipe.GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def uniform(name: str, shape: tuple[int, ...]) -> Array:
    """`spec.recipe.uniform` for every element, float64 (WS-RECIPE-2)."""
    top24 = (words(name, 0, prod(shape)) >> np.uint64(40)).astype(np.int64)
    return np.asarray((2 * top24 + 1 - (1 << 24)) / (1 << 24)).reshape(shape)


def fraction(name: str, shape: tuple[int, ...]) -> Array:
    """`spec.recipe.fraction` for every element, float64 in [0, 1) (WS-RECIPE-8)."""
    top53 = (words(name, 0, prod(shape)) >> np.uint64(11)).astype(np.float64)
    return np.asarray(top53 / float(1 << 53)).reshape(shape)


def gaussian(name: str, shape: tuple[int, ...]) -> Array:
    """`spec.recipe.gaussian` for every element, float64 (WS-RECIPE-4)."""
    w = words(name, 0, 3 * prod(shape)).reshape(-1, 3, 1)
    lanes = (w >> np.array([0, 16, 32, 48], dtype=np.uint64)) & np.uint64(0xFFFF)
    total = lanes.astype(np.int64).sum(axis=(1, 2))
    return np.asarray((total - 6 * 0xFFFF) / (1 << 16)).reshape(shape)


def noise(seed: int, unit: int, modality: str, shape: tuple[int, ...]) -> Array:
    """`spec.recipe.noise` for every element, float64 (WS-RECIPE-4)."""
    return gaussian(f"noise/{seed}/{unit}/{modality}", shape)
