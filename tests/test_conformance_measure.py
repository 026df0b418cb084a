"""WS-CONFORMANCE-9: the numbers behind a comparison are kept as they were compared."""

from __future__ import annotations

import json
from math import inf

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conformance.reporting.measure import (
    MAX_POINTS,
    Closeness,
    Drift,
    Measurements,
    Point,
    as_plain,
    from_plain,
    note_drift,
    ratio,
    recording,
)
from conformance.tolerance import Budget, exceeds

FLOATS = st.floats(allow_nan=False)
CLOSENESS = st.builds(
    Closeness,
    tensor=st.text(max_size=5),
    dtype=st.sampled_from(["float32", "float64"]),
    rms=FLOATS,
    rms_budget=FLOATS,
    max=FLOATS,
    max_budget=FLOATS,
    worst=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    actual=FLOATS,
    expected=FLOATS,
    compared=st.integers(1, 9),
)
DRIFTS = st.builds(
    Drift,
    tensor=st.text(max_size=5),
    points=st.lists(
        st.builds(Point, unit=st.integers(0, 9), error=FLOATS, budget=FLOATS), max_size=3
    ).map(tuple),
)


@given(
    st.builds(
        Measurements,
        closeness=st.lists(CLOSENESS, max_size=3).map(tuple),
        drift=st.lists(DRIFTS, max_size=2).map(tuple),
    )
)
def test_what_is_written_is_read_back(found: Measurements) -> None:
    """Through strict JSON, infinities too."""
    assert from_plain(json.loads(json.dumps(as_plain(found), allow_nan=False))) == found


def test_exceeds_notes_what_it_compared() -> None:
    """WS-CONFORMANCE-9: error, budget and the worst element, for a pass and for a fail."""
    truth = np.zeros((2, 3))
    actual = truth.copy()
    actual[1, 2] = 0.5
    for allowed, verdict in ((Budget(rms=1.0, max=1.0), True), (Budget(rms=1.0, max=0.25), False)):
        with recording() as notes:
            assert (exceeds(actual, truth, allowed, "logits") is None) is verdict
        (found,) = notes.measurements().closeness
        assert (found.tensor, found.dtype, found.worst) == ("logits", "float64", (1, 2))
        assert (found.actual, found.expected, found.max) == (0.5, 0.0, 0.5)
        assert found.rms == np.sqrt(0.25 / 6)
        assert found.ratio == 0.5 / allowed.max


def test_the_worst_comparison_of_a_tensor_stays() -> None:
    allowed = Budget(rms=1.0, max=1.0)
    with recording() as notes:
        for value in (0.1, 0.7, 0.3):
            exceeds(np.array([value]), np.zeros(1), allowed, "audio")
        exceeds(np.array([0.2]), np.zeros(1), allowed, "video")
    found = notes.measurements()
    assert [(m.tensor, m.actual, m.compared) for m in found.closeness] == [
        ("audio", 0.7, 3),
        ("video", 0.2, 1),
    ]
    assert found.ratio == 0.7


def test_not_finite_and_empty_arrays_are_noted_too() -> None:
    allowed = Budget(rms=1.0, max=1.0)
    with recording() as notes:
        reason = exceeds(np.array([0.0, np.nan, 9.0]), np.zeros(3), allowed, "x")
        assert exceeds(np.zeros(0), np.zeros(0), allowed, "empty") is None
    assert reason == "not finite at [1]"
    first, second = notes.measurements().closeness
    assert (first.tensor, first.worst, first.ratio) == ("x", (1,), inf)
    assert (second.tensor, second.worst, second.ratio) == ("empty", (), 0.0)


def test_nobody_records_nothing_is_kept() -> None:
    """A note outside a recording goes nowhere, and one recording does not leak into the next."""
    exceeds(np.zeros(1), np.zeros(1), Budget(rms=1.0, max=1.0), "before")
    with recording() as outer, recording() as inner:
        exceeds(np.zeros(1), np.zeros(1), Budget(rms=1.0, max=1.0), "inside")
    assert outer.measurements() == Measurements()
    assert outer.measurements().ratio is None
    assert [m.tensor for m in inner.measurements().closeness] == ["inside"]


def test_a_long_series_is_thinned_but_keeps_its_worst_point() -> None:
    errors = [1.0] * (3 * MAX_POINTS)
    errors[1001] = 7.0
    with recording() as notes:
        note_drift("logits", errors, [2.0] * len(errors))
    (series,) = notes.measurements().drift
    assert len(series.points) <= MAX_POINTS + 2
    assert series.ratio == 3.5
    assert series.points[-1].unit == len(errors) - 1


def test_ratio_of_what_has_no_budget() -> None:
    assert (ratio(0.0, 0.0), ratio(1e-300, 0.0), ratio(inf, 1.0)) == (0.0, inf, inf)
