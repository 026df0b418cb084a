"""Both sides of the exchange over a wire that does everything wrong: scripts nobody wrote by hand.

Thinker and performer run by the tables of `spec.exchange`; a seeded wire loses, copies, damages and
reorders what they say, performers crash and come back, strangers talk in between. What each side
was given is a script for a port's own side, and what the tables answered is what it must answer
(WS-CONFORMANCE-8).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import attrs

from conformance.exchange.script import given, part_json, terms_json
from conformance.protocol import Json
from spec import exchange
from spec.exchange_effects import Effect, Export, Send, Solve, Timer
from spec.exchange_json import to_json
from spec.exchange_message import Header, Latents, Message
from spec.exchange_terms import Part, Terms
from spec.sizes import Schedule

Range = tuple[int, int]
"""Layers or heads, half-open."""

MOVES: Final = 500
MOST_UNITS: Final = 8
"""Units that a campaign offers at most; few enough that many campaigns also reach the end."""


@attrs.frozen(kw_only=True)
class Scripts:
    """What each side was given: the thinker, and every performer from its start to its end."""

    thinker: tuple[Json, ...]
    performers: tuple[tuple[Json, ...], ...]


def sha(text: str) -> str:
    """A digest that stands for a payload; the payload itself is never looked at."""
    return hashlib.sha256(text.encode()).hexdigest()


def terms_for(seed: int, schedule: Schedule) -> Terms:
    """Sizes of no preset, another set for each seed."""
    draw = Random(f"terms/{seed}")
    return Terms(
        session=f"campaign-{seed}",
        schedule=schedule,
        window=1 if schedule == "sequential" else draw.choice((2, 3, 5)),
        layers=draw.choice((1, 2, 3, 4, 12)),
        kv_heads=draw.randint(1, 3),
        head_dim=2 * draw.randint(1, 8),
        dtype=draw.choice(("float32", "float64")),
        # Now and then a snapshot whose bytes 32 bits do not hold.
        prefill_tokens=draw.choice((1, 3, 9, 20_000_000)),
        observation_tokens=draw.randint(1, 20),
        language_tokens=draw.randint(1, 4),
        response_tokens=draw.randint(1, 12),
        latent_values=draw.randint(1, 30),
    )


def shards(draw: Random, terms: Terms, content: str) -> tuple[Part, ...]:
    """A slice in one part, in a part a layer, or in parts that make no grid."""
    layers, heads = (0, terms.layers), (0, terms.kv_heads)
    kind = draw.randrange(3)
    if kind == 0:
        found = [(layers, heads)]
    elif kind == 1:
        found = [((i, i + 1), heads) for i in range(terms.layers)]
    else:
        found = list(_split(draw, layers, heads))
    return tuple(Part(a, b, sha(f"{content}/{a}/{b}")) for a, b in found)


def _split(draw: Random, layers: Range, heads: Range) -> Iterator[tuple[Range, Range]]:
    """A rectangle of layers and heads, whole or as two that are split further."""
    cuts = [(0, n) for n in range(*layers)[1:]] + [(1, n) for n in range(*heads)[1:]]
    if not cuts or draw.random() < 0.25:
        yield layers, heads
        return
    axis, n = draw.choice(cuts)
    for low, high in ((0, n), (n, 1 << 30)):
        a, b = ((max(x[0], low), min(x[1], high)) for x in (layers, heads))
        yield from _split(draw, a if axis == 0 else layers, b if axis == 1 else heads)


class Campaign:
    """One seeded session; `run` gives its scripts."""

    def __init__(self, seed: int, schedule: Schedule) -> None:
        self._draw = Random(f"campaign/{seed}/{schedule}")
        self._terms = terms_for(seed, schedule)
        self._thinker = exchange.thinker(self._terms)
        self._thought: list[Json] = [
            {"begin": {"role": "thinker", "terms": terms_json(self._terms), "incarnation": 0}}
        ]
        self._performed: list[list[Json]] = []
        # Letters under way, to the thinker and to the performer; exports and solves not finished.
        self._up: list[Json] = []
        self._down: list[Json] = []
        self._exporting: list[Json] = []
        self._solving: list[Json] = []
        self._incarnation = 0
        self._finished = False
        self._units = self._draw.randint(2, MOST_UNITS)
        self._spawn()

    def run(self) -> Scripts:
        """Play it out."""
        for _ in range(MOVES):
            self._draw.choices(
                (
                    self._deliver, self._solve, self._export, self._offer, self._tick,
                    self._crash, self._suspect, self._stranger,
                ),
                (80, 20, 20, 8, 8, 0.5, 0.5, 2),
            )[0]()  # fmt: skip
        return Scripts(
            thinker=tuple(self._thought), performers=tuple(tuple(p) for p in self._performed)
        )

    def _spawn(self) -> None:
        """A new performer, which says hello."""
        self._incarnation += self._draw.randint(1, 3)
        begin = {"role": "performer", "terms": terms_json(self._terms)}
        self._performed.append([{"begin": {**begin, "incarnation": self._incarnation}}])
        self._performer = exchange.performer(self._terms, self._incarnation)
        self._solving = []
        self._performer, effects = exchange.step(exchange.PERFORMER, self._performer, Timer())
        self._performer_effects(effects)

    def _tell_performer(self, entry: Json) -> None:
        self._performed[-1].append(entry)
        self._performer, effects = exchange.step(exchange.PERFORMER, self._performer, given(entry))
        self._performer_effects(effects)

    def _performer_effects(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._up.append(letter(effect.message))
            elif isinstance(effect, Solve):
                digest = sha(f"z{effect.unit}/{effect.epoch}")
                solved = {"epoch": effect.epoch, "unit": effect.unit, "digest": digest}
                self._solving.append({"solved": solved})

    def _tell_thinker(self, entry: Json) -> None:
        self._thought.append(entry)
        self._thinker, effects = exchange.step(exchange.THINKER, self._thinker, given(entry))
        for effect in effects:
            if isinstance(effect, Send):
                self._down.append(letter(effect.message))
            elif isinstance(effect, Export):
                parts = shards(self._draw, self._terms, f"snapshot {effect.epoch}/{effect.unit}")
                made = {"epoch": effect.epoch, "unit": effect.unit}
                self._exporting.append({"exported": {**made, "parts": list(map(part_json, parts))}})

    def _deliver(self) -> None:
        """One letter, in any order; it may be lost, come again, or be damaged."""
        box = self._up if self._draw.random() < len(self._up) / (
            len(self._up) + len(self._down) or 1
        ) else self._down  # fmt: skip
        if not box:
            return
        index = 0 if self._draw.random() < 0.6 else self._draw.randrange(len(box))
        sent = box[index]
        fate = self._draw.random()
        if fate < 0.88:
            del box[index]
        if fate < 0.08:
            return
        if 0.80 <= fate < 0.88:
            sent = damaged(self._draw, sent)
        tell = self._tell_thinker if box is self._up else self._tell_performer
        tell({"arrive": sent})

    def _solve(self) -> None:
        if self._solving:
            self._tell_performer(self._solving.pop(0))

    def _export(self) -> None:
        if self._exporting:
            self._tell_thinker(self._exporting.pop(0))

    def _offer(self) -> None:
        unit = self._thinker.offered + 1
        if unit == self._units and not self._finished:
            self._finished = True
            self._tell_thinker({"finish": {}})
        elif unit < self._units:
            parts = shards(self._draw, self._terms, f"slice {unit}")
            self._tell_thinker({"offered": {"unit": unit, "parts": [part_json(p) for p in parts]}})

    def _tick(self) -> None:
        self._draw.choice((self._tell_thinker, self._tell_performer))({"timer": {}})

    def _crash(self) -> None:
        """The performer is gone, noticed or not; a new one says hello."""
        if self._draw.random() < 0.5:
            self._tell_thinker({"peer_lost": {}})
        self._spawn()

    def _suspect(self) -> None:
        """The performer lives, and is taken for lost: it is given the next epoch as it is."""
        self._tell_thinker({"peer_lost": {}})

    def _stranger(self) -> None:
        """A letter of this session under another session's name."""
        box, tell = self._draw.choice(
            ((self._up, self._tell_thinker), (self._down, self._tell_performer))
        )
        if box:
            sent = self._draw.choice(box)
            tell({"arrive": {**sent, "message": {**sent["message"], "session": "a-stranger"}}})


def letter(message: Message) -> Json:
    """A message and the digest of the payload that travels with it."""
    payload = message.digest if isinstance(message, Header | Latents) else None
    data: Json = json.loads(json.dumps(to_json(message)))
    return {"message": data, "payload_sha256": payload}


def damaged(draw: Random, sent: Json) -> Json:
    """A letter that the receiver can tell is damaged: its payload flipped, or not readable."""
    if sent["payload_sha256"] is not None and draw.random() < 0.5:
        return {**sent, "payload_sha256": sha("flipped")}
    message = dict(sent["message"])
    key = draw.choice(sorted(message))
    if draw.random() < 0.5:
        del message[key]
    else:
        message[key] = {"damaged": True}
    return {**sent, "message": message}
