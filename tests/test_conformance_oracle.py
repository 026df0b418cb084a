"""WS-CONFORMANCE-9: what the oracle knows, and what it is not asked again."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from port_judging import NotingOracle

from conformance.inputs import BARE, Content, script_of
from conformance.oracle import begins
from conformance.pairing import Kept
from conformance.protocol import OpenRequest
from conformance.recording import Script
from conformance.relations import same


@pytest.fixture(name="oracle")
def _oracle() -> NotingOracle:
    return NotingOracle()


def script(units: int, *, last: int = 0, prompt: tuple[int, ...] = (72, 105)) -> Script:
    """Units that are alike but for the last, which is drawn with a seed."""
    request = OpenRequest(preset=BARE, schedule="overlapped", dtype="float32", prompt=prompt)
    seeds = [0] * (units - 1) + [last]
    return script_of(request, [Content(seed=s, agent_text=(65, 66)) for s in seeds])


def test_ws_conformance_9_a_longer_stream_is_known_for_its_beginning(oracle: NotingOracle) -> None:
    """To the bit what the oracle would say of the beginning alone, without being asked."""
    long = oracle.truth(script(4), "stream")
    asked = len(oracle.asked)
    short = oracle.truth(script(2), "stream")
    assert len(oracle.asked) == asked
    alone = NotingOracle().truth(script(2), "stream")
    assert len(long.outputs) == 4
    assert [len(short.script.units), len(short.outputs)] == [2, 2]
    assert same(short.outputs, alone.outputs, range(2)) is None
    # The naive stream; the naive offline form may round otherwise in a longer clip.
    (stream, _), (its_own, _) = short.naive, alone.naive
    assert same(stream, its_own, range(2)) is None


def others() -> Iterator[tuple[str, Script]]:
    yield "another last unit", script(2, last=1)
    yield "more units", script(5)
    shorter = script(2)
    elsewhere = script(2, prompt=(72, 106)).open
    yield "the same units after another prompt", attrs.evolve(shorter, open=elsewhere)
    equal = tuple(attrs.evolve(unit) for unit in shorter.units)
    yield "units that were made anew", attrs.evolve(shorter, units=equal)


@pytest.mark.parametrize("other", [pytest.param(s, id=name) for name, s in others()])
def test_ws_conformance_9_anything_else_is_asked(oracle: NotingOracle, other: Script) -> None:
    oracle.truth(script(4), "stream")
    oracle.asked.clear()
    truth = oracle.truth(other, "stream")
    assert oracle.asked[0][2] == len(other.units) == len(truth.outputs)


def test_ws_conformance_9_an_offline_truth_is_of_the_clip_as_it_is(oracle: NotingOracle) -> None:
    """How many units follow is part of the question."""
    oracle.truth(script(4), "stream")
    oracle.asked.clear()
    oracle.truth(script(2), "offline")
    assert oracle.asked[0][2] == 2


def test_a_script_does_not_begin_itself() -> None:
    assert not begins(script(3), script(3))
    assert begins(script(3), script(2))


def test_the_first_run_is_kept_and_others_are_not() -> None:
    made: list[int] = []

    def run() -> list[int]:
        made.append(len(made))
        return list(made)

    runs = Kept.of(run)
    last = runs.picked(lambda numbers: numbers[-1])
    assert made == []
    assert [last.first(), last.first(), runs.first()] == [0, 0, [0]]
    assert [last.anew(), last.anew(), last.first()] == [1, 2, 0]
