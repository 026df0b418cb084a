"""Random faults: whatever the network does, exactly once, in order, and finished once it stops."""

from __future__ import annotations

import random
from collections import Counter

import attrs
import pytest
from exchange_search import random_session
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulator.world import small as net
from simulator.world.machines import Machines
from simulator.world.orders import MESSAGE_FAULTS, PERFORMER_FAULTS
from simulator.world.small import Shards
from spec.exchange_events import Event
from spec.exchange_message import Header
from spec.exchange_terms import Terms

SHARDS = (net.UNSHARDED, net.BY_LAYER, net.BY_LAYER_AND_HEAD)
TERMS = (net.terms("sequential"), net.terms("overlapped"), net.terms("overlapped", window=3))


# Random walks do not shrink to anything a reader would understand sooner.
@settings(max_examples=80, phases=[Phase.generate])
@given(
    rng=st.randoms(use_true_random=False), terms=st.sampled_from(TERMS),
    shards=st.sampled_from(SHARDS), units=st.integers(0, 5),
)  # fmt: skip
def test_every_session_ends_well(
    rng: random.Random, terms: Terms, shards: Shards, units: int
) -> None:
    """WS-EXCHANGE-5, WS-EXCHANGE-7 to WS-EXCHANGE-13: each slice appended once, in order and
    whole, each response decoded and committed once and in order, and the session closed, under
    drops, copies, corruption, any order, false suspicions and crashes of the performer."""
    random_session(Machines(), terms, shards, rng, units=units, moves=120)


def test_a_campaign_reaches_every_fault() -> None:
    """A campaign that never meets a fault or its answer shows nothing about it."""
    rng, seen = random.Random(5), Counter[str]()
    for _ in range(120):
        terms, shards = rng.choice(TERMS), rng.choice(SHARDS)
        seen += random_session(Machines(), terms, shards, rng, units=5, moves=150)
    answers = {
        Event.STALE_EPOCH, Event.FUTURE_EPOCH, Event.HELLO_OLD, Event.OPEN_AGAIN, Event.OPEN_OTHER,
        Event.EXPORTED_STALE, Event.SOLVED_STALE, Event.PART_AGAIN, Event.SLICE_AGAIN,
        Event.SLICE_GAP, Event.ACK_LATE, Event.NACK_LATE, Event.NACK_EARLY, Event.LATENTS_AGAIN,
        Event.LATENTS_GAP, Event.LATENTS_ACK_LATE, Event.LATENTS_NACK_VOID,
    }  # fmt: skip
    assert {*answers, *MESSAGE_FAULTS, *PERFORMER_FAULTS} <= seen.keys()


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("terms", TERMS)
def test_without_faults_nothing_is_dropped_or_sent_twice(terms: Terms, shards: Shards) -> None:
    """WS-EXCHANGE-13: resends are for faults only."""
    w = net.world(Machines(), terms, 5, shards)
    sent = Counter[net.Letter]()
    while not w.done:
        after = next(net.fair_moves(Machines(), w))
        sent += Counter(after.flight) - Counter(w.flight)
        w = after
    slices = [message for _, message in sent if isinstance(message, Header)]
    assert len(slices) == 6 * len(shards)
    assert set(sent.values()) == {1}


def test_two_sessions_on_one_link_do_not_mix() -> None:
    """WS-EXCHANGE-2: every message of one session delivered to the other changes nothing."""
    w = net.world(Machines(), net.terms("overlapped"), 2)
    other = attrs.evolve(net.terms("overlapped"), session="other")
    strangers = [net.world(Machines(), other, 2)]
    while not strangers[-1].done:
        strangers.append(next(net.fair_moves(Machines(), strangers[-1])))
    while not w.done:
        for stranger in strangers:
            for side, message in stranger.flight:
                mixed = net.feed(Machines(), w, side, message)
                assert mixed == w
                state = mixed.thinker if side == "thinker" else mixed.performer
                assert state.dropped[Event.OTHER_SESSION] == 1 + (
                    w.thinker if side == "thinker" else w.performer
                ).dropped.get(Event.OTHER_SESSION, 0)
        w = next(net.fair_moves(Machines(), w))
