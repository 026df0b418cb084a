"""What the performer's side of the KV exchange answers to a script (WS-CONFORMANCE-8).

A script is a list of JSON objects, each with one key:

    {"begin": {"terms": {...}, "incarnation": n}}     always first, and only first
    {"arrive": {"message": {...}, "payload_sha256": hex or null}}
    {"solved": {"epoch": e, "unit": k, "digest": hex}}
    {"timer": {}}

The reply to each: ``sent``, the messages that go out; ``appended`` and ``solve``, units in order;
``kv_len``; ``cache``, the digest of all that was appended since the epoch began; ``failed``.
The expected replies are those of the tables in `spec.exchange`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import attrs

from conformance.protocol import Json
from spec import exchange
from spec.errors import ExchangeError
from spec.exchange_effects import Append, Corrupt, Effect, Input, Reset, Send, Solve, Solved
from spec.exchange_effects import Timer as TimerFired
from spec.exchange_events import Phase
from spec.exchange_json import from_json, to_json
from spec.exchange_machine import Machine
from spec.exchange_message import Message
from spec.exchange_performer import Performer
from spec.exchange_terms import Terms

EMPTY_CACHE: Final = hashlib.sha256(b"").hexdigest()


def answer(script: Sequence[Json], machine: Machine[Performer] = exchange.PERFORMER) -> list[Json]:
    """One reply an entry of ``script``."""
    begin = script[0]["begin"]
    state = exchange.performer(Terms(**begin["terms"]), begin["incarnation"])
    state, effects = exchange.step(machine, state, TimerFired())
    cache = EMPTY_CACHE
    replies = [_reply(state, effects, cache)]
    for entry in script[1:]:
        state, effects = exchange.step(machine, state, given(entry))
        cache = cached(cache, effects)
        replies.append(_reply(state, effects, cache))
    return replies


def given(entry: Json) -> Input:
    """The input that a script entry stands for; what cannot be read, or whose payload is not what
    its header says, counts as not arrived (WS-EXCHANGE-8)."""
    if "timer" in entry:
        return TimerFired()
    if "solved" in entry:
        return Solved(**entry["solved"])
    try:
        message = from_json(entry["arrive"]["message"])
    except ExchangeError:
        return Corrupt()
    return Corrupt() if corrupt(message, entry["arrive"]["payload_sha256"]) else message


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


def _reply(state: Performer, effects: Sequence[Effect], cache: str) -> Json:
    return {
        "sent": [to_json(e.message) for e in effects if isinstance(e, Send)],
        "appended": [e.unit for e in effects if isinstance(e, Append)],
        "solve": [e.unit for e in effects if isinstance(e, Solve)],
        "kv_len": state.kv_len,
        "cache": cache,
        "failed": state.phase is Phase.FAILED,
    }


def terms_json(terms: Terms) -> Json:
    """Terms as they stand in ``begin``."""
    return attrs.asdict(terms)
