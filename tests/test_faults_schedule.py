"""Fault schedules: asked for in words, drawn from a seed, kept as JSON (WS-FAULTS-1, -2)."""

from __future__ import annotations

import json
import random

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
