"""The array form of `spec.recipe`: the same bits, many elements at a time.

numpy's uint64 wraps modulo 2**64 as the recipe asks; torch has no such type. Products and sums are
separate operations, each rounded once: no fused multiply-add (WS-RECIPE-5).
Source: design §12 (CHOICE).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from spec import recipe

Counters = NDArray[np.uint64]


def words(stream: int, counters: Counters) -> Counters:
    """The 64-bit words of a stream at ``counters`` (WS-RECIPE-1)."""
    z = np.uint64(stream) + (counters + np.uint64(1)) * np.uint64(recipe.GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(stream: int, indices: Counters) -> NDArray[np.float64]:
    """Elements at ``indices`` in (-1, 1), exact (WS-RECIPE-2)."""
    top24 = (words(stream, indices) >> np.uint64(40)).astype(np.int64)
    return (2 * top24 + 1 - (1 << 24)) / float(1 << 24)


def fraction(stream: int, indices: Counters) -> NDArray[np.float64]:
    """Elements at ``indices`` in [0, 1), exact in float64 (WS-RECIPE-8)."""
    return (words(stream, indices) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def gaussian(stream: int, indices: Counters) -> NDArray[np.float64]:
    """Elements at ``indices`` of a unit Gaussian to 12 lanes, exact (WS-RECIPE-4)."""
    total = np.zeros(indices.shape, dtype=np.int64)
    for j in range(3):
        w = words(stream, np.uint64(3) * indices + np.uint64(j))
        for shift in (0, 16, 32, 48):
            total += ((w >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return (total - 6 * 0xFFFF) / float(1 << 16)


def weight(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The weight called ``name``: center + bound · u, rounded once to float32 (WS-RECIPE-3)."""
    rule = recipe.rule_for(name)
    stream = recipe.stream_id("weights/" + name)
    u = uniform(stream, np.arange(math.prod(shape), dtype=np.uint64))
    return (rule.center + recipe.bound(rule, shape) * u).astype(np.float32).reshape(shape)


def fill(module: nn.Module) -> None:
    """Gives every parameter of ``module`` its recipe value, cast to its own dtype (WS-RECIPE-6).

    The name of a parameter is its state-dict name in ``module``, so the whole model is filled in
    one call from its root.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))


def weights_sha256(module: nn.Module) -> str:
    """Digest of all parameters of ``module``, as lower-case hexadecimal (WS-RECIPE-7)."""
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        shape = ",".join(str(n) for n in parameter.shape)
        digest.update(f"{name}\n{shape}\n".encode())
        values = parameter.detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()


def noise(
    seed: int, unit: int, modality: str, shape: tuple[int, ...], dtype: torch.dtype
) -> Float[Tensor, "*shape"]:
    """ε of one unit and modality, row-major; exact in float32 and float64 (WS-RECIPE-4)."""
    stream = recipe.stream_id(f"noise/{seed}/{unit}/{modality}")
    values = gaussian(stream, np.arange(math.prod(shape), dtype=np.uint64))
    return torch.from_numpy(values.reshape(shape)).to(dtype)


def text_numbers(seed: int, unit: int, slots: int) -> Float[Tensor, " slots"]:
    """A number in [0, 1) for each agent text slot of one unit, float64 (WS-RECIPE-8)."""
    stream = recipe.stream_id(f"text/{seed}/{unit}")
    return torch.from_numpy(fraction(stream, np.arange(slots, dtype=np.uint64)))
