"""WS-CONFORMANCE-9: naive runs that a port does not need are not made, and no verdict depends on
them."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from port_judging import NotingOracle

from conformance.inputs import BARE, Content, in_dtype, script_of
from conformance.naive import Naive
from conformance.oracle import Oracle
from conformance.programs import as_the_oracle, life_of
from conformance.protocol import DType, OpenRequest
from conformance.recording import TENSORS, Form, Recording, Script
from conformance.relations import close
from conformance.resolve import resolve
from conformance.tolerance import Budget, budget, enough, exceeds

TRUTH = np.linspace(-2, 2, 101)


def off_by(error: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """``TRUTH`` with one error of that size everywhere, in alternating signs."""
    return TRUTH + error * (-1) ** np.arange(len(TRUTH))


class Counting:
    """Naive runs, none of which has a unit; ``made`` are those that somebody wanted."""

    def __init__(self, runs: int) -> None:
        self.made: list[int] = []
        self.all = tuple(partial(self._run, i) for i in range(runs))

    def _run(self, number: int) -> Recording:
        self.made.append(number)
        return ()


def test_a_run_is_made_when_it_is_wanted() -> None:
    counting = Counting(2)
    growing = Naive(runs=counting.all).growing()
    assert [len(next(growing)), counting.made] == [0, []]
    assert [len(next(growing)), counting.made] == [1, [0]]
    assert [len(next(growing)), counting.made] == [2, [0, 1]]
    assert next(growing, None) is None


def test_the_thorough_want_all_at_once() -> None:
    counting = Counting(2)
    assert [len(runs) for runs in Naive(runs=counting.all, thorough=True).growing()] == [2]
    assert counting.made == [0, 1]


ERRORS = st.lists(st.floats(0, 1e-5), max_size=4)


@given(st.floats(0, 1e-4) | st.just(np.nan), ERRORS, st.floats(0.5, 4))
def test_ws_conformance_9_the_verdict_is_that_of_all_runs(
    error: float, errors: list[float], wider: float
) -> None:
    """Of any runs, in any order; and none is asked for after one that is enough."""
    naive = [off_by(e) for e in errors]
    actual = off_by(error)
    every = [budget(TRUTH, naive[:n], "float32").wider(wider) for n in range(len(naive) + 1)]
    asked: list[Budget] = []
    growing = (asked.append(each) or each for each in every)  # type: ignore[func-returns-value]
    held_to = enough(actual, TRUTH, growing)
    fits = [exceeds(actual, TRUTH, each) is None for each in every]
    assert (exceeds(actual, TRUTH, held_to) is None) == fits[-1]
    needed = fits.index(True) if True in fits else len(naive)
    assert asked == every[: needed + 1]


def script(dtype: DType) -> Script:
    request = OpenRequest(preset=BARE, schedule="overlapped", dtype=dtype, prompt=(72, 105))
    return script_of(request, [Content(seed=3, agent_text=(65, 66))] * 2)


STREAM64: Final = ("float64", "stream", 2)
STREAM32: Final = ("float32", "stream", 2)
OFFLINE32: Final = ("float32", "offline", 2)


def spoiled(recording: Recording) -> Recording:
    """With errors that no rounding explains."""
    for unit in recording:
        unit.logits[:] += 1.0
    return recording


@pytest.mark.parametrize(
    ("dtype", "life", "wrong", "runs"),
    [
        ("float64", False, False, [STREAM64]),
        ("float32", False, False, [STREAM64, STREAM32]),
        ("float32", False, True, [STREAM64, STREAM32, OFFLINE32]),
        ("float32", True, False, [STREAM64]),
        ("float32", True, True, [STREAM64, STREAM32, OFFLINE32]),
    ],
)
def test_ws_conformance_9_a_port_is_held_to_no_more_runs_than_it_needs(
    dtype: DType, life: bool, wrong: bool, runs: list[tuple[DType, Form, int]]
) -> None:
    """The reference in float64 is the truth, in float32 the naive stream; the floor of a life is
    four times as wide."""
    oracle, of = NotingOracle(), script(dtype)
    truth = oracle.truth(of, "stream", dtype)
    actual = Oracle(resolve("reference")).record(in_dtype(truth.script, dtype))
    actual = spoiled(actual) if wrong else actual
    if life:
        context = Holding(oracle)
        reason = as_the_oracle(context, [life_of(of, actual)])  # type: ignore[arg-type]
    else:
        reasons = [close(actual, truth.outputs, truth.naive, dtype, t) for t in TENSORS]
        reason = next((r for r in reasons if r is not None), None)
    assert (reason is not None) == wrong
    assert oracle.asked == runs


class Holding:
    """The part of a context that lives are judged by."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle


def test_what_is_written_down_has_all_runs() -> None:
    oracle = NotingOracle(thorough=True)
    truth = oracle.truth(script("float32"), "stream")
    reason = close(truth.outputs, truth.outputs, truth.naive, "float32", "logits")
    assert reason is None
    assert oracle.asked == [STREAM64, STREAM32, OFFLINE32]
