"""WS-CONFORMANCE-9: bit-exact means bits, and class C is 1.5 rms, 3 max and a floor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.protocol import DType
from conformance.tolerance import (
    EPS,
    SMALLEST,
    budget,
    elementwise,
    exceeds,
    first_difference,
    same_bits,
)

TRUTH = np.linspace(-2, 2, 101)


def off_by(error: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """``TRUTH`` with one error of that size everywhere, in alternating signs."""
    return TRUTH + error * (-1) ** np.arange(len(TRUTH))


def test_ws_conformance_9_class_a_sees_the_smallest_change() -> None:
    a = np.zeros(3, np.float32)
    assert same_bits(a, a.copy())
    assert not same_bits(a, -a)
    assert not same_bits(a, a.astype(np.float64))
    assert not same_bits(a, None)
    b = a.copy()
    b[1] = np.nextafter(np.float32(0), np.float32(1))
    assert not same_bits(a, b)
    assert first_difference(a, b).startswith("at [1]: 0.0 against 1.4")


@given(st.floats(1e-6, 1e-3), st.floats(0.1, 10))
def test_ws_conformance_9_class_c_rms(naive: float, factor: float) -> None:
    allowed = budget(TRUTH, [off_by(naive)], "float32")
    floor = 2 * EPS["float32"] * 2.0
    assert allowed.rms == pytest.approx(1.5 * naive + floor)
    assert allowed.max == pytest.approx(3 * naive + floor)
    assert (exceeds(off_by(naive * factor), TRUTH, allowed) is None) == (
        naive * factor <= 1.5 * naive + floor
    )


def test_ws_conformance_9_class_c_single_element() -> None:
    allowed = budget(TRUTH, [off_by(1e-3)], "float32")
    one = TRUTH.copy()
    one[7] += 2.9e-3
    assert exceeds(one, TRUTH, allowed) is None
    one[7] = TRUTH[7] + 3.2e-3
    reason = exceeds(one, TRUTH, allowed)
    assert reason is not None
    assert reason.startswith("at [7]")


@pytest.mark.parametrize("dtype", EPS)
def test_ws_conformance_9_floor_is_two_ulp_of_the_largest(dtype: DType) -> None:
    allowed = budget(TRUTH, [TRUTH], dtype)
    assert allowed.max == 4 * EPS[dtype]


def test_ws_conformance_9_worst_naive_form_counts() -> None:
    one = budget(TRUTH, [off_by(1e-3)], "float32")
    assert budget(TRUTH, [off_by(1e-4), off_by(1e-3)], "float32") == one


def test_not_a_number_is_never_close() -> None:
    spoiled = TRUTH.copy()
    spoiled[5] = np.nan
    assert exceeds(spoiled, TRUTH, budget(TRUTH, [off_by(1.0)], "float32")) == "not finite at [5]"


@given(st.sampled_from(sorted(EPS)), st.floats(0.5, 64), st.floats(0.1, 4))
def test_ws_conformance_9_class_b_counts_ulp_of_each_element(
    dtype: DType, ulp: float, factor: float
) -> None:
    """WS-CONFORMANCE-9: small elements have small budgets, whatever stands beside them."""
    truth = np.array([1e-3, 1.0, 1e4])
    off = truth * (1 + factor * ulp * EPS[dtype] * np.array([1, 0, 0]))
    allowed = elementwise(off, truth, ulp, dtype) is None
    assert allowed == (off[0] - truth[0] <= ulp * EPS[dtype] * truth[0] + SMALLEST[dtype])


def test_ws_conformance_9_class_b_scale_is_the_sum_of_terms() -> None:
    """WS-CONFORMANCE-9: what cancelled may be off by ulp of what was cancelled."""
    truth, terms = np.array([1e-6]), np.array([2.0])
    off = truth + 2e-7
    assert elementwise(off, truth, 1.0, "float32", scale=terms) is None
    reason = elementwise(off, truth, 1.0, "float32")
    assert reason is not None
    assert reason.startswith("at [0]: 1.2e-06 against 1e-06; error 2e-07")


def test_ws_conformance_9_class_b_names_the_worst_element() -> None:
    spoiled = TRUTH.copy()
    spoiled[7] += 1e-6
    spoiled[9] = np.inf
    reason = elementwise(spoiled, TRUTH, 4.0, "float32")
    assert reason is not None
    assert reason.startswith("not finite at [9]")
    spoiled[9] = TRUTH[9]
    reason = elementwise(spoiled, TRUTH, 4.0, "float32")
    assert reason is not None
    assert reason.startswith("at [7]")


@pytest.mark.parametrize("dtype", EPS)
def test_ws_conformance_9_class_b_asks_for_no_subnormal(dtype: DType) -> None:
    tiny = np.array([SMALLEST[dtype] / 2])
    assert elementwise(np.zeros(1), tiny, 1.0, dtype) is None
    assert elementwise(np.zeros(1), 4 * tiny, 1.0, dtype) is not None


def test_class_b_of_nothing_passes() -> None:
    assert elementwise(np.zeros(0), np.zeros(0), 1.0, "float32") is None
