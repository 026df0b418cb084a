"""Scripts for every row of the tables: a side is brought into a phase, is given the event, and then
what shows where it has come to.

The ways into a phase are campaigns, cut off; the events are looked for among the letters and inputs
near the state that a side is in. What it must answer is what the tables of `spec.exchange` answer
(WS-EXCHANGE-6, WS-CONFORMANCE-8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

import attrs

from conformance.exchange.campaign import letter, sha, shards
from conformance.exchange.script import Told, begun, given, part_json
from conformance.protocol import Json
from spec.errors import ExchangeError
from spec.exchange_events import Event, Phase
from spec.exchange_headers import latents_message, slice_header
from spec.exchange_machine import classify
from spec.exchange_message import (
    Close,
    Hello,
    LatentsAck,
    LatentsNack,
    Message,
    Open,
    SliceAck,
    SliceNack,
)
from spec.exchange_performer import Performer
from spec.exchange_terms import Terms, kv_len_after, whole
from spec.exchange_thinker import Thinker

SHORTEST: Final = 6
"""Of so many short ways into a kind of state one is taken."""
AFTERWARDS: Final = 3
"""Entries of the campaign that follow the event."""
OTHER: Final = sha("something else")


@attrs.frozen(eq=False)
class Way:
    """A script that ends in a phase, the side that was told it, and how the campaign went on."""

    script: tuple[Json, ...]
    told: Told[Any]
    rest: tuple[Json, ...]

    @property
    def state(self) -> Any:
        """Where it leads to."""
        return self.told.state


def kind_of(state: Any) -> tuple[object, ...]:
    """What tells states of one phase apart."""
    if isinstance(state, Performer):
        return state.phase, bool(state.held), bool(state.kept), state.solved < state.appended
    later = state.phase is Phase.OPENING and state.epoch > 0
    return state.phase, state.finishing, min(2, state.offered - state.accepted), later


def ways(campaigns: Sequence[Sequence[Json]], draw: Random) -> Iterator[Way]:
    """Into every kind of state; a session that goes on is also ended, by a close and by a
    reproach."""
    found: dict[tuple[object, ...], list[Way]] = {}
    for campaign in campaigns:
        told = begun(campaign[0])
        for i, entry in enumerate(campaign):
            told = told.after(entry) if i else told
            way = Way(tuple(campaign[: i + 1]), told, tuple(campaign[i + 1 :]))
            found.setdefault(kind_of(told.state), []).append(way)
    short = (sorted(all_of, key=lambda way: len(way.script)) for all_of in found.values())
    chosen = [draw.choice(all_of[:SHORTEST]) for all_of in short]
    yield from chosen
    going = [way for way in chosen if way.state.phase in (Phase.STREAMING, Phase.GAP)]
    # What cannot be read counts as not arrived: a gap (WS-EXCHANGE-8).
    unread: Json = {"arrive": {"message": {}, "payload_sha256": None}}
    gaps = [played(way, (unread,)) for way in going if kind_of(way.state)[0] is Phase.STREAMING]
    known = {kind_of(way.state) for way in going}
    yield from (way for way in gaps if kind_of(way.state) not in known)
    for reason in ("", "out of memory"):
        way = draw.choice(going)
        end = letter(Close(session=way.state.terms.session, epoch=way.state.epoch, reason=reason))
        yield played(way, ({"arrive": end},))


def played(way: Way, entries: Sequence[Json]) -> Way:
    """``way`` and then ``entries``, but for those that the side's own driver may not give here."""
    script, told = list(way.script), way.told
    for entry in entries:
        try:
            told = told.after(entry)
        except ExchangeError:
            continue
        script.append(entry)
    return Way(tuple(script), told, way.rest)


def scripts(campaigns: Sequence[Sequence[Json]], seed: str) -> Iterator[tuple[Phase, Event, Way]]:
    """For every phase and event that can be brought about: the way there, and a little further."""
    draw = Random(f"rows/{seed}")
    for way in ways(campaigns, draw):
        found: dict[Event, list[Json]] = {}
        for entry in near(way.state, draw):
            event = classify(way.told.machine, way.state, given(entry))
            found.setdefault(event, []).append(entry)
        after = [{"timer": {}}, *way.rest[:AFTERWARDS], {"timer": {}}]
        for event, entries in found.items():
            yield way.state.phase, event, played(way, [draw.choice(entries), *after])


def near(state: Any, draw: Random) -> Iterator[Json]:
    """Inputs around ``state``: good, late, early, of other epochs, sessions and sides."""
    yield from ({"timer": {}}, {"peer_lost": {}})
    if isinstance(state, Performer):
        yield from solved_near(state)
        own, strays = to_performer(state, draw), to_thinker(Both.of(state))
    else:
        yield from local_near(state, draw)
        own, strays = to_thinker(state), to_performer(Both.of(state), draw)
    for message in own:
        good = letter(message)
        yield {"arrive": good}
        yield {"arrive": {**good, "message": {**good["message"], "session": "a-stranger"}}}
        if good["payload_sha256"] is not None:
            yield {"arrive": {**good, "payload_sha256": OTHER}}
    for message in strays:
        if not isinstance(message, Close):
            yield {"arrive": letter(message)}


@attrs.frozen(kw_only=True)
class Both:
    """What letters are written from, whichever side is asked."""

    terms: Terms
    epoch: int
    incarnation: int
    first_unit: int
    newest: int
    done: int
    digests: Mapping[int, str]
    latents: Mapping[int, str]

    @classmethod
    def of(cls, state: Performer | Thinker) -> Both:
        """From either machine's own state."""
        if isinstance(state, Performer):
            digests = {known.unit: known.digest for known in state.recent}
            latents = {kept.unit: kept.digest for kept in state.kept}
            newest, done = state.appended, state.solved
        else:
            sent = state.ring if state.snapshot is None else (state.snapshot, *state.ring)
            taken = {unit: (of, digest) for unit, of, digest in state.taken}
            digests = {unit: of for unit, (of, _) in taken.items()}
            digests |= {each.unit: each.digest for each in sent}
            latents = {unit: digest for unit, (_, digest) in taken.items()}
            newest, done = state.offered, state.accepted
        return cls(
            terms=state.terms,
            epoch=state.epoch,
            incarnation=state.incarnation,
            first_unit=state.first_unit,
            newest=newest,
            done=done,
            digests=digests,
            latents=latents,
        )

    @property
    def epochs(self) -> range:
        """The one before, this one, and the one after."""
        return range(max(0, self.epoch - 1), self.epoch + 2)

    @property
    def units(self) -> range:
        """Around the newest."""
        return range(max(-1, min(self.first_unit, self.done) - 1), self.newest + 3)


def to_performer(of: Any, draw: Random) -> Iterator[Message]:
    """What a thinker may say to a performer in some state."""
    both = of if isinstance(of, Both) else Both.of(of)
    known = () if isinstance(of, Both) else [(each.unit, each.parts) for each in of.recent]
    held = () if isinstance(of, Both) else of.held
    terms, name = both.terms, both.terms.session
    strange = attrs.evolve(terms, latent_values=terms.latent_values + 1)
    for epoch in both.epochs:
        for incarnation in (max(0, both.incarnation), both.incarnation + 1):
            for unit in {both.first_unit, max(-1, both.done)}:
                for agreed in (terms, strange):
                    yield Open(session=name, epoch=epoch, incarnation=incarnation, unit=unit,
                               terms=agreed)  # fmt: skip
        for unit, parts in known:
            for part in parts:
                yield slice_header(terms, epoch, unit, unit == both.first_unit, part)
        for unit in both.units:
            if unit < both.first_unit:
                continue
            snapshot = unit == both.first_unit
            for digest in (sha(f"row {unit}"), OTHER):
                yield slice_header(terms, epoch, unit, snapshot, whole(terms, digest)[0])
            yield from (
                slice_header(terms, epoch, unit, snapshot, part)
                for part in (*shards(draw, terms, f"row {unit}"), *held)
            )
            moved = slice_header(terms, epoch, unit, snapshot, whole(terms, OTHER)[0])
            yield attrs.evolve(
                moved, kv_len_before=moved.kv_len_before + 1, kv_len_after=moved.kv_len_after + 1
            )
            yield attrs.evolve(moved, byte_count=moved.byte_count + 1)
        for unit in range(max(0, both.done - 2), both.done + 3):
            for digest in (both.latents.get(unit, OTHER), OTHER):
                yield LatentsAck(session=name, epoch=epoch, unit=unit, digest=digest)
            yield LatentsNack(session=name, epoch=epoch, unit=unit)
        yield Close(session=name, epoch=epoch, reason="")
        yield Close(session=name, epoch=epoch, reason="out of memory")


def to_thinker(of: Any) -> Iterator[Message]:
    """What a performer may say to a thinker in some state."""
    both = of if isinstance(of, Both) else Both.of(of)
    terms, name = both.terms, both.terms.session
    for incarnation in range(max(0, both.incarnation - 1), both.incarnation + 2):
        yield Hello(session=name, incarnation=incarnation)
    for epoch in both.epochs:
        for unit in both.units:
            digest, length = both.digests.get(unit, OTHER), kv_len_after(terms, unit)
            before = 0 if unit in (-1, both.first_unit) else kv_len_after(terms, unit - 1)
            for said, count in ((digest, length), (OTHER, length), (digest, length + 1)):
                yield SliceAck(session=name, epoch=epoch, unit=unit, digest=said, kv_len=count)
            for count in (before, before + 1):
                yield SliceNack(session=name, epoch=epoch, unit=unit, kv_len=count)
            if unit < 0:
                continue
            made = both.latents.get(unit, sha(f"row z{unit}"))
            for said, content in ((digest, made), (OTHER, made), (digest, OTHER)):
                good = latents_message(terms, epoch, unit, said, content)
                yield good
                yield attrs.evolve(good, byte_count=good.byte_count + 1)
        yield Close(session=name, epoch=epoch, reason="")
        yield Close(session=name, epoch=epoch, reason="out of memory")


def solved_near(state: Performer) -> Iterator[Json]:
    """What the performer's driver may feed back."""
    for epoch in {max(0, state.epoch - 1), max(0, state.epoch)}:
        for unit in range(max(0, state.solved), state.solved + 2):
            yield {"solved": {"epoch": epoch, "unit": unit, "digest": sha(f"row z{unit}")}}


def local_near(state: Thinker, draw: Random) -> Iterator[Json]:
    """What the thinker's driver may feed in."""
    yield {"finish": {}}
    parts = [part_json(part) for part in shards(draw, state.terms, "row")]
    for unit in (state.offered + 1, state.offered + 2):
        yield {"offered": {"unit": unit, "parts": parts}}
    for epoch in {max(0, state.epoch - 1), max(0, state.epoch)}:
        for unit in {state.first_unit, state.first_unit + 1}:
            yield {"exported": {"epoch": epoch, "unit": unit, "parts": parts}}
