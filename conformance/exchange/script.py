"""What one side of the KV exchange answers to a script (WS-CONFORMANCE-8).

A script is a list of JSON objects, each with one key. The first, and only the first, is

    {"begin": {"role": "performer" or "thinker", "terms": {...}, "incarnation": n}}

(a thinker has no incarnation; a performer's timer fires once). Then, to either side,

    {"arrive": {"message": {...}, "payload_sha256": hex or null}}
    {"timer": {}}  {"peer_lost": {}}

to a performer ``{"solved": {"epoch": e, "unit": k, "digest": hex}}``, to a thinker ``{"offered":
{"unit": k, "parts": [...]}}``, ``{"exported": {"epoch": e, "unit": k, "parts": [...]}}`` and
``{"finish": {}}``. A part is ``[[first layer, end], [first head, end], digest]``.

The reply to each holds ``sent``, the messages that go out; units in order that are to be committed
(``commit``); ``closed`` and ``failed``. A performer's also ``appended``, ``solve``, ``kv_len`` and
``cache``, the digest of all that was appended since the epoch began; a thinker's also ``decode``,
``refused`` (offers to be made again) and ``export`` (pairs of epoch and unit).
The expected replies are those of the tables in `spec.exchange`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from conformance.protocol import Json
from spec import exchange
from spec.errors import ExchangeError
from spec.exchange_effects import (
    Append,
    Commit,
    Corrupt,
    Decode,
    Effect,
    Export,
    Exported,
    Finish,
    Input,
    Offered,
    PeerLost,
    Refuse,
    Reset,
    Send,
    Solve,
    Solved,
)
from spec.exchange_effects import Timer as TimerFired
from spec.exchange_events import Phase
from spec.exchange_json import from_json, to_json
from spec.exchange_machine import Machine, State
from spec.exchange_message import Message
from spec.exchange_performer import Performer
from spec.exchange_terms import Part, Terms
from spec.exchange_thinker import Thinker

EMPTY_CACHE: Final = hashlib.sha256(b"").hexdigest()
S = TypeVar("S", bound=State)


@attrs.frozen(kw_only=True, eq=False)
class Told(Generic[S]):
    """A side that was told the beginning of a script: where it stands, ``cache``, the digest of
    what it appended, and what it replied so far (WS-CONFORMANCE-8)."""

    machine: Machine[S]
    state: S
    cache: str
    replies: tuple[Json, ...]

    def after(self, entry: Json) -> Told[S]:
        """It was told ``entry``, too.

        Raises:
            ExchangeError: an input of its own driver that is out of place.
        """
        return self.at(*exchange.step(self.machine, self.state, given(entry)))

    def at(self, state: S, effects: Sequence[Effect]) -> Told[S]:
        """It came to ``state``, with these effects."""
        cache = cached(self.cache, effects)
        reply = _reply(state, effects, cache)
        return attrs.evolve(self, state=state, cache=cache, replies=(*self.replies, reply))


def begun(
    entry: Json,
    performer: Machine[Performer] = exchange.PERFORMER,
    thinker: Machine[Thinker] = exchange.THINKER,
) -> Told[Any]:
    """The side that the first entry of a script begins, by its tables."""
    begin = entry["begin"]
    terms = Terms(**begin["terms"])
    if begin["role"] == "thinker":
        new = exchange.thinker(terms)
        return Told(machine=thinker, state=new, cache=EMPTY_CACHE, replies=()).at(new, ())
    started = exchange.performer(terms, begin["incarnation"])
    told = Told(machine=performer, state=started, cache=EMPTY_CACHE, replies=())
    return told.at(*exchange.step(performer, started, TimerFired()))


def answer(
    script: Sequence[Json],
    performer: Machine[Performer] = exchange.PERFORMER,
    thinker: Machine[Thinker] = exchange.THINKER,
) -> list[Json]:
    """One reply an entry of ``script``, by the tables of the side that it begins."""
    told = begun(script[0], performer, thinker)
    for entry in script[1:]:
        told = told.after(entry)
    return list(told.replies)


def _parts(data: Sequence[Any]) -> tuple[Part, ...]:
    return tuple(Part(tuple(layers), tuple(heads), digest) for layers, heads, digest in data)


def part_json(part: Part) -> list[Any]:
    """A part as it stands in ``offered`` and ``exported``."""
    return [list(part.layers), list(part.heads), part.digest]


LOCAL: Final[Mapping[str, Callable[[Json], Input]]] = {
    "timer": lambda _: TimerFired(),
    "peer_lost": lambda _: PeerLost(),
    "finish": lambda _: Finish(),
    "solved": lambda d: Solved(**d),
    "offered": lambda d: Offered(unit=d["unit"], parts=_parts(d["parts"])),
    "exported": lambda d: Exported(epoch=d["epoch"], unit=d["unit"], parts=_parts(d["parts"])),
}


def given(entry: Json) -> Input:
    """The input that a script entry stands for; what cannot be read, or whose payload is not what
    its header says, counts as not arrived (WS-EXCHANGE-8)."""
    ((kind, data),) = entry.items()
    if kind in LOCAL:
        return LOCAL[kind](data)
    try:
        message = from_json(data["message"])
    except ExchangeError:
        return Corrupt()
    return Corrupt() if corrupt(message, data["payload_sha256"]) else message


def corrupt(message: Message, payload_sha256: str | None) -> bool:
    """The payload that came is not the one the header describes."""
    return getattr(message, "digest", None) != payload_sha256 and payload_sha256 is not None


def cached(before: str, effects: Sequence[Effect]) -> str:
    """The cache digest after ``effects``: SHA-256 over the digest before and the slice's own, as
    ASCII; an epoch begins with an empty one."""
    for effect in effects:
        if isinstance(effect, Reset):
            before = EMPTY_CACHE
        elif isinstance(effect, Append):
            before = hashlib.sha256((before + effect.digest).encode()).hexdigest()
    return before


def _common(state: State, effects: Sequence[Effect]) -> Json:
    return {
        "sent": [to_json(e.message) for e in effects if isinstance(e, Send)],
        "commit": [e.unit for e in effects if isinstance(e, Commit)],
        "closed": state.phase is Phase.CLOSED,
        "failed": state.phase is Phase.FAILED,
    }


def _reply(state: State, effects: Sequence[Effect], cache: str) -> Json:
    if isinstance(state, Performer):
        return _performer_reply(state, effects, cache)
    assert isinstance(state, Thinker), "there are two sides"
    return _thinker_reply(state, effects)


def _performer_reply(state: Performer, effects: Sequence[Effect], cache: str) -> Json:
    return {
        **_common(state, effects),
        "appended": [e.unit for e in effects if isinstance(e, Append)],
        "solve": [e.unit for e in effects if isinstance(e, Solve)],
        "kv_len": state.kv_len,
        "cache": cache,
    }


def _thinker_reply(state: Thinker, effects: Sequence[Effect]) -> Json:
    return {
        **_common(state, effects),
        "decode": [e.unit for e in effects if isinstance(e, Decode)],
        "refused": [e.unit for e in effects if isinstance(e, Refuse)],
        "export": [[e.epoch, e.unit] for e in effects if isinstance(e, Export)],
    }


def terms_json(terms: Terms) -> Json:
    """Terms as they stand in ``begin``."""
    return attrs.asdict(terms)
