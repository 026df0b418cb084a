"""Every rule of the exchange, step by step, at one side (WS-EXCHANGE-1 to WS-EXCHANGE-12)."""

from __future__ import annotations

import pytest
from exchange_scripts import (
    OPENED,
    PERFORMER_SCRIPTS,
    TERMS,
    opens,
    play_performer,
    sends,
    solved,
)
from exchange_thinker_scripts import SAID_HELLO, THINKER_SCRIPTS, offered, play_thinker

from simulator.world.machines import Machines
from spec.errors import ExchangeError
from spec.exchange import PERFORMER, THINKER, performer, step, thinker
from spec.exchange_effects import Corrupt, Exported, Fail, Fault, Finish, Input, Timer
from spec.exchange_terms import Part


@pytest.mark.parametrize("name", PERFORMER_SCRIPTS)
def test_performer_answers(name: str) -> None:
    """The clause is in the script's name."""
    play_performer(Machines(), PERFORMER_SCRIPTS[name])


@pytest.mark.parametrize("name", THINKER_SCRIPTS)
def test_thinker_answers(name: str) -> None:
    """The clause is in the script's name."""
    play_thinker(Machines(), THINKER_SCRIPTS[name])


@pytest.mark.parametrize("given", [solved(0), solved(5)])
def test_solving_out_of_turn_is_our_fault(given: Input) -> None:
    """WS-EXCHANGE-6: our own mistake raises, and the state is as it was."""
    state = performer(TERMS, incarnation=1)
    for message, _ in OPENED:
        state, _ = step(PERFORMER, state, message)
    with pytest.raises(ExchangeError, match="solved-out-of-turn"):
        step(PERFORMER, state, given)
    step(PERFORMER, state, Timer())


@pytest.mark.parametrize("given", [offered(1), Exported(epoch=0, unit=-1, parts=offered(0).parts)])
def test_offering_out_of_turn_is_our_fault(given: Input) -> None:
    """WS-EXCHANGE-6: a slice that is not the next, a snapshot that nobody asked for."""
    state = thinker(TERMS)
    for message, _ in SAID_HELLO:
        state, _ = step(THINKER, state, message)
    with pytest.raises(ExchangeError, match="thinker while streaming"):
        step(THINKER, state, given)


def test_no_slice_follows_the_last() -> None:
    """WS-EXCHANGE-12: after Finish nothing may be offered."""
    state, _ = step(THINKER, thinker(TERMS), offered(0))
    state, _ = step(THINKER, state, Finish())
    with pytest.raises(ExchangeError, match="offer-out-of-turn"):
        step(THINKER, state, offered(1))


def test_an_input_of_the_other_side_is_our_fault() -> None:
    """WS-EXCHANGE-6: a thinker solves nothing."""
    with pytest.raises(ExchangeError, match="input of the thinker"):
        step(THINKER, thinker(TERMS), solved(0))


def test_a_slice_that_is_not_whole_is_not_taken() -> None:
    """WS-EXCHANGE-5: the parts offered tile the slice."""
    for parts in [
        (),
        (Part((0, 1), (0, 2), "0" * 64),),
        (Part((0, 2), (0, 2), "0" * 64), Part((1, 2), (0, 2), "1" * 64)),
        (Part((0, 2), (0, 1), "0" * 64), Part((0, 2), (0, 1), "0" * 64)),
        (Part((0, 3), (0, 2), "0" * 64),),
    ]:
        state, _ = step(THINKER, thinker(TERMS), Corrupt())
        given = offered(0)
        with pytest.raises(ExchangeError, match="part"):
            step(THINKER, state, type(given)(unit=0, parts=parts))


def test_a_failure_says_whose_fault_it_is() -> None:
    """WS-EXCHANGE-6: the driver can raise what the machine found."""
    state, _ = step(PERFORMER, performer(TERMS, incarnation=1), opens())
    _, effects = step(PERFORMER, state, sends(2))
    fail = effects[-1]
    assert isinstance(fail, Fail)
    assert fail.fault is Fault.PEER
    with pytest.raises(ExchangeError, match=r"fault: peer.*slice-early while streaming"):
        raise fail.error()
