"""Stage 2: duplex interaction, user and agent at work in every unit.

A small conversation is played out by rules: the user speaks and shows, the agent listens visibly;
when the user falls silent the agent answers in text, sound and picture at once; the user may
interrupt, and the agent yields a unit later; the user may only show something, and the agent
remarks on it unasked. In half of the records a picture in the prefill says what the agent looks
like where it says nothing.
Source: PAPER §2.2 (end-to-end duplex data), §2.3 (second stage), §3 (interruption, listening,
proactive speaking); the rules are CHOICE (WS-TRAINING-11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reference.training import draws, signals
from reference.training.record import Record
from reference.training.script import Moment, play
from spec.prefill import Identity
from spec.session import SessionConfig
from spec.sizes import Preset

ANSWER: Final = 1
"""The agent answers symbol s by s + 1 modulo their number."""


def duplex_record(preset: Preset, name: str, units: int, drop: float) -> Record:
    """The duplex record called ``name``: all modalities on both sides (WS-TRAINING-11).

    Args:
        units: K.
        drop: share of records without their condition (WS-TRAINING-7).
    """
    shown = draws.integer(f"{name}/identity", 2) == 0
    config = SessionConfig(preset=preset, schedule=preset.schedule, identity=Identity(image=shown))
    return play(
        name,
        "duplex",
        config,
        conversation(name, units),
        conditional=draws.fraction(f"{name}/drop") >= drop,
        persona=draws.integer(f"{name}/persona", signals.SYMBOLS) if shown else None,
    )


def conversation(name: str, units: int) -> list[Moment]:
    """The script called ``name``: turns until ``units`` are full, cut off there."""
    script: list[Moment] = []
    for turn in range(units):
        script += turn_of(f"{name}/turn{turn}")
        if len(script) >= units:
            break
    return script[:units]


def turn_of(name: str) -> Iterator[Moment]:
    """One exchange: idle, then a spoken turn with its answer, or a remark."""
    for _ in range(draws.integer(f"{name}/idle", 2)):
        yield Moment()
    if draws.integer(f"{name}/kind", 4) == 0:
        yield from remark(name)
    else:
        yield from exchange(name)


def remark(name: str) -> Iterator[Moment]:
    """The user shows something and says nothing; the agent names it in the next unit."""
    shown = draws.integer(f"{name}/shown", signals.SYMBOLS)
    yield Moment(seen=shown)
    yield Moment(said=shown)


def exchange(name: str) -> Iterator[Moment]:
    """The user speaks or types for one to three units; the agent answers symbol by symbol, until
    it is interrupted or done."""
    asked = utterance(f"{name}/asked")
    yield from listen(asked, typed=draws.integer(f"{name}/typed", 3) == 0)
    answer = [(s + ANSWER) % signals.SYMBOLS for s in asked]
    if draws.integer(f"{name}/interrupted", 2) == 0:
        yield from (Moment(said=s) for s in answer)
        return
    spoken = draws.integer(f"{name}/spoken", len(answer))
    yield from (Moment(said=s) for s in answer[:spoken])
    # Both are heard for one unit: the agent notices, and yields in the next one.
    again = utterance(f"{name}/again")
    yield Moment(heard=again[0], seen=again[0], said=answer[spoken])
    yield from listen(again[1:], typed=False)
    yield from (Moment(said=(s + ANSWER) % signals.SYMBOLS) for s in again)


def utterance(name: str) -> list[int]:
    """One to three symbols."""
    count = 1 + draws.integer(f"{name}/count", 3)
    return [draws.integer(f"{name}/symbol{i}", signals.SYMBOLS) for i in range(count)]


def listen(symbols: list[int], *, typed: bool) -> Iterator[Moment]:
    """The user speaks, or types while showing it; the agent is silent and visibly attends."""
    for s in symbols:
        if typed:
            yield Moment(typed=s, seen=s, listening=True)
        else:
            yield Moment(heard=s, seen=s, listening=True)
