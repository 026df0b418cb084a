"""The judge of simulated sessions: each part of each invariant, shown to fail alone."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import attrs
import pytest
from test_world_timing import PLAIN

from simulator.world.digests import (
    LATENTS,
    digest,
    shards_of,
    slice_parts,
    snapshot_parts,
)
from simulator.world.judge import InvariantError, Judge
from simulator.world.run import Setup, terms_of_session
from simulator.world.tampering import contradicts, tampered
from spec.exchange import performer, thinker
from spec.exchange_effects import Append, Decode, Solve
from spec.exchange_headers import latents_message, slice_header
from spec.exchange_message import Header, LatentsAck, Message, Open, SliceNack
from spec.exchange_performer import Appended
from spec.exchange_terms import slice_digest
from spec.exchange_thinker import Sent

TERMS = terms_of_session(Setup(scenario=PLAIN), "s0")
SHARDS = shards_of(TERMS, 2)


def opening(epoch: int = 0, incarnation: int = 1, unit: int = -1) -> Open:
    return Open(session="s0", epoch=epoch, incarnation=incarnation, unit=unit, terms=TERMS)


def parts_of(unit: int, epoch: int = 0) -> list[Header]:
    """The true parts of slice ``unit``, or of the snapshot -1."""
    snapshot = unit < 0
    parts = snapshot_parts(SHARDS, 0, unit, epoch) if snapshot else slice_parts(SHARDS, 0, unit)
    return [slice_header(TERMS, epoch, unit, snapshot, part) for part in parts]


class Told:
    """A judge that is told of a good session, step by step, and what it must not let pass."""

    def __init__(self) -> None:
        self.judge = Judge(0, TERMS, SHARDS)
        self.judge.reset(0)

    def appends(self, unit: int, parts: list[Header] | None = None, length: int = 0) -> Told:
        """Slice ``unit`` is held and appended."""
        for part in parts_of(unit) if parts is None else parts:
            self.judge.held(part)
        kv_len = parts_of(unit)[0].kv_len_after + length
        self.judge.appended(Append(epoch=0, unit=unit, digest="", kv_len=kv_len))
        return self

    def solves(self, unit: int, of: int | None = None) -> Told:
        """z_unit is solved from slice ``of``, its own unless it is said."""
        value = slice_digest(slice_parts(SHARDS, 0, unit if of is None else of))
        self.judge.solves(Solve(epoch=0, unit=unit, digest=value))
        return self

    def takes(self, unit: int, of: int | None = None, solved_ns: int = 5, now: int = 5) -> Told:
        """z_unit is solved and comes to the thinker, with the digest of response ``of``."""
        self.judge.solved(unit, solved_ns)
        value = digest(LATENTS, 0, unit if of is None else of)
        self.judge.took(Decode(unit=unit, digest=value), now)
        return self

    def does(self, *steps: Callable[[Judge], object]) -> Told:
        for step in steps:
            step(self.judge)
        return self


def test_a_good_session_passes_the_judge() -> None:
    """WS-FAULTS-5: what the broken ones below begin with."""
    told = Told().does(lambda j: j.opened(opening()), lambda j: j.payload_made(-1))
    told.does(*(functools.partial(Judge.slice_sent, header=part) for part in parts_of(-1)))
    told.appends(-1).appends(0).solves(0).appends(1).solves(1).takes(0).takes(1)
    told.does(lambda j: j.committed(0), lambda j: j.committed(1), lambda j: j.payload_released(-1))
    told.does(lambda j: j.updates(3, 1), lambda j: j.decodes(1), lambda j: j.closed(2))


BROKEN: dict[str, tuple[str, Callable[[], object]]] = {
    "opened for two performers": (
        "epoch", lambda: Told().does(lambda j: j.opened(opening()),
                                     lambda j: j.opened(opening(incarnation=2))),
    ),
    "opened for a former performer": (
        "epoch", lambda: Told().does(lambda j: j.opened(opening(incarnation=2)),
                                     lambda j: j.opened(opening(epoch=1))),
    ),
    "opened with another snapshot": (
        "epoch", lambda: Told().does(lambda j: j.opened(opening(unit=0))),
    ),
    "an epoch again": ("epoch", lambda: Told().does(lambda j: j.reset(0))),
    "a part of another epoch": ("epoch", lambda: Told().appends(-1, parts_of(-1, epoch=1))),
    "a part of another session": (
        "isolation",
        lambda: Told().appends(-1, [attrs.evolve(parts_of(-1)[0], session="s1")]),
    ),
    "a part that nobody made": (
        "append", lambda: Told().appends(-1, [attrs.evolve(parts_of(-1)[0], digest="f" * 64)]),
    ),
    "half a slice": ("append", lambda: Told().appends(-1, parts_of(-1)[:1])),
    "one half twice": ("append", lambda: Told().appends(-1, parts_of(-1)[:1] * 2)),
    "a slice too many parts": ("bounded", lambda: Told().appends(-1, parts_of(-1) * 2)),
    "no snapshot first": ("append", lambda: Told().appends(0)),
    "a slice left out": ("append", lambda: Told().appends(-1).appends(1)),
    "a slice again": ("append", lambda: Told().appends(-1).appends(0).appends(0)),
    "another length": ("append", lambda: Told().appends(-1, length=1)),
    "appended for nobody": (
        "lost", lambda: Told().does(lambda j: j.told_of_loss()).appends(-1),
    ),
    "solved before its slice": ("causality", lambda: Told().appends(-1).solves(0)),
    "solved twice": ("latents", lambda: Told().appends(-1).appends(0).solves(0).solves(0)),
    "a solve left out": ("latents", lambda: Told().appends(-1).appends(0).appends(1).solves(1)),
    "solved late": ("latents", lambda: Told().appends(-1).appends(0).appends(1).solves(0)),
    "solved from another slice": ("latents", lambda: Told().appends(-1).appends(0).solves(0, of=1)),
    "decoded twice": ("latents", lambda: Told().takes(0).takes(0)),
    "a response left out": ("latents", lambda: Told().takes(1)),
    "another response": ("latents", lambda: Told().takes(0, of=1)),
    "decoded before it was solved": ("causality", lambda: Told().takes(0, solved_ns=6)),
    "committed twice": (
        "latents", lambda: Told().takes(0).takes(1).does(*[lambda j: j.committed(0)] * 2),
    ),
    "committed before it is there": ("latents", lambda: Told().does(lambda j: j.committed(0))),
    "updated before what it sees": ("causality", lambda: Told().does(lambda j: j.updates(2, 1))),
    "begins to decode what is not here": ("causality", lambda: Told().does(lambda j: j.decodes(0))),
    "closed without a commit": (
        "conservation", lambda: Told().takes(0).does(lambda j: j.closed(1)),
    ),
    "closed without a response": ("conservation", lambda: Told().does(lambda j: j.closed(1))),
    "closed with a payload left": (
        "conservation", lambda: Told().does(lambda j: j.payload_made(0), lambda j: j.closed(0)),
    ),
    "sent after its release": (
        "conservation", lambda: Told().does(lambda j: j.slice_sent(parts_of(0)[0])),
    ),
    "sent otherwise than it was made": (
        "conservation",
        lambda: Told().does(lambda j: j.payload_made(0),
                            lambda j: j.slice_sent(attrs.evolve(parts_of(0)[0], digest="f" * 64))),
    ),
    "sent by a lost thinker": (
        "lost", lambda: Told().does(lambda j: j.payload_made(0), lambda j: j.thinker_lost(),
                                    lambda j: j.slice_sent(parts_of(0)[0])),
    ),
    "updated by a lost thinker": (
        "lost", lambda: Told().does(lambda j: j.thinker_lost(), lambda j: j.updates(0, 1)),
    ),
    "asked for again": (
        "requests", lambda: Told().does(lambda j: j.asked("thinker", 0, 3),
                                        lambda j: j.timer("performer"),
                                        lambda j: j.asked("thinker", 0, 3)),
    ),
    "payloads of too many units": (
        "bounded", lambda: Told().does(*[functools.partial(Judge.payload_made, unit=n)
                                         for n in range(5)],
                                       lambda j: j.thinker_bounded(thinker(TERMS))),
    ),
    "latents kept for ever": (
        "bounded", lambda: Told().does(*[functools.partial(Judge.solved, unit=n, now=0)
                                         for n in range(3)],
                                       lambda j: j.performer_bounded(performer(TERMS, 1))),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("invariant", "story"), BROKEN.values(), ids=BROKEN)
def test_what_the_judge_does_not_let_pass(invariant: str, story: Callable[[], object]) -> None:
    """WS-FAULTS-5: each part of each invariant, alone; what comes before it is good."""
    with pytest.raises(InvariantError) as caught:
        story()
    assert caught.value.invariant == invariant


def test_what_the_judge_expects_a_performer_to_remember() -> None:
    """WS-FAULTS-6: the newest window + 1 slices of its epoch, the snapshot among them."""
    told = Told()
    assert list(told.judge.recent_slices) == []
    assert list(told.appends(-1).judge.recent_slices) == [-1]
    for unit in range(4):
        told.appends(unit)
    assert list(told.judge.recent_slices) == list(range(3 - TERMS.window, 4))


def test_what_no_state_of_the_receiver_excuses() -> None:
    """WS-FAULTS-6: each field that a broken peer changes, alone; another digest only of what is
    remembered, and a count that only a later state could tell is excused."""
    part = parts_of(3)[0]
    latents = latents_message(TERMS, 0, 3, "0" * 64, "0" * 64)
    near, past = range(2, 5), range(4, 7)

    def found(message: Message, variant: int, remembered: range = past) -> bool:
        wrong = tampered(message, variant)
        assert wrong is not None
        assert wrong != message
        return contradicts(wrong, TERMS, remembered)

    assert [found(part, variant) for variant in range(4)] == [True, False, True, False]
    assert [found(part, variant, near) for variant in range(4)] == [True, False, True, True]
    assert [found(latents, variant) for variant in range(4)] == [False, True, True, False]
    assert [found(latents, variant, near) for variant in range(4)] == [False, True, True, True]
    nack = SliceNack(session="s0", epoch=0, unit=3, kv_len=7)
    assert [found(nack, variant) for variant in range(2)] == [True, False]
    ack = LatentsAck(session="s0", epoch=0, unit=3, digest="0" * 64)
    assert [found(ack, variant) for variant in range(2)] == [False, True]
    assert not any(contradicts(message, TERMS, near) for message in (part, latents, nack, ack))


@pytest.mark.parametrize("more", [0, 1])
def test_the_judge_counts_what_states_hold(more: int) -> None:
    """WS-FAULTS-5: up to the window, and what the window allows beside it."""
    window, judge = TERMS.window, Told().judge
    sent = (Sent(unit=0, snapshot=False, parts=(), digest=""),)
    appended = (Appended(unit=0, parts=(), digest=""),)
    latents = (latents_message(TERMS, 0, 0, "0" * 64, "0" * 64),)
    taken = ((0, "", ""),)
    at_left, at_right = thinker(TERMS), performer(TERMS, 1)
    stories: tuple[Callable[[], None], ...] = (
        lambda: judge.thinker_bounded(attrs.evolve(at_left, ring=sent * (window + more))),
        lambda: judge.thinker_bounded(attrs.evolve(at_left, taken=taken * (window + 1 + more))),
        lambda: judge.performer_bounded(attrs.evolve(at_right, kept=latents * (window + more))),
        lambda: judge.performer_bounded(
            attrs.evolve(at_right, recent=appended * (window + 1 + more))
        ),
    )
    for bounded in stories:
        with pytest.raises(InvariantError) if more else contextlib.nullcontext():
            bounded()
