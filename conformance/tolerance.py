"""Tolerance classes: how far from the expected numbers a clause lets a port go (WS-CONFORMANCE-9).

A clause names its class; a port never chooses. Class A is bit-exact. Class B bounds each element
in units in the last place. Class C bounds the error against float64 truth by that of the
same-dtype naive reference; class D bounds its growth over long sessions. Source: CHOICE (design
§12).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
import numpy as np

from conformance.protocol import Array, DType
from conformance.reporting.measure import Closeness, note_closeness, note_drift

RMS_FACTOR: Final = 1.5
MAX_FACTOR: Final = 3.0
FLOOR_ULP: Final = 2.0
EPS: Final[dict[DType, float]] = {
    "float32": 2.0**-23,
    "float64": 2.0**-52,
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
}


MANY: Final = 4.0
"""Class C where the worst of many small samples is judged, sessions drawn at random or mixed with
other commands, or the tensors of a probe or of an exported cache: sums added term after term had
1.35 times the budget of one session and 1.02 times that of one layer's keys, sums run backwards
1.28 times that of another session, float64 inside a float16 port 1.07 times that of two units, a
second order of the same sum 1.08 times that of one tensor. What is wrong is off by thousands of
it."""

GROWTH_FACTOR: Final = 3.0
"""Class D: how much more the error of a port may have grown than the naive reference's."""

HORIZON: Final = 0.1
"""Class D: where the naive error is this part of the signal, nothing can be told any more."""

SMALLEST: Final[dict[DType, float]] = {
    "float32": 2.0**-126,
    "float64": 2.0**-1022,
    "bfloat16": 2.0**-126,
    "float16": 2.0**-22,
}
"""Class B asks for nothing below: subnormals may be flushed to zero, in float16 the last of
them."""


@attrs.frozen(kw_only=True)
class Budget:
    """Allowed error of one tensor: root mean square and largest element (class C)."""

    rms: float
    max: float

    def wider(self, factor: float) -> Budget:
        """Both limits times ``factor``."""
        return Budget(rms=factor * self.rms, max=factor * self.max)

    def holds(self, rms: float, largest: float) -> bool:
        """An error keeps within both limits; one that is not a number keeps within none."""
        return rms <= self.rms and largest <= self.max


def same_bits(a: Array | None, b: Array | None) -> bool:
    """Class A: same shape, dtype and bytes; a NaN equals only the same NaN."""
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def first_difference(a: Array | None, b: Array | None) -> str:
    """Where two arrays that are not the same bits part: "[1, 7]: 0.25 against 0.5 (...)"."""
    if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
        return f"{_kind(a)} against {_kind(b)}"
    differs = (a != b) & ~(np.isnan(a) & np.isnan(b))
    if not differs.any():
        return "only in the sign of zero or the payload of NaN"
    index = tuple(int(i) for i in np.argwhere(differs)[0])
    return (
        f"at {list(index)}: {float(a[index])!r} against {float(b[index])!r}"
        f" ({int(differs.sum())} of {a.size} elements)"
    )


def _kind(a: Array | None) -> str:
    return "no array" if a is None else f"{a.dtype} {list(a.shape)}"


def budget(truth: Array, naive: Sequence[Array], dtype: DType) -> Budget:
    """The class C budget of one tensor.

    Args:
        truth: the oracle's float64 numbers.
        naive: what the naive reference gives in ``dtype``, in one or more forms; the worst counts.
        dtype: of the port. Float64 has no wider truth to measure a naive error against: ``naive``
            is float32 then, and its error is scaled by the ratio of the two epsilons, and doubled
            because truth and port both carry it.
    """
    errors = [n.astype(np.float64) - truth for n in naive]
    scale = float(np.max(np.abs(truth), initial=0.0))
    floor = FLOOR_ULP * EPS[dtype] * scale
    ratio = 2.0 * EPS["float64"] / EPS["float32"] if dtype == "float64" else 1.0
    worst_rms = max((_rms(e) for e in errors), default=0.0)
    worst_max = max((float(np.max(np.abs(e), initial=0.0)) for e in errors), default=0.0)
    return Budget(
        rms=RMS_FACTOR * ratio * worst_rms + floor, max=MAX_FACTOR * ratio * worst_max + floor
    )


def enough(actual: Array, truth: Array, budgets: Iterable[Budget]) -> Budget:
    """The first of growing ``budgets`` that ``actual`` keeps within, else the last.

    Whoever keeps within a smaller one keeps within all of them, so the verdict is that of the last;
    only the naive runs that nobody needs are not made.
    """
    error = np.abs(actual.astype(np.float64) - truth)
    rms, largest = _rms(error), float(np.max(error, initial=0.0))
    for allowed in budgets:
        if allowed.holds(rms, largest):
            break
    return allowed


def elementwise(
    actual: Array,
    truth: Array,
    ulp: float,
    dtype: DType,
    *,
    scale: Array | None = None,
    slack: float | Array = 0.0,
    tensor: str = "",
) -> str | None:
    """Why ``actual`` breaks class B, or None: the element that is furthest outside.

    Args:
        truth: float64.
        ulp: allowed units in the last place of ``dtype``.
        scale: float64, of what they are units, element by element: the sum of the absolute values
            of the terms that make the element; |truth| if None.
        slack: allowed beside them, absolute, where the formula names a rounding of its own.
        tensor: its name, for the numbers that go into the report.
    """
    error = np.abs(actual.astype(np.float64) - truth)
    size = np.abs(truth) if scale is None else scale
    allowed = np.broadcast_to(ulp * EPS[dtype] * size + slack + SMALLEST[dtype], error.shape)
    over = np.where(np.isfinite(error), error / allowed, np.inf)
    place = int(np.argmax(over)) if error.size else None
    index = () if place is None else tuple(int(i) for i in np.unravel_index(place, error.shape))
    got, wanted, off, limit = (
        (0.0,) * 4 if place is None else (float(a[index]) for a in (actual, truth, error, allowed))
    )

    def measured() -> Closeness:
        return Closeness(
            tensor=tensor,
            dtype=dtype,
            rms=_rms(error),
            rms_budget=_rms(allowed),
            max=off,
            max_budget=limit,
            worst=index,
            actual=got,
            expected=wanted,
        )

    note_closeness(measured)
    if place is None or over[index] <= 1.0:
        return None
    if not np.isfinite(error[index]):
        return f"not finite at {list(index)}: {got} against {wanted:.9g}"
    return f"at {list(index)}: {got:.9g} against {wanted:.9g}; error {off:.3g} (budget {limit:.3g})"


def exceeds(
    actual: Array, truth: Array, allowed: Budget, tensor: str = "", dtype: str = ""
) -> str | None:
    """Why ``actual`` breaks class C, or None: the worst element, and by how much.

    Args:
        tensor: its name, for the numbers that go into the report.
        dtype: of the session, where it is not that of ``actual``.
    """
    error = np.abs(actual.astype(np.float64) - truth)
    finite = bool(np.isfinite(error).all())
    rms, largest = _rms(error), float(np.max(error, initial=0.0))
    place = np.argmax(error if finite else ~np.isfinite(error)) if error.size else None
    worst = () if place is None else np.unravel_index(int(place), error.shape)
    index = tuple(int(i) for i in worst)
    got, wanted = (float(actual[index]), float(truth[index])) if error.size else (0.0, 0.0)

    def measured() -> Closeness:
        return Closeness(
            tensor=tensor,
            dtype=dtype or str(actual.dtype),
            rms=rms,
            rms_budget=allowed.rms,
            max=largest,
            max_budget=allowed.max,
            worst=index,
            actual=got,
            expected=wanted,
        )

    note_closeness(measured)
    if not finite:
        return f"not finite at {list(index)}"
    if allowed.holds(rms, largest):
        return None
    return (
        f"at {list(index)}: {got:.9g} against"
        f" {wanted:.9g}; max error {largest:.3g} (budget {allowed.max:.3g}),"
        f" rms {rms:.3g} (budget {allowed.rms:.3g})"
    )


def _rms(error: Array) -> float:
    return float(np.sqrt(np.mean(np.square(error)))) if error.size else 0.0


def drifts(
    actual: Array,
    truth: Array,
    naive: Array,
    scale: Array,
    dtype: DType,
    window: int,
    tensor: str = "",
) -> tuple[str | None, int]:
    """Class D: why the error over a long session is too large, or None; and how many units were
    judged before the horizon.

    In each window the root mean square error is held to 3 times the largest that the naive
    reference had so far, the largest error to twice that of its largest; each plus 2 ulp.

    Args:
        actual: [units, samples] of the port.
        truth: the same elements, float64.
        naive: [units, 2], root mean square and largest error of the naive reference, in ``dtype``
            or, for float64, in float32 (see `budget`).
        scale: [units], the largest magnitude of the truth.
        dtype: of the session.
        window: units that are judged together.
        tensor: its name, for the numbers that go into the report.
    """
    ratio = 2.0 * EPS["float64"] / EPS["float32"] if dtype == "float64" else 1.0
    floor = FLOOR_ULP * EPS[dtype] * float(scale.max())
    worst_rms = worst_max = 0.0
    errors: list[float] = []
    budgets: list[float] = []
    reason: str | None = None
    for start in range(0, len(truth), window):
        part = slice(start, start + window)
        rough = ratio * naive[part]
        if _rms(rough[:, 0]) > HORIZON * _rms(truth[part]):
            note_drift(tensor, errors, budgets)
            return reason, start
        worst_rms = max(worst_rms, _rms(rough[:, 0]))
        worst_max = max(worst_max, float(rough[:, 1].max()))
        allowed = Budget(
            rms=GROWTH_FACTOR * worst_rms + floor, max=2 * GROWTH_FACTOR * worst_max + floor
        )
        found = exceeds(actual[part], truth[part], allowed, tensor, dtype)
        if found is not None and reason is None:
            reason = f"units {start} to {start + len(truth[part]) - 1}, [unit, sample] {found}"
        errors += [float(np.abs(row).max()) for row in actual[part] - truth[part]]
        budgets += [allowed.max] * len(truth[part])
    note_drift(tensor, errors, budgets)
    return reason, len(truth)
