"""Relations between recordings: the few sentences of which every session check is made.

Each returns None when it holds, or what differed, where, and by how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from conformance.naive import Naive
from conformance.protocol import Array, DType
from conformance.recording import TENSORS, Recording
from conformance.reporting.measure import note_drift
from conformance.tolerance import Budget, budget, enough, exceeds, first_difference, same_bits

DRIFT_UNITS = 8
"""From so many units on, the error of each unit is worth a curve."""


def same(
    a: Recording, b: Recording, units: Iterable[int], tensors: Sequence[str] = ("text", *TENSORS)
) -> str | None:
    """Bit-identical in ``units`` (class A)."""
    for k in units:
        for name in tensors:
            x, y = getattr(a[k], name), getattr(b[k], name)
            if name == "text":
                if list(x) != list(y):
                    return f"unit {k}, text: {list(x)} against {list(y)}"
            elif not same_bits(x, y):
                return f"unit {k}, {name} {first_difference(x, y)}"
    return None


def differ(a: Recording, b: Recording, unit: int, tensors: Sequence[str]) -> str | None:
    """Every one of ``tensors`` of ``unit`` is different: the input has been used."""
    for name in tensors:
        if same_bits(getattr(a[unit], name), getattr(b[unit], name)):
            return f"unit {unit}, {name}: not one bit changed"
    return None


def stacked(recording: Recording, tensor: str) -> Array | None:
    """One tensor of all units, [K, ...]; None where the session has none."""
    parts = [getattr(unit, tensor) for unit in recording]
    return None if parts[0] is None else np.stack(parts)


def close(
    actual: Recording,
    truth: Recording,
    naive: Naive,
    dtype: DType,
    tensor: str,
    wider: float = 1.0,
) -> str | None:
    """Class C over all units of a recording: ``[unit, ...]`` is the index that is reported.

    Args:
        naive: asked for no more of its runs than ``actual`` needs.
        wider: times the budget, where the session was drawn at random (WS-CONFORMANCE-9).
    """
    a, t = stacked(actual, tensor), stacked(truth, tensor)
    if a is None or t is None:
        return None

    def allowed_by(runs: Sequence[Recording]) -> Budget:
        forms = [n for n in (stacked(r, tensor) for r in runs) if n is not None]
        return budget(t, forms, dtype).wider(wider)

    allowed = enough(a, t, map(allowed_by, naive.growing()))
    if len(actual) >= DRIFT_UNITS:
        errors = [float(np.max(np.abs(x - y), initial=0.0)) for x, y in zip(a, t, strict=True)]
        note_drift(tensor, errors, [allowed.max] * len(errors))
    reason = exceeds(a, t, allowed, tensor, dtype)
    return None if reason is None else f"{tensor} [unit, ...] {reason}"
