"""WS-CONFORMANCE-25: noise of any shape accuses nobody, and hides nothing that is more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from port_judging import assert_killed, judged, oracle

from conformance.case import Context, Inconclusive
from conformance.guard import Guard
from conformance.inputs import BARE, base
from conformance.mutants import unsteady
from conformance.mutants.benign_manners import UnsteadyCodecs
from conformance.mutants.patching import Mutant
from conformance.pairing import REPEATS, settled
from conformance.ports.reference import ReferencePort
from conformance.protocol import PARTS, Array, Hello
from conformance.recording import Recording
from conformance.spread import PartSpread, SessionSpread, Sides, nearer
from conformance.tolerance import EPS, FLOOR_ULP, same_bits
from conformance.verdicts import Verdict

SIZE = 256
TRUTH = np.sin(np.arange(SIZE) / 3.0)
SPREAD = PartSpread(truth=TRUTH.astype, dtype="float32")
"""The naive run is the truth rounded, so the budget is little more than the floor."""
ULP = EPS["float32"]

Noise = Callable[[np.random.Generator], Array]

SHAPES: dict[str, Noise] = {
    "gaussian": lambda g: np.clip(g.normal(0, 0.5 * ULP, SIZE), -FLOOR_ULP * ULP, FLOOR_ULP * ULP),
    "one step up or none": lambda g: ULP * g.integers(0, 2, SIZE),
    "rare and large": lambda g: FLOOR_ULP * ULP * (g.random(SIZE) < 0.01),
    "whole runs now and then": lambda g: np.full(SIZE, ULP * (g.random() < 0.1)),
    "a coin for each run": lambda g: np.full(SIZE, ULP * (g.random() < 0.5)),
    "with the signal": lambda g: np.abs(TRUTH) * g.uniform(-ULP, ULP, SIZE),
    "one element": lambda g: np.where(np.arange(SIZE) == 7, ULP * g.normal(), 0.0).clip(-ULP, ULP),
    "all to one side": lambda g: g.exponential(ULP / 8, SIZE).clip(0, FLOOR_ULP * ULP),
}


class Unclaimed(ReferencePort):
    """Does not claim to repeat itself."""

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), deterministic=False, exact_split=False)


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(Guard(Unclaimed()), oracle())


def unequal(a: Array, b: Array) -> str | None:
    return None if same_bits(a, b) else "not the same"


def verdict(
    context: Context, before: Callable[[], Array], after: Callable[[], Array]
) -> str | None:
    """By all of the rule."""
    return settled(context, before, after, unequal, unequal, SPREAD, only_values=SPREAD)


def noisy(noise: Noise, seed: int, defect: float = 0.0) -> Callable[[], Array]:
    draw = np.random.default_rng(seed)
    return lambda: (TRUTH + noise(draw) + defect).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 2**32 - 1))
def test_noise_of_any_shape_accuses_nobody(context: Context, shape: str, seed: int) -> None:
    """The two are drawn from one stream, as a port does that knows not what it is asked next."""
    run = noisy(SHAPES[shape], seed)
    assert verdict(context, run, run) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=6), st.integers(1, 5))
def test_buffers_in_turn_accuse_nobody(context: Context, turns: list[bool], stays: int) -> None:
    """Noise with a period of its own, whatever the period, or a mode that lasts for a while."""

    def calls() -> Iterator[Array]:
        while True:
            for turn in turns:
                for _ in range(stays):
                    yield (TRUTH + ULP * turn).astype(np.float32)

    answers = calls()
    assert verdict(context, lambda: next(answers), lambda: next(answers)) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_more_than_rounding_fails(context: Context, shape: str) -> None:
    """A thousandth is far beyond class C: no run of it passes."""
    reason = verdict(context, noisy(SHAPES[shape], 1), noisy(SHAPES[shape], 2, defect=1e-3))
    assert reason == "not the same"


def test_what_rounding_could_be_fails_when_it_is_always_there(context: Context) -> None:
    """Three units in the last place are within the budget of two runs; noise is half of one."""
    shape = SHAPES["all to one side"]
    reason = verdict(context, noisy(shape, 1), noisy(shape, 2, defect=3 * ULP))
    assert reason == f"more than noise in {REPEATS} runs of each: not the same"
    assert SPREAD.near(TRUTH, TRUTH + 3 * ULP).tobytes() == TRUTH.tobytes()


def test_noise_beyond_rounding_fails_as_such(context: Context) -> None:
    gross = noisy(lambda g: 1e-3 * g.random(SIZE), 3)
    reason = verdict(context, gross, gross)
    assert reason == "the same commands again, further apart than rounding explains: not the same"


@pytest.mark.parametrize("deterministic", [False, True])
def test_who_repeats_itself_is_judged_by_bits(deterministic: bool) -> None:
    """An ulp is enough, whatever the port says of itself; so is noise for one that says it has
    none."""
    port = ReferencePort() if deterministic else Unclaimed()
    steady = Context(Guard(port), oracle())
    one, other = (x.astype(np.float32) for x in (TRUTH, TRUTH + ULP))
    assert verdict(steady, lambda: one, lambda: other) == "not the same"
    if deterministic:
        run = noisy(SHAPES["one step up or none"], 4)
        assert verdict(steady, run, run) == "not the same"


def test_an_input_that_is_not_used_is_found_beside_noise(context: Context) -> None:
    """By bits: what must move has not moved, while noise is elsewhere."""
    run = noisy(SHAPES["one element"], 5)

    def used(a: Array, b: Array) -> str | None:
        return "not used" if same_bits(a[100:], b[100:]) else None

    reason = settled(context, run, run, unequal, unequal, SPREAD, used)
    assert reason == "not used"


def test_a_word_that_rounding_changes_is_inconclusive(context: Context) -> None:
    """Logits that are as good as equal, and the other word; the words after it are others, too."""
    script = base(BARE, "overlapped", "float32", units=2)
    known = context.run(script)
    row = known[0].logits.copy()
    other = int(np.argsort(row[0])[-2])
    row[0, other] = row[0, known[0].text[0]]
    even = attrs.evolve(known[0], logits=row)
    flipped = attrs.evolve(even, text=(other, *known[0].text[1:]))
    answers = [(even, *known[1:]), (flipped, *known[1:])] * (REPEATS + 4)
    left: Iterator[Recording] = iter(answers)

    def differs(a: Recording, b: Recording) -> str | None:
        return None if a[0].text == b[0].text else "another word"

    spread = SessionSpread(context=context, script=script)
    run = left.__next__
    with pytest.raises(Inconclusive, match=f"unit 0, slot 0: the words {known[0].text[0]}"):
        settled(context, run, run, differs, differs, spread)
    # A word that is far behind is no matter of rounding.
    behind = row.copy()
    behind[0, other] -= 10.0
    far = attrs.evolve(flipped, logits=behind)
    assert spread.flipped((far,), (attrs.evolve(far, text=known[0].text),)) is None


def test_how_seldom_noise_is_on_one_side_every_time() -> None:
    """The share of random orders is 1 of C(2n, n) / 2, counted for few runs, worked out for all."""
    draw = np.random.default_rng(6)
    drawn = draw.normal(size=(2, 3, 40_000))
    sides = Sides(SPREAD, drawn[0, 0], drawn[1, 0])
    for a, b in zip(drawn[0, 1:], drawn[1, 1:], strict=True):
        sides.more(a, b)
    one, other = sides.apart()
    assert np.mean(one != other) == pytest.approx(2 / comb(6, 3), rel=0.05)
    assert 2 / comb(2 * REPEATS, REPEATS) < 1e-13


def test_nearer_leaves_what_cannot_be_compared() -> None:
    a = np.zeros(3, np.float32)
    assert nearer(a, np.zeros(4, np.float32), 1.0).shape == (4,)
    assert nearer(a, np.full(3, np.nan, np.float32), 1.0).tobytes() != a.tobytes()


def test_each_part_is_held_to_its_own_repeats() -> None:
    """`codec/repeated` passes a port whose noise is rounding, and asks every part."""
    report = judged(UnsteadyCodecs(), "codec/repeated")
    assert {case.verdict for case in report.cases} == {Verdict.PASS}
    assert [case.id.partition(":")[2] for case in report.cases] == list(PARTS)


@pytest.mark.parametrize("mutant", unsteady.MUTANTS, ids=lambda m: m.name)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(mutant: Mutant) -> None:
    assert_killed(mutant)
