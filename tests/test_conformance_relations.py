"""How sessions are compared: reachability, asking again, programs, drift, stored expectations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from port_judging import oracle

from conformance import long_session
from conformance.case import Context
from conformance.guard import Guard
from conformance.inputs import BARE, Content
from conformance.pairing import settled
from conformance.ports.reference import ReferencePort
from conformance.programs import Step, opened, stepped
from conformance.protocol import Hello, OpenRequest
from conformance.random_programs import (
    Draw,
    draws,
    from_json,
    program_of,
    smallest_failure,
    to_json,
)
from conformance.reach import Place, Session, Site
from conformance.spread import Spread
from conformance.tolerance import EPS, drifts
from spec.layout import Layout, Modalities, Segment
from spec.presets import preset_named

REQUEST = OpenRequest(preset=BARE, schedule="overlapped", dtype="float32")


def table(lag: int, units: int = 4) -> Session:
    layout = Layout(preset=preset_named(BARE), modalities=Modalities(), prefill_tokens=3)
    return Session(layout, lag, [2] * units)


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("site", ["audio", "video", "text", "agent_text", "noise_audio"])
def test_what_must_move_may_move(site: Site, lag: int) -> None:
    """WS-VISIBILITY-1: the lower bound of reachability is inside the upper one."""
    place = Place(site=site, unit=1, index=0)
    must, may = table(lag).reach(place, far=False), table(lag).reach(place, far=True)
    assert not (must.entries & ~may.entries).any()
    before = np.array([row.unit < 1 for row in may.rows])
    assert not may.entries[:, before].any()
    assert must.entries[:, ~before].any()


@pytest.mark.parametrize("lag", [0, 1])
def test_noise_reaches_words_after_the_lag(lag: int) -> None:
    """WS-VISIBILITY-2, WS-VISIBILITY-7: unit 1's noise is in the logits of unit 2 + λ, not
    before."""
    reach = table(lag, 5).reach(Place(site="noise_video", unit=1, index=3), far=True)
    assert [bool(bits.any()) for bits in reach.logits] == [k >= 2 + lag for k in range(5)]
    assert [bool(bits.all()) for bits in reach.audio_latents] == [k >= 1 for k in range(5)]


def test_user_text_is_not_in_the_entries_of_its_own_signals() -> None:
    """WS-VISIBILITY-4: audio and video of a unit do not see its text; later text slots do."""
    reach = table(1).reach(Place(site="text", unit=1, index=0), far=True)
    own = [i for i, r in enumerate(reach.rows) if (r.unit, r.segment) == (1, Segment.O)]
    assert [bool(reach.entries[0, i]) for i in own] == [False] * 10 + [True, False]
    assert [bool(reach.entries[1, i]) for i in own] == [False] * 10 + [True, True]


class Claiming(ReferencePort):
    """Says of itself what the test wants."""

    deterministic = True

    def hello(self) -> Hello:
        hello = super().hello()
        return Hello(
            name="claiming",
            version="1",
            profiles=hello.profiles,
            dtypes=hello.dtypes,
            deterministic=self.deterministic,
            features=hello.features,
        )


def context(*, deterministic: bool) -> Context:
    port = Claiming()
    port.deterministic = deterministic
    return Context(Guard(port), oracle())


def each_of(answers: Iterable[int]) -> Callable[[], int]:
    """Runs that give these answers, one after the other."""
    left = iter(answers)
    return lambda: next(left)


def unequal(a: int, b: int) -> str | None:
    return None if a == b else f"{a} against {b}"


class Within(Spread[int]):
    """Rounding explains less than ten."""

    def near(self, a: int, b: int) -> int:
        return a if abs(a - b) < 10 else b


def test_ws_conformance_9_a_port_that_warms_up_is_asked_again() -> None:
    run = each_of((1, 2, 2, 2))
    assert settled(context(deterministic=True), run, run, unequal, unequal, Within()) is None


def test_ws_conformance_9_what_stays_different_is_a_failure() -> None:
    steady = context(deterministic=False)
    assert settled(steady, lambda: 1, lambda: 2, unequal, unequal, Within()) == "1 against 2"


def test_ws_conformance_25_who_does_not_repeat_itself_is_judged_by_what_it_claims() -> None:
    run = each_of(range(9))
    assert settled(context(deterministic=False), run, run, unequal, unequal, Within()) is None
    run = each_of(range(0, 900, 100))
    reason = settled(context(deterministic=False), run, run, unequal, unequal, Within())
    assert reason is not None
    assert reason.startswith("the same commands again, further apart than rounding explains")
    run = each_of(range(9))
    settled_by_bits = settled(context(deterministic=True), run, run, unequal, unequal, Within())
    assert settled_by_bits == "2 against 3"


@given(draws("float32", ("reset", "kv_transfer")))
def test_a_random_program_is_plain_data(draw: Draw) -> None:
    """What is shown of a failure can be read back; only open sessions are used."""
    program = program_of(draw)
    assert from_json(to_json(program)) == program
    is_open: set[str] = set()
    for step in program:
        assert (step.session in is_open) != (step.do == "open")
        if step.do in ("open", "close"):
            is_open ^= {step.session}
    assert not is_open


def test_a_random_failure_is_shrunk() -> None:
    """The program shown fails, and is shorter than the first that did."""
    failed: list[int] = []

    def judge(program: list[Step]) -> str | None:
        done = [step.do for step in program if step.session == "a"]
        late = "step" in done and "reset" in done[done.index("step") :]
        failed.extend([len(program)] * late)
        return "reset after a step" if late else None

    found = smallest_failure(draws("float32", ("reset", "kv_transfer")), judge)
    assert found is not None
    program, reason = found
    assert reason == judge(program) == "reset after a step"
    assert len(program) < failed[0]


def test_programs_name_what_they_do() -> None:
    program = [opened("a", REQUEST), *stepped("a", [Content(seed=1)])]
    assert program[1] == Step(do="step", session="a", content=Content(seed=1))


TRUTH = np.sin(np.arange(64.0)).reshape(32, 2)
NAIVE = np.full((32, 2), 1e-6)
SCALE = np.ones(32)


@pytest.mark.parametrize(("error", "passes"), [(2.9e-6, True), (3.4e-6, False)])
def test_ws_conformance_9_drift_is_three_times_the_naive_one(error: float, passes: bool) -> None:
    actual = TRUTH.copy()
    actual[16:] += error
    reason, judged_units = drifts(actual, TRUTH, NAIVE, SCALE, "float32", 16)
    assert (reason is None) == passes
    assert judged_units == 32
    if reason is not None:
        assert reason.startswith("units 16 to 31")


def test_ws_conformance_9_nothing_is_judged_past_the_horizon() -> None:
    naive = NAIVE.copy()
    naive[16:] = 0.5
    actual = TRUTH.copy()
    actual[16:] += 10.0
    assert drifts(actual, TRUTH, naive, SCALE, "float32", 16) == (None, 16)
    assert EPS["float32"] < 1e-6


@pytest.mark.parametrize("name", long_session.HAS)
def test_the_stored_long_sessions_are_those_of_the_reference(name: long_session.Name) -> None:
    """WS-CONFORMANCE-9: the first units made anew; and the inputs are the same."""
    known = long_session.stored(name)
    assert known.inputs == long_session.inputs_digest(name)
    truth = oracle().record(long_session.script(name, "float64", 5))
    naive = oracle().record(long_session.script(name, "float32", 5))
    for tensor in long_session.GIVEN[name]:
        stored = known.truth[tensor][:5]
        np.testing.assert_allclose(long_session.sampled(truth, tensor), stored, atol=1e-11)
        off = np.abs(getattr(naive[4], tensor) - getattr(truth[4], tensor)).max()
        assert off <= 3 * known.errors["float32"][tensor][:5, 1].max()
