"""Scripted sequences for one machine: what comes in, and in words what must come out of it.

Each script is a list of (input, effects); the effects of one step are joined by commas. They are
what a conformance suite sends to a receiver.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from simulator.world.machines import Machines
from simulator.world.small import (
    BY_LAYER,
    UNSHARDED,
    Shards,
    digest_of,
    latents_digest,
    parts_of,
    terms,
)
from spec.exchange import performer, step
from spec.exchange_effects import (
    Corrupt,
    Drop,
    Effect,
    Fail,
    Hold,
    Input,
    PeerLost,
    Send,
    Solved,
    Timer,
)
from spec.exchange_headers import slice_header
from spec.exchange_message import (
    KIND_OF,
    Close,
    Header,
    Hello,
    LatentsAck,
    LatentsNack,
    Message,
    Open,
)

Script = list[tuple[Input, str]]

TERMS = terms("overlapped")
OTHER_DIGEST = digest_of("something else")


def in_words(effect: Effect) -> str:
    match effect:
        case Send(message):
            unit = getattr(message, "unit", None)
            return f"send {KIND_OF[type(message)]}" + ("" if unit is None else f" {unit}")
        case Hold(header):
            return f"hold {header.unit}"
        case Drop(event):
            return f"drop {event}"
        case Fail(fault=fault):
            return f"fail {fault}"
        case _:
            unit = getattr(effect, "unit", None)
            name = type(effect).__name__.lower()
            return name if unit is None else f"{name} {unit}"


# Inputs of a performer.


def opens(epoch: int = 0, *, incarnation: int = 1, unit: int = -1) -> Open:
    return Open(session="s", epoch=epoch, incarnation=incarnation, unit=unit, terms=TERMS)


def sends(
    unit: int, *, epoch: int = 0, part: int = 0, shards: Shards = UNSHARDED, snapshot: bool = False
) -> Header:
    piece = parts_of(shards, unit, snapshot=snapshot)[part]
    return slice_header(TERMS, epoch, unit, snapshot, piece)


def prefill(epoch: int = 0) -> Header:
    return sends(-1, epoch=epoch, snapshot=True)


def solved(unit: int, *, epoch: int = 0) -> Solved:
    return Solved(epoch=epoch, unit=unit, digest=latents_digest(unit))


def acks_latents(unit: int, *, epoch: int = 0) -> LatentsAck:
    return LatentsAck(session="s", epoch=epoch, unit=unit, digest=latents_digest(unit))


def nacks_latents(unit: int) -> LatentsNack:
    return LatentsNack(session="s", epoch=0, unit=unit)


def elsewhere(message: Message) -> Message:
    """The same message in another session."""
    if isinstance(message, Open):
        other = attrs.evolve(message.terms, session="other")
        return attrs.evolve(message, session="other", terms=other)
    return attrs.evolve(message, session="other")


def closes(reason: str = "") -> Close:
    return Close(session="s", epoch=0, reason=reason)


def hello(incarnation: int = 1) -> Hello:
    return Hello(session="s", incarnation=incarnation)


OPENED: Script = [
    (Timer(), "send hello"),
    (opens(), "reset"),
    (prefill(), "hold -1, append -1, send slice-ack -1"),
]
TOOK_0: Script = [*OPENED, (sends(0), "hold 0, append 0, send slice-ack 0, solve 0")]
SOLVED_0: Script = [*TOOK_0, (solved(0), "send latents 0, commit 0")]
NEXT_1 = (sends(1), "hold 1, append 1, send slice-ack 1, solve 1")
PEER_FAULT = "send close, fail peer"


PERFORMER_SCRIPTS: Mapping[str, Script] = {
    "WS-EXCHANGE-1 other terms": [
        (attrs.evolve(opens(), terms=attrs.evolve(TERMS, layers=3)), PEER_FAULT),
    ],
    "WS-EXCHANGE-1 another snapshot for the same epoch": [*OPENED, (opens(unit=0), PEER_FAULT)],
    "WS-EXCHANGE-2 another session": [
        *OPENED,
        (elsewhere(opens(5)), "drop other-session"),
        (elsewhere(sends(0)), "drop other-session"),
        (elsewhere(acks_latents(0)), "drop other-session"),
        (elsewhere(nacks_latents(0)), "drop other-session"),
        (elsewhere(closes()), "drop other-session"),
        (elsewhere(hello()), "drop other-session"),
    ],
    "WS-EXCHANGE-2 a message for the other side": [*OPENED, (hello(), PEER_FAULT)],
    "WS-EXCHANGE-3 layers out of range": [
        *OPENED,
        (attrs.evolve(sends(0), layers=(0, 3)), PEER_FAULT),
    ],
    "WS-EXCHANGE-3 heads out of range": [
        *OPENED,
        (attrs.evolve(sends(0), heads=(1, 3)), PEER_FAULT),
    ],
    "WS-EXCHANGE-3 another dtype": [*OPENED, (attrs.evolve(sends(0), dtype="float16"), PEER_FAULT)],
    "WS-EXCHANGE-3 segments of the other schedule": [
        *OPENED,
        (
            attrs.evolve(sends(0), segments=(("Z", 4), ("O", 5), ("L", 2)), token_count=11),
            PEER_FAULT,
        ),
    ],
    "WS-EXCHANGE-3 lengths that do not add up": [
        *OPENED,
        (attrs.evolve(sends(0), kv_len_after=11), PEER_FAULT),
    ],
    "WS-EXCHANGE-4 byte count": [*OPENED, (attrs.evolve(sends(0), byte_count=8), PEER_FAULT)],
    "WS-EXCHANGE-5 sealed only with every layer": [
        *OPENED,
        (sends(0, shards=BY_LAYER, part=1), "hold 0"),
        (sends(0, shards=BY_LAYER, part=1), "drop part-again"),
        (
            sends(0, shards=BY_LAYER, part=0),
            "hold 0, append 0, send slice-ack 0, solve 0",
        ),
    ],
    "WS-EXCHANGE-5 the same layers from another part": [
        *OPENED,
        (sends(0, shards=BY_LAYER, part=1), "hold 0"),
        (sends(0), PEER_FAULT),
    ],
    "WS-EXCHANGE-7 a copy is acknowledged and ignored": [
        *TOOK_0,
        (sends(0), "drop slice-again, send slice-ack 0"),
        (prefill(), "drop slice-again, send slice-ack 0"),
    ],
    "WS-EXCHANGE-7 same unit, other digest": [
        *TOOK_0,
        (attrs.evolve(sends(0), digest=OTHER_DIGEST), PEER_FAULT),
    ],
    "WS-EXCHANGE-7 the next unit at another length": [
        *OPENED,
        (attrs.evolve(sends(0), kv_len_before=4, kv_len_after=11), PEER_FAULT),
    ],
    "WS-EXCHANGE-8 a gap is asked for once, then again by timer": [
        *OPENED,
        (sends(1), "drop slice-gap, send slice-nack 0"),
        (sends(1), "drop slice-gap"),
        (Corrupt(), "drop corrupt"),
        (Timer(), "send slice-nack 0"),
        (sends(0), "hold 0, append 0, send slice-ack 0, solve 0"),
        NEXT_1,
    ],
    "WS-EXCHANGE-8 corrupt is as not arrived": [
        *OPENED,
        (Corrupt(), "drop corrupt, send slice-nack 0"),
        (sends(0), "hold 0, append 0, send slice-ack 0, solve 0"),
        (Corrupt(), "drop corrupt, send slice-nack 1"),
    ],
    "WS-EXCHANGE-9 latents are kept until acknowledged": [
        *SOLVED_0,
        (Timer(), "send latents 0"),
        (nacks_latents(0), "send latents 0"),
        (nacks_latents(1), "drop latents-nack-void"),
        NEXT_1,
        (solved(1), "send latents 1, commit 1"),
        (nacks_latents(0), "send latents 0, send latents 1"),
        (nacks_latents(1), "send latents 1"),
        (acks_latents(0), "release 0"),
        (acks_latents(0), "drop latents-ack-late"),
        (nacks_latents(0), "drop latents-nack-void"),
        (Timer(), "send latents 1"),
        (acks_latents(1), "release 1"),
        (Timer(), ""),
    ],
    "WS-EXCHANGE-9 latents acknowledged before they are solved": [
        *TOOK_0,
        (acks_latents(0), PEER_FAULT),
    ],
    "WS-EXCHANGE-9 other latents acknowledged": [
        *SOLVED_0,
        (attrs.evolve(acks_latents(0), digest=OTHER_DIGEST), PEER_FAULT),
    ],
    "WS-EXCHANGE-10 nothing before the epoch is open": [
        (prefill(), "drop future-epoch, send hello"),
        (Corrupt(), "drop corrupt, send hello"),
        (opens(incarnation=0), "drop open-other"),
        *OPENED,
        (opens(), "drop open-again"),
    ],
    "WS-EXCHANGE-10 a new epoch starts from its snapshot": [
        *SOLVED_0,
        (sends(1, epoch=1), "drop future-epoch, send hello"),
        (opens(1, unit=0), "reset"),
        (opens(0), "drop stale-epoch"),
        (sends(1), "drop stale-epoch"),
        (acks_latents(0), "drop stale-epoch"),
        (solved(1), "drop solved-stale"),
        (sends(0, epoch=1, snapshot=True), "hold 0, append 0, send slice-ack 0"),
        (sends(1, epoch=1), "hold 1, append 1, send slice-ack 1, solve 1"),
    ],
    "WS-EXCHANGE-10 a slice from before the snapshot": [
        (opens(1, unit=1), "reset"),
        (sends(0, epoch=1), PEER_FAULT),
    ],
    "WS-EXCHANGE-10 parts of an old epoch are forgotten": [
        *OPENED,
        (sends(0, shards=BY_LAYER, part=1), "hold 0"),
        (opens(1), "reset"),
        (prefill(1), "hold -1, append -1, send slice-ack -1"),
        (sends(0, epoch=1, shards=BY_LAYER, part=0), "hold 0"),
    ],
    "WS-EXCHANGE-13 latents are sent again": [*SOLVED_0, (Timer(), "send latents 0")],
    "WS-EXCHANGE-11 a slice beyond the window": [
        *TOOK_0,
        NEXT_1,
        (sends(2), PEER_FAULT),
    ],
    "WS-EXCHANGE-11 a slice says which latents were accepted": [
        *SOLVED_0,
        NEXT_1,
        (solved(1), "send latents 1, commit 1"),
        (sends(2), "hold 2, release 0, append 2, send slice-ack 2, solve 2"),
        (Timer(), "send latents 1"),
    ],
    "WS-EXCHANGE-12 closed once, answered always": [
        *OPENED,
        (closes(), "send close, closed"),
        (closes(), "send close"),
        (sends(0), "drop slice-sealed"),
        (Timer(), ""),
    ],
    "WS-EXCHANGE-12 the thinker is gone": [*OPENED, (PeerLost(), "closed")],
    "WS-EXCHANGE-12 the thinker reports our mistake": [*OPENED, (closes("x"), "fail ours")],
}


def play_performer(machines: Machines, script: Script) -> None:
    """Raise AssertionError at the first step that answers otherwise."""
    state = performer(TERMS, incarnation=1)
    for given, expected in script:
        state, effects = step(machines.performer, state, given)
        said = ", ".join(map(in_words, effects))
        assert said == expected, f"{given}: {said!r}, not {expected!r}"
