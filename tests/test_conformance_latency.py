"""WS-LATENCY-7, WS-LATENCY-8: what is late is found, by a clock that nobody's load disturbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from port_judging import judged
from scipy import stats

from conformance.base_port import BasePort
from conformance.confidence import at_least, at_most, holds, units_needed
from conformance.latency_clock import VirtualClock, WallClock, clock, running_by
from conformance.mutants import latency
from conformance.mutants.patching import Mutant
from conformance.protocol import Hello, OpenRequest, Port, UnitInput, UnitOutput
from conformance.shapes import output_shapes
from conformance.verdicts import Verdict

CHECKS = ("latency/deadlines", "latency/backlog")


class Mute(BasePort):
    """Answers in the right shapes at once, and says nothing: the check is about time alone."""

    def __init__(self, late: Mapping[int, int] | None = None, held: int = 0) -> None:
        """
        Args:
            late: milliseconds that single units take.
            held: units that are answered that many steps later.
        """
        self._late = {} if late is None else late
        self._held = held
        self._request: OpenRequest | None = None
        self._waiting: list[UnitOutput] = []

    def hello(self) -> Hello:
        return Hello(
            name="mute",
            version="1",
            profiles=("latency",),
            dtypes=("float32",),
            deterministic=True,
            features=("session",),
        )

    def open(self, request: OpenRequest) -> str:
        self._request, self._waiting = request, []
        return "the session"

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:  # noqa: ARG002
        assert self._request is not None
        clock().sleep_until(clock().now() + self._late.get(unit.unit, 0) * 1_000_000)
        arrays = {
            name: None if shape is None else np.zeros(shape, np.float32)
            for name, shape in output_shapes(self._request).items()
        }
        logits = arrays.pop("logits")
        assert logits is not None
        text = (0,) * len(logits)
        self._waiting.append(UnitOutput(unit=unit.unit, text=text, logits=logits, **arrays))
        ready = len(self._waiting) - self._held
        return [self._waiting.pop(0) for _ in range(max(ready, 0))]

    def finish(self, session: str) -> Sequence[UnitOutput]:  # noqa: ARG002
        return [self._waiting.pop(0) for _ in range(len(self._waiting))]

    def close(self, session: str) -> None: ...


def verdicts(port: Port) -> dict[str, Verdict]:
    with running_by(VirtualClock()):
        report = judged(port, *CHECKS)
    return {case.check: case.verdict for case in report.cases}


PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("port", "deadlines", "backlog"),
    [
        (Mute(), PASS, PASS),
        (Mute(held=1), PASS, PASS),
        (Mute(held=2), PASS, PASS),
        (Mute(held=3), FAIL, PASS),
        (Mute(held=4), FAIL, FAIL),
        (Mute(dict.fromkeys(range(400), 160)), PASS, PASS),
        (Mute(dict.fromkeys(range(400), 162)), FAIL, PASS),
        (Mute({100: 319}), PASS, PASS),
        (Mute({100: 400}), OPEN, PASS),
        (Mute({100: 400, 200: 400}), OPEN, PASS),
        (Mute(dict.fromkeys(range(0, 299, 30), 400)), FAIL, PASS),
    ],
    ids=range(11),
)
def test_ws_latency_7_and_8_by_the_clock(port: Port, deadlines: Verdict, backlog: Verdict) -> None:
    assert verdicts(port) == {"latency/deadlines": deadlines, "latency/backlog": backlog}


@pytest.mark.parametrize("mutant", latency.MUTANTS, ids=lambda m: m.name)
def test_ws_conformance_14_what_is_late_is_found(mutant: Mutant) -> None:
    with running_by(VirtualClock()):
        report = judged(mutant.factory(), clause=mutant.clause)
    assert report.cases[-1].verdict is Verdict.FAIL
    assert report.cases[-1].clause == mutant.clause


def test_ws_latency_7_299_units_are_the_fewest() -> None:
    assert units_needed() == 299


@pytest.mark.parametrize("units", [10, 299, 1000])
@pytest.mark.parametrize("late", [0, 1, 5, 9])
def test_ws_latency_7_tails_are_the_binomial_ones(late: int, units: int) -> None:
    assert at_most(late, units) == pytest.approx(stats.binom.cdf(late, units, 0.01), rel=1e-12)
    assert at_least(late, units) == pytest.approx(stats.binom.sf(late - 1, units, 0.01), rel=1e-9)


def test_ws_latency_7_verdicts_do_not_overlap() -> None:
    said = [holds(late, 2000) for late in range(60)]
    assert said == sorted(said, key=lambda v: {True: 0, None: 1, False: 2}[v])
    assert set(said) == {True, None, False}


def test_the_wall_clock_waits() -> None:
    wall = WallClock()
    moment = wall.now() + 2_000_000
    wall.sleep_until(moment)
    assert wall.now() >= moment
