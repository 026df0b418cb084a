"""Scripts that begin as a campaign does and go on as nobody should: messages that are late, come
again, or say something else, peers that end or are lost, all in any order.

A campaign's own wire only does what a wire can do; here the peer, or the driver, is wrong. What a
side must answer is what the tables of `spec.exchange` answer (WS-CONFORMANCE-8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

from conformance.exchange.campaign import letter, shards
from conformance.exchange.script import given, part_json
from conformance.protocol import Json
from spec import exchange
from spec.errors import ExchangeError
from spec.exchange_effects import Effect, Export
from spec.exchange_effects import Timer as TimerFired
from spec.exchange_events import Phase
from spec.exchange_machine import Machine
from spec.exchange_message import Close
from spec.exchange_terms import Terms

LONGEST: Final = 40
"""Entries of the campaign that are kept; most things happen early."""
TAIL: Final = 12
AFTER_THE_END: Final = 6
"""Entries that a machine is given after it has closed or failed (WS-EXCHANGE-12)."""
ENDS: Final = (Phase.CLOSED, Phase.FAILED)


def others(value: Any) -> list[Any]:
    """Values near ``value``, of its kind and of another."""
    if isinstance(value, bool) or value is None:
        return [0]
    if isinstance(value, int):
        # Also one that is the same in 32 bits.
        near = [value + 1, value - 1, value + 1000, value + 2**32]
        return [*near, value + 0.5, str(value), True, None]
    if isinstance(value, str):
        far = [value + "x", value + " ", value + "\n", "", value.upper() + "?", 7, None]
        return [*far, *_nearly(value)]
    if isinstance(value, list):
        far = [[], value[:-1], [*value, value[-1]], value[::-1], None]
        return [
            *far,
            *(
                [*value[:i], w, *value[i + 1 :]]
                for i in range(len(value))
                for w in _within(value[i])
            ),
        ]
    return [
        {},
        {**value, "more": 1},
        *({**value, k: w} for k, v in value.items() for w in (*others(v)[:2], True)),
    ]


def _nearly(value: str) -> list[str]:
    """Texts that are not ``value``, but are to whoever looks at a part of it or at no case."""
    other = {"0": "1"}
    found = [value.upper(), value.lower(), value.replace("-", "_"), value + "ä", "ä" * 120]
    if value:
        found += [value[:-1] + other.get(value[-1], "0"), other.get(value[0], "0") + value[1:]]
    return [text for text in dict.fromkeys(found) if text != value]


def _within(value: Any) -> list[Any]:
    """What an entry of a list may be instead."""
    if isinstance(value, list):
        name, count = value
        return [[name, count, 1], [name, True], [name.lower(), count], [name, count + 2**32]]
    return [True, str(value)]


class Meddler:
    """One script: ``campaign`` up to some entry, and what comes instead of the rest.

    ``peer``: the other side's campaign; what arrives there only this side may say.
    """

    def __init__(self, campaign: Sequence[Json], peer: Sequence[Json], seed: str) -> None:
        self._draw = Random(f"meddling/{seed}")
        self._campaign, self._peer = campaign, peer
        longest = self._draw.choice((3, LONGEST))
        self._at = self._draw.randint(1, min(len(campaign), longest))
        self._script: list[Json] = [campaign[0]]
        begin = campaign[0]["begin"]
        self._terms = Terms(**begin["terms"])
        self._machine: Machine[Any] = exchange.THINKER
        self._state: Any = exchange.thinker(self._terms)
        if begin["role"] == "performer":
            self._machine = exchange.PERFORMER
            started = exchange.performer(self._terms, begin["incarnation"])
            self._state, _ = exchange.step(exchange.PERFORMER, started, TimerFired())

    def run(self) -> list[Json]:
        """Play it out."""
        for entry in self._campaign[1 : self._at]:
            self._tell(entry)
        left = TAIL
        while left:
            for entry in self._next():
                self._tell(entry)
            left -= 1
            if self._state.phase in ENDS:
                left = min(left, AFTER_THE_END)
        return self._script

    def _tell(self, entry: Json) -> None:
        """What this side's own driver may not do here is left out."""
        try:
            self._state, effects = exchange.step(self._machine, self._state, given(entry))
        except ExchangeError:
            return
        self._script.append(entry)
        for made in self._answers(effects):
            self._tell(made)

    def _answers(self, effects: Sequence[Effect]) -> Iterator[Json]:
        """The driver exports when it is asked to, if nothing comes between."""
        for effect in effects:
            if isinstance(effect, Export) and self._draw.random() < 0.8:
                parts = shards(self._draw, self._terms, f"again {effect.epoch}/{effect.unit}")
                made = {"epoch": effect.epoch, "unit": effect.unit}
                yield {"exported": {**made, "parts": [part_json(part) for part in parts]}}

    def _next(self) -> Iterator[Json]:
        """An entry that the campaign had here, or one that it had not."""
        kinds = (self._on, self._again, self._changed, self._end, self._local, self._stray)
        yield from self._draw.choices(kinds, (40, 15, 15, 10, 15, 5))[0]()

    def _on(self) -> Iterator[Json]:
        if self._at < len(self._campaign):
            yield self._campaign[self._at]
            self._at += 1

    def _near(self, *kinds: str) -> list[Json]:
        """Entries of the campaign around this one."""
        window = self._campaign[max(1, self._at - 20) : self._at + 20]
        return [entry for entry in window if not kinds or next(iter(entry)) in kinds]

    def _again(self) -> Iterator[Json]:
        letters = self._near("arrive")
        if letters:
            yield self._draw.choice(letters)

    def _changed(self) -> Iterator[Json]:
        """A letter in which one field, or two, say something else; the true one may follow."""
        letters = [*self._near("arrive"), *self._campaign[self._at : self._at + 1]][-16:]
        letters = [entry for entry in letters if "arrive" in entry]
        if not letters:
            return
        true = self._draw.choice(letters)
        sent, message = true["arrive"], dict(true["arrive"]["message"])
        same = [e["arrive"]["message"] for e in self._near("arrive")]
        for field in self._fields(message):
            seen = [m[field] for m in same if m.get(field, message[field]) != message[field]]
            message[field] = self._draw.choice([*others(message[field]), *seen])
        payload = sent["payload_sha256"]
        if payload is not None and isinstance(message.get("digest"), str):
            # Another payload, truly described.
            payload = message["digest"]
        yield {"arrive": {"message": message, "payload_sha256": payload}}
        if self._draw.random() < 0.5:
            yield true

    def _fields(self, message: Json) -> Sequence[str]:
        """One, or two that may contradict each other; often the digest, which all else rests on."""
        if "digest" in message and self._draw.random() < 0.25:
            return ("digest",)
        several = 0.7 if message.get("kind") == "open" else 0.3
        return self._draw.sample(sorted(message), 2 if self._draw.random() < several else 1)

    def _end(self) -> Iterator[Json]:
        reason = self._draw.choice(("", "", "out of memory"))
        close = Close(session=self._terms.session, epoch=self._state.epoch, reason=reason)
        yield self._draw.choice(({"arrive": letter(close)}, {"peer_lost": {}}, {"finish": {}}))

    def _stray(self) -> Iterator[Json]:
        """A letter of another session, or one that only this side may send."""
        ours = [entry for entry in self._peer[:LONGEST] if "arrive" in entry]
        letters = self._draw.choice((self._near("arrive"), ours))
        if letters:
            sent = self._draw.choice(letters)["arrive"]
            if letters is not ours or self._draw.random() < 0.5:
                sent = {**sent, "message": {**sent["message"], "session": "a-stranger"}}
            yield {"arrive": sent}

    def _local(self) -> Iterator[Json]:
        """The timer, or what the driver fed back at some other time."""
        yield {"timer": {}}
        own = self._near("solved", "offered", "exported")
        if own and self._draw.random() < 0.5:
            yield self._draw.choice(own)
