"""WS-CONFORMANCE-8: stories of the exchange come out as written by hand, not only as the tables
say."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any, Final

import pytest

from conformance.checks.exchange import STORIES, script_of
from conformance.checks.exchange_far import STORIES as FAR_STORIES
from conformance.checks.exchange_far import scripts as far_scripts
from conformance.checks.exchange_rows import CLAUSES, NEVER, told
from conformance.checks.exchange_thinker import STORIES as THINKER_STORIES
from conformance.checks.exchange_thinker import script_of as thinker_script_of
from conformance.checks.exchange_wire import MEDDLINGS, SEEDS, played
from conformance.exchange.campaign import MOST_UNITS, Campaign
from conformance.exchange.meddling import Meddler
from conformance.exchange.script import EMPTY_CACHE, answer
from spec import exchange
from spec.exchange_events import Event, Phase
from spec.exchange_machine import Machine
from spec.exchange_message import KINDS
from spec.sizes import LAG_OF_SCHEDULE, Schedule


@pytest.mark.parametrize("name", STORIES)
def test_ws_conformance_8_story_ends_as_told(name: str) -> None:
    script = json.loads(json.dumps(script_of(name, "overlapped")))
    replies = answer(script)
    told = STORIES[name]
    assert len(replies) == len(script)
    assert tuple(unit for reply in replies for unit in reply["appended"]) == told.appended
    assert replies[-1]["failed"] == told.failed


@pytest.mark.parametrize("name", FAR_STORIES)
def test_ws_conformance_8_far_stories_go_on_to_their_end(name: str) -> None:
    """What fails early asks nothing after it."""
    for what, script, fails in far_scripts(name):
        failed = [reply["failed"] for reply in answer(json.loads(json.dumps(script)))]
        assert failed == [False] * (len(script) - 1) + [fails], what


def test_ws_conformance_8_cache_digest_follows_the_appended_slices() -> None:
    replies = answer(script_of("stale-epoch", "overlapped"))
    assert replies[0]["cache"] == EMPTY_CACHE
    for before, after in itertools.pairwise(replies):
        if after["appended"]:
            assert after["cache"] not in (before["cache"], EMPTY_CACHE)
        else:
            assert after["cache"] in (before["cache"], EMPTY_CACHE)
    reset = [r["cache"] for r in replies].index(EMPTY_CACHE, 5)
    assert replies[reset]["kv_len"] == 0


def test_ws_conformance_8_lossy_wire_comes_to_the_same_cache() -> None:
    ends = {
        name: answer(script_of(name, "overlapped"))[-1]["cache"]
        for name in ("gap-and-resend", "gap-and-timer", "late-ack", "duplicate")
    }
    assert len(set(ends.values())) == 1


def test_ws_conformance_8_cache_digest_is_a_chain_over_acknowledged_slices() -> None:
    cache = EMPTY_CACHE
    for reply in answer(script_of("in-order", "overlapped")):
        if reply["appended"]:
            acked = next(m["digest"] for m in reply["sent"] if m["kind"] == "slice-ack")
            cache = hashlib.sha256((cache + acked).encode()).hexdigest()
        assert reply["cache"] == cache


@pytest.mark.parametrize("name", THINKER_STORIES)
def test_ws_conformance_8_thinker_story_ends_as_told(name: str) -> None:
    script = json.loads(json.dumps(thinker_script_of(name, "overlapped")))
    replies = answer(script)
    told = THINKER_STORIES[name]
    assert tuple(unit for reply in replies for unit in reply["decode"]) == told.decoded
    assert replies[-1]["failed"] == (told.end == "failed")
    assert replies[-1]["closed"] == (told.end == "closed")


@pytest.mark.parametrize("schedule", LAG_OF_SCHEDULE)
def test_ws_conformance_8_campaigns_reach_what_they_are_for(schedule: Schedule) -> None:
    """A wire that never let a slice through, or always, would judge nothing."""
    scripts = [played(seed, schedule) for seed in range(SEEDS)]
    thought = [reply for s in scripts for reply in answer(s.thinker)]
    performed = [reply for s in scripts for p in s.performers for reply in answer(p)]
    said = {message["kind"] for reply in (*thought, *performed) for message in reply["sent"]}
    assert said == set(KINDS)
    decoded = {unit for reply in thought for unit in reply["decode"]}
    assert decoded == set(range(max(decoded) + 1))
    assert MOST_UNITS // 2 < len(decoded) <= MOST_UNITS
    assert any(epoch > 0 for reply in thought for epoch, _ in reply["export"])
    assert any(reply["refused"] for reply in thought)
    assert any(reply["closed"] for reply in thought)
    assert not any(reply["failed"] for reply in (*thought, *performed))


def test_ws_conformance_8_campaigns_are_the_same_everywhere() -> None:
    assert Campaign(3, "sequential").run() == Campaign(3, "sequential").run()


AFTER_ALL: Final = {Phase.CLOSING, Phase.CLOSED, Phase.FAILED}
"""Phases in which all latents are accepted, or nothing is looked at any more."""


@pytest.mark.parametrize("machine", [exchange.PERFORMER, exchange.THINKER], ids=lambda m: m.name)
def test_ws_conformance_8_every_row_of_the_tables_is_asked_for(machine: Machine[Any]) -> None:
    """While a session goes on each event is brought about in each phase, and every event somewhere
    in either schedule but for those that cannot be."""
    reached: set[tuple[Phase, Event]] = set()
    for schedule in LAG_OF_SCHEDULE:
        scripts = told(schedule, machine.name)
        reached |= {(phase, event) for event, found in scripts.items() for phase, _ in found}
        for event in {e for events in CLAUSES.values() for e in events}:
            known = any(e is event for _, e in machine.transitions)
            assert not known or event in scripts or (schedule, event) in NEVER, (schedule, event)
    rows = {row for row in machine.transitions if row[0] not in AFTER_ALL}
    assert sorted(rows - reached) == []


@pytest.mark.parametrize("role", ["performer", "thinker"])
def test_ws_conformance_8_what_is_expected_of_a_row_is_what_its_script_is_answered(
    role: str,
) -> None:
    """Replies that were made on the way are those of the script told from its beginning."""
    ways = [way for found in told("overlapped", role).values() for _, way in found]
    assert len(ways) > 100
    for way in ways:
        assert list(way.told.replies) == answer(way.script)


def test_ws_conformance_8_meddling_ends_in_every_way() -> None:
    ends: set[tuple[bool, bool]] = set()
    scripts = played(0, "overlapped")
    for n in range(MEDDLINGS):
        for own, peer in (
            (scripts.thinker, scripts.performers[0]),
            (scripts.performers[0], scripts.thinker),
        ):
            script = Meddler(own, peer, f"test/{n}").run()
            assert script == Meddler(own, peer, f"test/{n}").run()
            last = answer(script)[-1]
            ends.add((last["closed"], last["failed"]))
    assert ends == {(False, False), (True, False), (False, True)}
