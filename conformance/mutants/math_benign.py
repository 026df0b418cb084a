"""Harmless variants of the math profile: other arithmetic, within what the clauses leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.formulas import backbone as math_backbone
from conformance.formulas import case as math_case
from conformance.formulas import encoder as math_encoder
from conformance.formulas.case import Exact, Near, Outcome, rounded
from conformance.formulas.ops import OPS
from conformance.mutants.math_port import MathPort
from conformance.mutants.patching import Benign, Patch
from conformance.protocol import Array, DType, Hello, MathRequest, Unsupported, wire_dtype
from conformance.tolerance import SMALLEST
from reference import causal_blocks, flow, guidance, rms_norm, rotary, sampling
from reference.latent_norm import LatentNorm, Posterior
from reference.per_modality import each
from reference.units import Latents

CANDIDATES = sampling.candidates


class Variant(MathPort):
    """The reference's formulas under patches, in the dtypes of ``dtypes``."""

    patches: tuple[Patch, ...] = ()

    def __init__(self) -> None:
        super().__init__(self.name, self.patches)


class Halves(Variant):
    """bfloat16 and float16, each computed in itself."""

    name = "math-half-precision"
    dtypes: tuple[DType, ...] = ("bfloat16", "float16")


class HalvesInSingle(Variant):
    """bfloat16 and float16 are only storage: float32 inside, one rounding at the end."""

    name = "math-half-storage"
    dtypes: tuple[DType, ...] = ("bfloat16", "float16")

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if request.op.partition(".")[0] in ("recipe", "streaming", "exchange"):
            return super().math(request)
        results = super().math(attrs.evolve(request, dtype="float32"))
        if request.op.startswith("media."):
            return results
        return {
            name: rounded(value, request.dtype) if value.dtype == np.float32 else value
            for name, value in results.items()
        }


class Float16Only(HalvesInSingle):
    """The narrowest port there is."""

    name = "math-float16-only"
    dtypes: tuple[DType, ...] = ("float16",)


class Bfloat16Only(HalvesInSingle):
    """A port without float32."""

    name = "math-bfloat16-only"
    dtypes: tuple[DType, ...] = ("bfloat16",)


class WideInside(Variant):
    """float32 is computed in float64 and rounded once."""

    name = "math-float64-inside"

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if request.dtype != "float32" or request.op.partition(".")[0] in (
            "recipe", "streaming", "exchange", "media",
        ):  # fmt: skip
            return super().math(request)
        tensors = {n: _widened(t) for n, t in request.tensors.items()}
        wide = super().math(attrs.evolve(request, dtype="float64", tensors=tensors))
        always = ("tau", "grid", "p")
        return {n: v if n in always else _narrowed(v) for n, v in wide.items()}


def _widened(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _narrowed(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float64 else array


class Flushed(Variant):
    """Results below the smallest normal number are zero."""

    name = "math-subnormals-flushed"

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        results = super().math(request)
        exact = OPS[request.op].tolerance == "A"
        if exact or request.dtype != "float32":
            return results
        small = SMALLEST[request.dtype]
        return {
            n: np.where(np.abs(v) < small, v * 0, v) if v.dtype == np.float32 else v
            for n, v in results.items()
        }


class NegativeZeros(Variant):
    """Every zero has the sign that nobody would expect."""

    name = "math-negative-zeros"

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        results = super().math(request)
        return {
            n: np.where(v == 0, -v, v) if v.dtype.kind == "f" else v for n, v in results.items()
        }


class Minimal(Variant):
    """float32 only; none of the optional formulas."""

    name = "math-without-optional-ops"
    dtypes: tuple[DType, ...] = ("float32",)

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), features=("math",))

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if OPS[request.op].feature != "math":
            raise Unsupported(request.op)
        return super().math(request)


class NumpySums(MathPort):
    """Plain numpy in the session's dtype, sums by its matrix product."""

    name = "math-numpy"

    def __init__(self) -> None:
        places = (math_case, math_backbone, math_encoder)
        super().__init__(self.name, [(module, "dot", np.matmul) for module in places])

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        op = OPS[request.op]
        if any(q.refused and q.arguments == request.arguments for q in op.questions("float32")):
            # The formulas say what a good request gives; who is refused is not theirs to say.
            return super().math(request)
        with self._at_work():
            outcomes = op.formula(request.arguments, request.tensors)
        return {n: _in_dtype(outcome, request.dtype) for n, outcome in outcomes.items()}


def _in_dtype(outcome: Outcome, dtype: DType) -> Array:
    if isinstance(outcome, Exact):
        return outcome.value
    own = (isinstance(outcome, Near) and outcome.dtype) or dtype
    value = outcome.value if isinstance(outcome, Near) or own == "float64" else outcome.naive
    return np.asarray(value, dtype=wire_dtype(own))


def fused(*operands: Tensor | float) -> Tensor:
    """a · b + c with one rounding, as a fused multiply-add has."""
    a, b, c = (x.double() if isinstance(x, Tensor) else x for x in operands)
    kind = next(x.dtype for x in operands if isinstance(x, Tensor))
    return torch.as_tensor(a * b + c).to(kind)


def fused_rotate(x: Tensor, theta: Tensor) -> Tensor:
    cos, sin = torch.cos(theta).to(x.dtype), torch.sin(theta).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((fused(first, cos, -(second * sin)), fused(second, cos, first * sin)), dim=-1)


def fused_guide(v_cond: Latents, v_uncond: Latents, scale: float) -> Latents:
    """s v_cond + (1 - s) v_uncond: the same line through both."""

    def combine(cond: Tensor, uncond: Tensor) -> Tensor:
        return fused(cond, scale, (1 - scale) * uncond)

    return each(combine, v_cond, v_uncond)


def fused_denormalise(self: LatentNorm, z: Tensor) -> Tensor:
    mu, sigma = self._per_channel(z)
    return fused(z, sigma, mu)


class Fused(Variant):
    """Fused multiply-adds, and the same lines written another way round."""

    name = "math-fused"
    patches = (
        (rotary, "rotate", fused_rotate),
        (guidance, "guide", fused_guide),
        (LatentNorm, "denormalise", fused_denormalise),
        (flow, "euler_step", lambda z, v, tau, after: fused(v, after - tau, z)),
        (flow, "interpolate", lambda z, eps, tau: z + tau * (eps - z) if 0 < tau < 1
         else (eps if tau else z)),
    )  # fmt: skip


def by_division(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The sum of squares first, the weight before the root."""
    return (x * weight) / torch.sqrt(torch.sum(x * x, dim=-1, keepdim=True) / x.shape[-1] + eps)


def by_powers_of_two(_: causal_blocks.SiLU, x: Tensor) -> Tensor:
    """exp as a power of two, as hardware has it."""
    return x / (1 + torch.exp2(-x * 1.4426950408889634))


def reduced_first(tau: Tensor, dim: int) -> Tensor:
    """The angle is brought into one turn in float64; cosine and sine are those of float32."""
    half = dim // 2
    omega = torch.exp(-torch.arange(half, dtype=torch.float64) / half * np.log(10_000.0))
    theta = torch.remainder(1000.0 * tau[:, None].double() * omega, 2 * np.pi)
    return torch.cat((torch.cos(theta), torch.sin(theta)), dim=-1)


def by_logarithm(backbone: Any) -> Tensor:
    i = torch.arange(backbone.head_dim // 2, dtype=torch.float64)
    return torch.exp(-i * (2 * np.log(backbone.rope_theta) / backbone.head_dim))


def times_the_inverse(logits: Tensor, rule: Any) -> tuple[Tensor, Tensor]:
    """Logits are multiplied by 1 / T, the largest one is not taken off first."""
    ids, _ = CANDIDATES(logits, rule)
    p = torch.softmax(logits.double()[ids] * (1 / rule.temperature), dim=0)
    return ids, p


class OtherSpelling(Variant):
    """Formulas written in other ways that round elsewhere."""

    name = "math-other-spelling"
    patches = (
        (rms_norm, "rms_norm", by_division),
        (causal_blocks.SiLU, "whole", by_powers_of_two),
        (flow, "tau_features", reduced_first),
        (rotary, "inverse_frequencies", by_logarithm),
        (sampling, "candidates", times_the_inverse),
    )


class Strided(Variant):
    """Results are views into a larger buffer that is not contiguous."""

    name = "math-strided-results"

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        found: dict[str, Any] = {}
        for name, value in super().math(request).items():
            buffer = np.zeros((*value.shape, 2), value.dtype)
            buffer[..., 0] = value
            found[name] = buffer[..., 0]
        return found


def by_tangent(_: causal_blocks.SiLU, x: Tensor) -> Tensor:
    """The sigmoid as compilers lower it."""
    return x * (0.5 + 0.5 * torch.tanh(0.5 * x))


def scaled_and_shifted(self: LatentNorm, posterior: Posterior) -> Posterior:
    """The statistics folded into one factor and one summand."""
    mu, sigma = self._per_channel(posterior.mean)
    factor, summand = 1 / sigma, -mu / sigma
    return Posterior(
        mean=posterior.mean * factor + summand,
        log_variance=posterior.log_variance - 2 * sigma.log(),
    )


class Folded(Variant):
    """Sigmoid by tanh, latent statistics as factor and summand, scalars for arrays without axes."""

    name = "math-folded"

    patches = (
        (causal_blocks.SiLU, "whole", by_tangent),
        (LatentNorm, "normalise", scaled_and_shifted),
    )

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        found: dict[str, Any] = dict(super().math(request))
        return {name: value if value.ndim else value[()] for name, value in found.items()}


def _variant(cls: type[MathPort]) -> Benign:
    assert cls.__doc__ is not None
    factory: Any = cls
    return Benign(name=cls.name, description=cls.__doc__, factory=factory)


CLASSES: Final[tuple[type[MathPort], ...]] = (
    Halves,
    HalvesInSingle,
    Float16Only,
    Bfloat16Only,
    WideInside,
    Flushed,
    NegativeZeros,
    Minimal,
    NumpySums,
    Fused,
    OtherSpelling,
    Strided,
    Folded,
)
VARIANTS: Final = tuple(map(_variant, CLASSES))
