"""What an op of the math profile is, what it is asked, and how an answer is held to its formula.

A formula is written from the text of its clause over plain numpy arrays and never calls an
implementation (WS-CONFORMANCE-16). Source: CHOICE (design §12).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs
import numpy as np

from conformance import arrays
from conformance.case import Tolerance
from conformance.protocol import Array, DType, wire_dtype
from conformance.tolerance import EPS, budget, elementwise, exceeds, first_difference, same_bits

Arguments = Mapping[str, Any]
Tensors = Mapping[str, Array]
ANGLE: Final = "angle dtype"


@attrs.frozen(eq=False)
class Exact:
    """Class A: these bits."""

    value: Array


@attrs.frozen(eq=False, kw_only=True)
class Near:
    """Class B: each element within ``ulp`` units in the last place of ``scale``, plus ``slack``.

    ``value`` float64; ``scale``: the sum of the absolute values of the terms that the formula
    adds up for that element, |value| if None; ``slack``: absolute; ``dtype``: of the result, if it
    is not the wire form of the request's.
    """

    value: Array
    ulp: float
    scale: Array | None = None
    slack: float | Array = 0.0
    dtype: DType | None = None


@attrs.frozen(eq=False, kw_only=True)
class Summed:
    """Class C: ``value`` in float64, and the same formula in float32, its sums term after term.

    ``naive_angles``: the same with its angles in float32, too. A clause that asks for float64
    angles has no wider ones for a float64 session, whose budget therefore comes from this.
    """

    value: Array
    naive: Array
    naive_angles: Array


Outcome = Exact | Near | Summed
Formula = Callable[[Arguments, Tensors], Mapping[str, Outcome]]


@attrs.frozen(kw_only=True, eq=False)
class Question:
    """One request to an op: a family of inputs in one dtype.

    ``clauses``: those that this family is about; ``results``: the ones that are compared, all if
    empty; ``refused``: no answer is right, the request MUST be refused (WS-CONFORMANCE-4).
    """

    family: str
    clauses: tuple[str, ...]
    arguments: Arguments = attrs.field(factory=dict)
    tensors: Tensors = attrs.field(factory=dict)
    results: tuple[str, ...] = ()
    refused: bool = False

    def __attrs_post_init__(self) -> None:
        # One array is asked about many times; nobody has any business changing it.
        for array in self.tensors.values():
            array.flags.writeable = False


@attrs.frozen(kw_only=True, eq=False)
class Op:
    """A formula of the specification that a porter writes as a function.

    ``signature``: arguments and arrays -> results, with their shapes. ``oracle``: where the
    expected value comes from, exact integers, fractions or a closed form ("analytic") or numpy in
    float64. ``questions`` makes its input families in a dtype; those of an op that is not
    ``per_dtype`` are asked once, in the port's main dtype. ``feature`` is what a port that does
    not have the op answers "unsupported" with.
    """

    name: str
    signature: str
    formula: Formula
    questions: Callable[[DType], Iterator[Question]]
    tolerance: Tolerance
    oracle: Literal["analytic", "float64"]
    per_dtype: bool = True
    feature: str = "math"

    @property
    def topic(self) -> str:
        return self.name.partition(".")[0]


def exact(**values: Array) -> Mapping[str, Outcome]:
    """Class A results by name."""
    return {name: Exact(value) for name, value in values.items()}


def summed(
    compute: Callable[[Arguments, Tensors], Mapping[str, Array]],
    *,
    keep: tuple[str, ...] = (),
    angular: bool = False,
) -> Formula:
    """The class C formula that ``compute`` is in float64 and, naively, in float32.

    Args:
        compute: works in the dtype of its arrays.
        keep: arrays that are float64 in every session.
        angular: it takes angles, in float64 unless ``arguments`` name another dtype as `ANGLE`.
    """

    def formula(arguments: Arguments, tensors: Tensors) -> Mapping[str, Outcome]:
        wide = compute(arguments, _cast(tensors, np.float64, keep))
        single = _cast(tensors, np.float32, keep)
        naive = compute(arguments, single)
        angles = compute({**arguments, ANGLE: np.float32}, single) if angular else naive
        return {
            name: Summed(value=value, naive=naive[name], naive_angles=angles[name])
            for name, value in wide.items()
        }

    return formula


def _cast(tensors: Tensors, dtype: type[np.floating[Any]], keep: tuple[str, ...]) -> Tensors:
    return {
        name: array.astype(dtype) if array.dtype.kind == "f" and name not in keep else array
        for name, array in tensors.items()
    }


def dot(a: Array, b: Array) -> Array:
    """a [..., n, k] times b [..., k, m], the terms of each sum added one after the other."""
    total = a[..., :, :1] * b[..., :1, :]
    for k in range(1, a.shape[-1]):
        total = total + a[..., :, k : k + 1] * b[..., k : k + 1, :]
    return np.asarray(total)


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x [n, in] times weight [out, in] transposed, plus bias [out]."""
    y = dot(x, weight.T)
    return y if bias is None else y + bias


def frequencies(base: float, exponents: Array, kind: type[np.floating[Any]]) -> Array:
    """base^-x; in float32 four units in the last place too large, as libraries' powers may be."""
    if kind is np.float64:
        return np.asarray(base**-exponents)
    return np.asarray((base**-exponents * (1 + 4 * EPS["float32"])).astype(kind))


def silu(x: Array) -> Array:
    """x · sigmoid(x), without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(x * np.where(x >= 0, 1 / (1 + e), e / (1 + e)))


def rounded(array: Array, dtype: DType) -> Array:
    """``array`` rounded to ``dtype`` (half to even), in its wire form and read-only."""
    if dtype == "bfloat16":
        bits = array.astype(np.float32).view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        narrow = bits.astype(np.uint32).view(np.float32)
    else:
        narrow = array.astype(dtype)
    result = np.array(narrow, dtype=wire_dtype(dtype), order="C")
    result.flags.writeable = False
    return result


def drawn(
    name: str, shape: tuple[int, ...], dtype: DType, gain: float = 1.0, center: float = 0.0
) -> Array:
    """center + gain · u with u of the recipe, rounded to ``dtype``, in its wire form."""
    return rounded(center + gain * arrays.uniform(f"math/{name}", shape), dtype)


def _one_zero(array: Array) -> Array:
    """With zeros of one sign: no formula says which (WS-CONFORMANCE-9)."""
    return np.asarray(array + 0) if array.dtype.kind == "f" else array


def differs(actual: Array, outcome: Outcome, dtype: DType, name: str) -> str | None:
    """Why ``actual`` is not the outcome in a port's ``dtype``, or None.

    A result is judged in the dtype that crosses the protocol; its error is bounded in units of
    the dtype that the port computes in (WS-CONFORMANCE-9).
    """
    if isinstance(outcome, Exact):
        if same_bits(_one_zero(actual), _one_zero(outcome.value)):
            return None
        return f"{name} {first_difference(actual, outcome.value)}"
    own = (isinstance(outcome, Near) and outcome.dtype) or dtype
    if actual.shape != outcome.value.shape or actual.dtype != wire_dtype(own):
        wanted = f"{wire_dtype(own)} {list(outcome.value.shape)}"
        return f"{name} {actual.dtype} {list(actual.shape)} against {wanted}"
    if isinstance(outcome, Near):
        reason = elementwise(
            actual, outcome.value, outcome.ulp, own, scale=outcome.scale, slack=outcome.slack,
            tensor=name,
        )  # fmt: skip
    else:
        # A narrow dtype's naive error is that of float32 in units of the last place.
        ratio = max(1.0, EPS[own] / EPS["float32"])
        single = outcome.naive_angles if own == "float64" else outcome.naive
        naive = outcome.value + ratio * (single.astype(np.float64) - outcome.value)
        allowed = budget(outcome.value, [naive], own)
        reason = exceeds(actual, outcome.value, allowed, name, own)
    return None if reason is None else f"{name} {reason}"
