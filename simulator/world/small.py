"""A session as a value: both machines, what is under way, and the caches they would fill.

Every move gives another `World`; there is no time, only order. Whatever the exchange must never do
raises `Violated`, so the same world serves random faults, exhaustive search and seeded defects
(WS-FAULTS-9). Source: CHOICE (design §13, small-scope enumeration).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator

import attrs

from simulator.world.machines import Machines
from spec.exchange import performer, step, thinker
from spec.exchange_effects import (
    Append,
    Closed,
    Commit,
    Corrupt,
    Decode,
    Drop,
    Effect,
    Export,
    Exported,
    Fail,
    Finish,
    Hold,
    Input,
    Offered,
    PeerLost,
    Refuse,
    Release,
    Reset,
    Send,
    Solve,
    Solved,
    Timer,
)
from spec.exchange_events import Phase
from spec.exchange_message import Header, Message
from spec.exchange_performer import Performer
from spec.exchange_terms import Part, Range, Terms, slice_digest
from spec.exchange_thinker import Thinker
from spec.sizes import Schedule

Shards = tuple[tuple[Range, Range], ...]
Letter = tuple[str, Message]

UNSHARDED: Shards = (((0, 2), (0, 2)),)
BY_LAYER: Shards = (((0, 1), (0, 2)), ((1, 2), (0, 2)))
BY_LAYER_AND_HEAD: Shards = (((0, 1), (0, 2)), ((1, 2), (0, 1)), ((1, 2), (1, 2)))


class Violated(AssertionError):  # noqa: N818 - a property, not an error of the code under test
    """The exchange did what it must never do, or did not do what it must."""


def terms(schedule: Schedule = "overlapped", window: int | None = None) -> Terms:
    least = 1 if schedule == "sequential" else 2
    return Terms(
        session="s",
        schedule=schedule,
        window=least if window is None else window,
        layers=2,
        kv_heads=2,
        head_dim=2,
        dtype="float32",
        prefill_tokens=3,
        observation_tokens=5,
        language_tokens=2,
        response_tokens=4,
        latent_values=6,
    )


@functools.cache
def digest_of(*content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


@functools.cache
def latents_digest(unit: int, life: int = 0) -> str:
    return digest_of("latents", unit, life)


@functools.cache
def parts_of(shards: Shards, unit: int, *, snapshot: bool, life: int = 0) -> tuple[Part, ...]:
    what = "snapshot" if snapshot else "slice"
    return tuple(
        Part(layers, heads, digest_of(what, unit, life, layers, heads)) for layers, heads in shards
    )


@functools.cache
def _letter_key(letter: Letter) -> str:
    return repr(letter)


@attrs.frozen(kw_only=True)
class World:
    """One session. ``flight``: messages under way, as a multiset. ``work``: what a driver is busy
    with. ``appended``: units in the performer's cache of this epoch, ``kv_len`` its length,
    ``held`` the parts beside it. ``solving``: solves begun in this epoch. ``life``: how often the
    thinker was lost; ``lost``: what is left of the session that it had before, its performer."""

    terms: Terms
    units: int
    shards: Shards
    thinker: Thinker
    performer: Performer
    flight: tuple[Letter, ...] = ()
    work: tuple[tuple[str, Input], ...] = ()
    next_offer: int = 0
    refused: bool = False
    finish_said: bool = False
    decoded: int = 0
    committed: int = 0
    payloads: frozenset[int] = frozenset()
    appended: tuple[int, ...] = ()
    kv_len: int = 0
    held: tuple[Header, ...] = ()
    solving: tuple[int, ...] = ()
    closed: frozenset[str] = frozenset()
    life: int = 0
    lost: World | None = None

    @property
    def done(self) -> bool:
        return self.lost is None and self.closed == {"thinker", "performer"}

    @property
    def quiet(self) -> bool:
        """Nothing under way and nothing to do: only a timer can move this world."""
        return not (self.flight or self.work or self.lost or self.can_offer or self.can_finish)

    @property
    def can_offer(self) -> bool:
        return self.next_offer < self.units and not self.refused

    @property
    def can_finish(self) -> bool:
        return self.next_offer == self.units and not self.finish_said


def world(
    machines: Machines, agreed: Terms, units: int, shards: Shards = UNSHARDED, life: int = 0
) -> World:
    """A session just started: the performer has said hello."""
    start = World(
        terms=agreed,
        units=units,
        shards=shards,
        thinker=thinker(agreed),
        performer=performer(agreed, incarnation=1),
        life=life,
    )
    return feed(machines, start, "performer", Timer())


def feed(machines: Machines, w: World, side: str, given: Input) -> World:
    """Step one machine and do what its effects say."""
    if side == "thinker":
        state, effects = step(machines.thinker, w.thinker, given)
        w = attrs.evolve(w, thinker=state)
        require(len(state.ring) <= w.terms.window, f"ring of {len(state.ring)} slices")
    else:
        state_, effects = step(machines.performer, w.performer, given)
        w = attrs.evolve(w, performer=state_)
    for effect in effects:
        w = _carry_out(w, side, effect)
    return w


def require(ok: bool, text: str) -> None:
    if not ok:
        raise Violated(text)


def _carry_out(w: World, side: str, effect: Effect) -> World:
    match effect:
        case Send(message):
            if isinstance(message, Header):
                require(message.unit in w.payloads, f"payload {message.unit} released too early")
            peer = "performer" if side == "thinker" else "thinker"
            return _under_way(w, (peer, message))
        case Export(epoch=epoch, unit=unit):
            require(unit == w.decoded - 1, f"snapshot up to {unit}, {w.decoded} units decoded")
            parts = parts_of(w.shards, unit, snapshot=True, life=w.life)
            done = Exported(epoch=epoch, unit=unit, parts=parts)
            return attrs.evolve(w, work=(*w.work, ("thinker", done)), payloads=w.payloads | {unit})
        case Refuse():
            return attrs.evolve(w, refused=True, next_offer=w.next_offer - 1)
        case Release(unit=unit):
            if side == "thinker":
                return attrs.evolve(w, payloads=w.payloads - {unit})
            return w
        case Decode(unit=unit, digest=digest):
            require(unit == w.decoded, f"decodes {unit} after {w.decoded - 1}")
            require(digest == latents_digest(unit, w.life), f"decodes other latents for {unit}")
            return attrs.evolve(w, decoded=unit + 1, refused=False)
        case Commit(unit=unit):
            if side == "thinker":
                require(unit == w.committed, f"commits {unit} after {w.committed - 1}")
                return attrs.evolve(w, committed=unit + 1)
            require(w.terms.schedule == "overlapped", "a sequential performer commits")
            return w
        case Reset():
            return attrs.evolve(w, appended=(), kv_len=0, held=(), solving=())
        case Hold(header):
            return attrs.evolve(w, held=(*w.held, header))
        case Append():
            return _append(w, effect)
        case Solve(epoch=epoch, unit=unit, digest=digest):
            require(unit not in w.solving and unit == w.appended[-1], f"solves {unit} again")
            require(unit != w.appended[0], f"solves {unit} from a snapshot")
            require(
                digest == slice_digest(parts_of(w.shards, unit, snapshot=False, life=w.life)),
                f"solves {unit} from another slice",
            )
            done_ = Solved(epoch=epoch, unit=unit, digest=latents_digest(unit, w.life))
            work = (*w.work, ("performer", done_))
            return attrs.evolve(w, work=work, solving=(*w.solving, unit))
        case Closed():
            return attrs.evolve(w, closed=w.closed | {side})
        case Fail():
            raise Violated(f"{side} fails: {effect.reason}")
        case Drop():
            return w


def _under_way(w: World, *letters: Letter) -> World:
    return attrs.evolve(w, flight=tuple(sorted((*w.flight, *letters), key=_letter_key)))


def _append(w: World, effect: Append) -> World:
    """The performer's cache, judged without the machine's own idea of a sealed slice."""
    parts = [header for header in w.held if header.unit == effect.unit]
    cells = {(i, j) for p in parts for i in range(*p.layers) for j in range(*p.heads)}
    require(len(cells) == w.terms.layers * w.terms.kv_heads, f"slice {effect.unit} has a hole")
    require(all(p.epoch == effect.epoch == w.performer.epoch for p in parts), "epochs mixed")
    require(all(p.session == w.terms.session for p in parts), "sessions mixed")
    require({p.kv_len_before for p in parts} == {w.kv_len}, f"slice {effect.unit} not contiguous")
    if w.appended:
        require(effect.unit == w.appended[-1] + 1, f"{effect.unit} after {w.appended[-1]}")
    else:
        require("P" in dict(parts[0].segments), "the first slice of an epoch is no snapshot")
    return attrs.evolve(
        w,
        appended=(*w.appended, effect.unit),
        kv_len=effect.kv_len,
        held=tuple(header for header in w.held if header.unit != effect.unit),
    )


# Moves.


def offer(machines: Machines, w: World) -> World:
    """The thinker has computed its next slice."""
    unit = w.next_offer
    w = attrs.evolve(w, next_offer=unit + 1, payloads=w.payloads | {unit})
    given = Offered(unit=unit, parts=parts_of(w.shards, unit, snapshot=False, life=w.life))
    return feed(machines, w, "thinker", given)


def finish(machines: Machines, w: World) -> World:
    return feed(machines, attrs.evolve(w, finish_said=True), "thinker", Finish())


def work(machines: Machines, w: World, index: int) -> World:
    """A driver is done with one thing it was busy with."""
    side, given = w.work[index]
    rest = (*w.work[:index], *w.work[index + 1 :])
    return feed(machines, attrs.evolve(w, work=rest), side, given)


def deliver(machines: Machines, w: World, index: int) -> World:
    return _take(machines, drop(w, index), *w.flight[index])


def duplicate(machines: Machines, w: World, index: int) -> World:
    """One copy arrives, another stays under way."""
    return _take(machines, w, *w.flight[index])


def _take(machines: Machines, w: World, side: str, message: Message) -> World:
    """A message for the performer of a lost session goes to that one, while it is there."""
    if w.lost is None or side == "thinker" or message.session != w.lost.terms.session:
        return feed(machines, w, side, message)
    return _with_lost(w, feed(machines, w.lost, side, message))


def corrupt(machines: Machines, w: World, index: int) -> World:
    side, _ = w.flight[index]
    return feed(machines, drop(w, index), side, Corrupt())


def drop(w: World, index: int) -> World:
    return attrs.evolve(w, flight=(*w.flight[:index], *w.flight[index + 1 :]))


def crash(machines: Machines, w: World) -> World:
    """The performer loses everything and starts again; the thinker is not told."""
    w = attrs.evolve(
        w,
        performer=performer(w.terms, w.performer.incarnation + 1),
        work=tuple(item for item in w.work if item[0] != "performer"),
        appended=(),
        kv_len=0,
        held=(),
        solving=(),
        closed=w.closed - {"performer"},
    )
    return feed(machines, w, "performer", Timer())


def thinker_crash(machines: Machines, w: World) -> World:
    """The thinker loses everything, and its session with it. It starts again with another session,
    while the performer and messages of the lost one are still about (WS-FAULTS-4)."""
    terms_ = attrs.evolve(w.terms, session=f"{w.terms.session}.again")
    again = world(machines, terms_, w.units, w.shards, w.life + 1)
    orphan = attrs.evolve(
        w, work=tuple(item for item in w.work if item[0] == "performer"),
        closed=w.closed | {"thinker"},
    )  # fmt: skip
    return _with_lost(again, orphan)


def _with_lost(w: World, lost: World) -> World:
    """What the lost session sends is under way with the rest; its performer leaves when closed."""
    w = _under_way(w, *lost.flight)
    left = "performer" in lost.closed
    return attrs.evolve(w, lost=None if left else attrs.evolve(lost, flight=()))


def lost_moves(machines: Machines, w: World) -> Iterator[World]:
    """What the performer of a lost session does: its work, and at a timer it leaves."""
    if w.lost is not None:
        for index in range(len(w.lost.work)):
            yield _with_lost(w, work(machines, w.lost, index))
        yield _with_lost(w, timers(machines, w.lost))


def suspect(machines: Machines, w: World) -> World:
    """The thinker's driver believes the performer lost, rightly or not."""
    return feed(machines, w, "thinker", PeerLost())


def timers(machines: Machines, w: World) -> World:
    """Both timers fire. Once the thinker is done its process ends, and the performer's driver
    sees that."""
    if "thinker" in w.closed:
        return feed(machines, w, "performer", PeerLost())
    return feed(machines, feed(machines, w, "thinker", Timer()), "performer", Timer())


def first_of_each_side(w: World) -> list[int]:
    """A driver finishes its work in the order in which it came."""
    sides = [side for side, _ in w.work]
    return [sides.index(side) for side in ("thinker", "performer") if side in sides]


def fair_moves(machines: Machines, w: World) -> Iterator[World]:
    """Everything that can happen next without a fault; timers fire when all else is quiet."""
    for index in range(len(w.flight)):
        if index == 0 or w.flight[index] != w.flight[index - 1]:
            yield deliver(machines, w, index)
    for index in first_of_each_side(w):
        yield work(machines, w, index)
    if w.can_offer:
        yield offer(machines, w)
    if w.can_finish:
        yield finish(machines, w)
    yield from lost_moves(machines, w)
    if w.quiet and not w.done:
        yield timers(machines, w)


def settle(machines: Machines, w: World, limit: int = 2000) -> World:
    """Once faults stop, the session finishes (WS-EXCHANGE-13)."""
    for _ in range(limit):
        if w.done:
            require(w.decoded == w.units == w.committed, f"closed after {w.decoded} units")
            return w
        w = next(fair_moves(machines, w))
    raise Violated(f"not finished after {limit} moves: {w.thinker.phase}, {w.performer.phase}")


def run_to_streaming() -> Thinker:
    """A thinker whose performer has its snapshot."""
    w = world(Machines(), terms(), 0)
    while w.thinker.phase is not Phase.STREAMING:
        w = next(fair_moves(Machines(), w))
    return w.thinker
