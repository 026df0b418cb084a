"""Every point of a probe beside the oracle's: where a port first goes wrong (WS-CONFORMANCE-18)."""

from __future__ import annotations

import attrs
import numpy as np

from conformance.guard import Guard
from conformance.inputs import base, in_dtype
from conformance.oracle import naive_dtype
from conformance.probing import points_after
from conformance.protocol import Array, DType, Port
from conformance.tolerance import Budget, budget
from spec.sizes import Schedule


@attrs.frozen(kw_only=True)
class PointResult:
    """One point of the port against the oracle's, in class C.

    ``error`` and ``allowed`` hold root mean square and largest element; ``missing``: the port does
    not have the point; ``shape`` is the port's, ``expected`` the oracle's.
    """

    point: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]
    error: Budget
    allowed: Budget
    missing: bool = False

    @property
    def over(self) -> bool:
        """Off by more than the budget, or of another shape."""
        if self.missing:
            return False
        within = self.error.rms <= self.allowed.rms and self.error.max <= self.allowed.max
        return self.shape != self.expected or not within


def compare(
    port: Port, oracle: Port, preset: str, schedule: Schedule, unit: int, dtype: DType
) -> tuple[PointResult, ...]:
    """The points of ``unit``, in the order in which a step makes them.

    Raises:
        Unsupported: the port has no probe, or not this dtype.
        Refusal, PortFault: it does not answer.
    """
    script = base(preset, schedule, dtype, units=unit + 1, forced=True)
    found = points_after(Guard(port), script)
    truth, naive = (
        points_after(Guard(oracle), in_dtype(script, each))
        for each in ("float64", naive_dtype(dtype))
    )
    return tuple(
        _result(name, found.get(name), expected, naive[name], dtype)
        for name, expected in truth.items()
    )


def _result(
    name: str, actual: Array | None, truth: Array, naive: Array, dtype: DType
) -> PointResult:
    error = Budget(rms=0.0, max=0.0)
    if actual is not None and actual.shape == truth.shape:
        off = np.abs(actual.astype(np.float64) - truth)
        error = Budget(rms=float(np.sqrt(np.square(off).mean())), max=float(off.max()))
    return PointResult(
        point=name,
        shape=() if actual is None else actual.shape,
        expected=truth.shape,
        error=error,
        allowed=budget(truth, [naive], dtype),
        missing=actual is None,
    )
