"""Fault schedules: asked for in words, drawn from a seed, kept as JSON (WS-FAULTS-1, -2)."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.faults import (
    LENGTHS,
    MESSAGE_KINDS,
    RATES,
    SKEW_PPM,
    WHERE,
    Fault,
    FaultError,
    FaultKind,
    draw,
    from_json,
    parse_faults,
    swarm,
    to_json,
)
from spec import clock


@st.composite
def faults(draw_: st.DrawFn) -> Fault:
    kind = draw_(st.sampled_from(FaultKind))
    lowest = -SKEW_PPM if kind is FaultKind.SKEW else 0
    highest = SKEW_PPM if kind is FaultKind.SKEW else 10**12
    return Fault(
        kind=kind,
        session=draw_(st.integers(0, 3)),
        where=draw_(st.sampled_from(WHERE[kind])),
        at=draw_(st.integers(0, 10**12)),
        amount=draw_(st.integers(lowest, highest)),
    )


@given(st.lists(faults(), max_size=8).map(tuple))
def test_a_schedule_survives_json(schedule: tuple[Fault, ...]) -> None:
    """WS-FAULTS-1"""
    assert from_json(to_json(schedule)) == schedule


GOOD = {"kind": "drop", "session": 0, "where": "to-thinker", "at": 3, "amount": 0}
SKEW = {**GOOD, "kind": "skew", "where": "thinker"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "fault schedule"),
        ("{}", "a JSON list of faults"),
        ("[" * 100_000, "fault schedule"),
        ("[1]", "fault 0"),
        (json.dumps([GOOD, {**GOOD, "extra": 1}]), "fault 1"),
        (json.dumps([{**GOOD, "kind": "gremlin"}]), "fault 0: kind: got 'gremlin'"),
        (json.dumps([{**GOOD, "where": "client"}]), "fault 0: where of a drop"),
        (json.dumps([{**GOOD, "at": -1}]), "fault 0: at of a drop: got -1"),
        (json.dumps([{**GOOD, "at": 1.5}]), "fault 0: at of a drop: got 1.5"),
        (json.dumps([{**GOOD, "session": True}]), "fault 0: session of a drop"),
        (json.dumps([{**GOOD, "amount": -1}]), "fault 0: amount of a drop: got -1"),
        (json.dumps([{**SKEW, "amount": 200_001}]), "fault 0: amount of a skew: got 200001"),
        (json.dumps([{**SKEW, "amount": -200_001}]), "fault 0: amount of a skew: got -200001"),
    ],
)
def test_a_bad_schedule_is_refused_in_one_line(text: str, said: str) -> None:
    """WS-FAULTS-1: the line names the fault and the field."""
    with pytest.raises(FaultError, match=said) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


def test_faults_in_words() -> None:
    """WS-FAULTS-2"""
    assert parse_faults("none") == {}
    assert parse_faults("all") == RATES
    assert set(RATES) == set(FaultKind) == set(WHERE) == set(LENGTHS)
    assert parse_faults("drop=0.25, crash=1") == {FaultKind.DROP: 0.25, FaultKind.CRASH: 1.0}


@pytest.mark.parametrize(
    "text", ["", "drop", "drop=", "drop=two", "drop=-0.1", "drop=1.5", "drop=nan", "gremlin=0.1",
             "drop=0.1,drop=0.2", "drop=0.1,", "all=0.1"],
)  # fmt: skip
def test_bad_words_are_refused(text: str) -> None:
    """WS-FAULTS-2: one line that says what is allowed."""
    with pytest.raises(FaultError, match="allowed: ") as caught:
        parse_faults(text)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_the_same_seed_draws_the_same_faults(seed: int, units: int) -> None:
    """WS-FAULTS-2: and every fault lies in the run that it is drawn for."""

    def drawn() -> tuple[Fault, ...]:
        rng = random.Random(seed)
        return draw(rng, swarm(rng, RATES), units=units, sessions=2)

    schedule = drawn()
    assert schedule == drawn()
    for fault in schedule:
        assert fault.session in (0, 1)
        if fault.kind not in MESSAGE_KINDS:
            assert fault.at < units * clock.UNIT_NS


def test_rates_are_kept_and_kinds_masked() -> None:
    """WS-FAULTS-2: on average a rate is what it says, and runs leave out whole kinds."""
    rng = random.Random(3)
    rates = {FaultKind.DROP: 0.03, FaultKind.PAUSE: 0.004}
    count = sum(len(draw(rng, rates, units=100, sessions=1)) for _ in range(2000))
    assert count / 2000 == pytest.approx(3.4, rel=0.03)
    mixtures = {frozenset(swarm(rng, RATES)) for _ in range(50)}
    assert len(mixtures) > 40
    assert min(map(len, mixtures)) < len(FaultKind)


def test_a_run_multiplies_its_rates() -> None:
    """WS-FAULTS-2: by 0, 1/4, 1 or 4, each as often, and a rate stays one."""
    rng = random.Random(5)
    drawn = Counter(swarm(rng, {FaultKind.DROP: 0.1}).get(FaultKind.DROP, 0.0) for _ in range(4000))
    assert sorted(drawn) == pytest.approx([0, 0.025, 0.1, 0.4])
    assert all(count == pytest.approx(1000, rel=0.1) for count in drawn.values())
    often = {swarm(rng, {FaultKind.DROP: 0.5}).get(FaultKind.DROP, 0.0) for _ in range(50)}
    assert sorted(often) == [0, 0.125, 0.5, 1]


def test_one_in_eight_faults_of_messages_is_meant_for_the_ends() -> None:
    """WS-FAULTS-2: half of them for the first few messages, half for the last few; the others lie
    anywhere among the 200 of a session of 100 units."""
    rng = random.Random(6)
    drawn = draw(rng, {FaultKind.DROP: 1.0}, units=100, sessions=64)
    first, last = (sum(n <= f.at < n + 8 for f in drawn) / len(drawn) for n in (0, 200))
    assert max(f.at for f in drawn) < 208
    assert first == pytest.approx(1 / 16 + 7 / 8 * 8 / 200, rel=0.1)
    assert last == pytest.approx(1 / 16, rel=0.1)
