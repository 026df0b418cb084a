"""Every rule of the exchange at the thinker's side, step by step.

Each script is named after the clause it shows (WS-EXCHANGE-6).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from exchange_scripts import (
    OTHER_DIGEST,
    PEER_FAULT,
    TERMS,
    Script,
    closes,
    elsewhere,
    hello,
    in_words,
    sends,
)

from simulator.world.machines import Machines
from simulator.world.small import UNSHARDED, latents_digest, parts_of
from spec.exchange import step, thinker
from spec.exchange_effects import Corrupt, Exported, Finish, Offered, PeerLost, Timer
from spec.exchange_headers import latents_message
from spec.exchange_message import Latents, SliceAck, SliceNack
from spec.exchange_terms import kv_len_after, slice_digest

# Inputs of a thinker.


def exported(epoch: int = 0, unit: int = -1) -> Exported:
    return Exported(epoch=epoch, unit=unit, parts=parts_of(UNSHARDED, unit, snapshot=True))


def offered(unit: int) -> Offered:
    return Offered(unit=unit, parts=parts_of(UNSHARDED, unit, snapshot=False))


def digest_of_slice(unit: int, *, snapshot: bool = False) -> str:
    return slice_digest(parts_of(UNSHARDED, unit, snapshot=snapshot))


def acks(unit: int, *, epoch: int = 0, snapshot: bool = False) -> SliceAck:
    return SliceAck(
        session="s",
        epoch=epoch,
        unit=unit,
        digest=digest_of_slice(unit, snapshot=snapshot),
        kv_len=kv_len_after(TERMS, unit),
    )


def nacks(unit: int, *, epoch: int = 0) -> SliceNack:
    length = 0 if unit == -1 else kv_len_after(TERMS, unit - 1)
    return SliceNack(session="s", epoch=epoch, unit=unit, kv_len=length)


def latents(unit: int, *, epoch: int = 0) -> Latents:
    return latents_message(TERMS, epoch, unit, digest_of_slice(unit), latents_digest(unit))


SAID_HELLO: Script = [
    (hello(), "send open -1, export -1"),
    (exported(), "send slice -1"),
    (acks(-1, snapshot=True), "release -1"),
]
SENT_0: Script = [*SAID_HELLO, (offered(0), "send slice 0")]
SENT_1: Script = [*SENT_0, (offered(1), "send slice 1")]
ACCEPTED_0: Script = [
    *SENT_0,
    (latents(0), "decode 0, commit 0, release 0, send latents-ack 0"),
]

THINKER_SCRIPTS: Mapping[str, Script] = {
    "WS-EXCHANGE-2 another session": [
        *SENT_0,
        (elsewhere(hello(7)), "drop other-session"),
        (elsewhere(acks(0)), "drop other-session"),
        (elsewhere(nacks(0)), "drop other-session"),
        (elsewhere(latents(0)), "drop other-session"),
        (elsewhere(closes("x")), "drop other-session"),
        (elsewhere(sends(0)), "drop other-session"),
    ],
    "WS-EXCHANGE-2 a message for the other side": [*SENT_0, (sends(0), PEER_FAULT)],
    "WS-EXCHANGE-7 a late acknowledgement is ignored": [
        *SENT_1,
        (acks(0), ""),
        (acks(0), "drop ack-late"),
        (acks(-1, snapshot=True), "drop ack-late"),
        (latents(0), "decode 0, commit 0, release 0, send latents-ack 0"),
        (acks(0), "drop ack-late"),
        (acks(1), ""),
    ],
    "WS-EXCHANGE-7 acknowledgements are cumulative": [
        *SENT_1,
        (acks(1), ""),
        (Timer(), ""),
        (latents(0), "decode 0, commit 0, release 0, send latents-ack 0"),
        (Timer(), ""),
    ],
    "WS-EXCHANGE-7 something else acknowledged": [
        *SENT_0,
        (attrs.evolve(acks(0), digest=OTHER_DIGEST), PEER_FAULT),
    ],
    "WS-EXCHANGE-7 another length acknowledged": [
        *SENT_0,
        (attrs.evolve(acks(0), kv_len=9), PEER_FAULT),
    ],
    "WS-EXCHANGE-7 a slice acknowledged that was not sent": [*SENT_0, (acks(1), PEER_FAULT)],
    "WS-EXCHANGE-8 resent from the ring": [
        *SENT_1,
        (nacks(1), "send slice 1"),
        (nacks(0), "send slice 0, send slice 1"),
        (nacks(2), "drop nack-early"),
        (acks(0), ""),
        (nacks(0), "drop nack-late"),
    ],
    "WS-EXCHANGE-8 missing at another length": [
        *SENT_0,
        (attrs.evolve(nacks(0), kv_len=4), PEER_FAULT),
    ],
    "WS-EXCHANGE-8 missing what cannot be known": [*SENT_0, (nacks(2), PEER_FAULT)],
    "WS-EXCHANGE-9 latents are accepted once": [
        *ACCEPTED_0,
        (latents(0), "drop latents-again, send latents-ack 0"),
    ],
    "WS-EXCHANGE-9 latents of another slice": [
        *SENT_0,
        (attrs.evolve(latents(0), slice_digest=OTHER_DIGEST), PEER_FAULT),
    ],
    "WS-EXCHANGE-9 other latents for the same unit": [
        *ACCEPTED_0,
        (attrs.evolve(latents(0), digest=OTHER_DIGEST), PEER_FAULT),
    ],
    "WS-EXCHANGE-9 the same latents said to be of another slice": [
        *ACCEPTED_0,
        (attrs.evolve(latents(0), slice_digest=OTHER_DIGEST), PEER_FAULT),
    ],
    "WS-EXCHANGE-9 latents of a slice that was not sent": [*SENT_0, (latents(1), PEER_FAULT)],
    "WS-EXCHANGE-9 latents of another dtype": [
        *SENT_0,
        (attrs.evolve(latents(0), dtype="float64"), PEER_FAULT),
    ],
    "WS-EXCHANGE-9 latents of another size": [
        *SENT_0,
        (attrs.evolve(latents(0), byte_count=4), PEER_FAULT),
    ],
    "WS-EXCHANGE-9 latents out of order are asked for once": [
        *SENT_1,
        (latents(1), "drop latents-gap, send latents-nack 0"),
        (latents(1), "drop latents-gap"),
        (Corrupt(), "drop corrupt"),
        (latents(0), "decode 0, commit 0, release 0, send latents-ack 0"),
        (Corrupt(), "drop corrupt, send latents-nack 1"),
        (latents(1), "decode 1, commit 1, release 1, send latents-ack 1"),
    ],
    "WS-EXCHANGE-10 a lost performer": [
        *ACCEPTED_0,
        (offered(1), "send slice 1"),
        (hello(2), "send open 0, export 0"),
        (nacks(0, epoch=0), "drop stale-epoch"),
        (latents(1), "drop stale-epoch"),
        (hello(2), "send open 0"),
        (hello(1), "drop hello-old"),
        (exported(1, 0), "send slice 0, send slice 1"),
        (Timer(), "send slice 0, send slice 1"),
        (acks(0, epoch=1, snapshot=True), "release 0"),
        (acks(1), "drop stale-epoch"),
        (latents(1, epoch=1), "decode 1, commit 1, release 1, send latents-ack 1"),
    ],
    "WS-EXCHANGE-10 lost again while a snapshot is read": [
        (hello(1), "send open -1, export -1"),
        (PeerLost(), "send open -1, export -1"),
        (exported(0, -1), "drop exported-stale"),
        (exported(1, -1), "send slice -1"),
        (hello(3), "release -1, send open -1, export -1"),
    ],
    "WS-EXCHANGE-10 a message from an epoch that has not begun": [
        *SENT_0,
        (acks(0, epoch=1), PEER_FAULT),
    ],
    "WS-EXCHANGE-11 an acknowledged slice is kept until its response is here": [
        *SENT_0,
        (acks(0), ""),
        (hello(2), "send open -1, export -1"),
        (exported(1), "send slice -1, send slice 0"),
    ],
    "WS-EXCHANGE-13 slices are sent again": [
        *SENT_1,
        (acks(0), ""),
        (Timer(), "send slice 1"),
    ],
    "WS-EXCHANGE-11 back-pressure": [
        (offered(0), ""),
        (offered(1), ""),
        (offered(2), "refuse 2"),
        (hello(), "send open -1, export -1"),
        (exported(), "send slice -1, send slice 0, send slice 1"),
        (latents(0), "release -1, decode 0, commit 0, release 0, send latents-ack 0"),
        (offered(2), "send slice 2"),
        (offered(3), "refuse 3"),
    ],
    "WS-EXCHANGE-12 closed after the last response": [
        *SENT_0,
        (Finish(), ""),
        (latents(0), "decode 0, commit 0, release 0, send latents-ack 0, send close"),
        (Timer(), "send close"),
        (acks(0), "drop ack-late"),
        (closes(), "closed"),
        (hello(2), "send close"),
        (Timer(), ""),
    ],
    "WS-EXCHANGE-12 nothing to wait for": [*SAID_HELLO, (Finish(), "send close")],
    "WS-EXCHANGE-12 closed by a performer that had no reason": [*SENT_0, (closes(), PEER_FAULT)],
    "WS-EXCHANGE-12 the performer reports our mistake": [*SENT_0, (closes("x"), "fail ours")],
    "WS-EXCHANGE-12 the performer goes while closing": [
        *SAID_HELLO,
        (Finish(), "send close"),
        (PeerLost(), "closed"),
    ],
}


def play_thinker(machines: Machines, script: Script) -> None:
    """Raise AssertionError at the first step that answers otherwise."""
    state = thinker(TERMS)
    for given, expected in script:
        state, effects = step(machines.thinker, state, given)
        said = ", ".join(map(in_words, effects))
        assert said == expected, f"{given}: {said!r}, not {expected!r}"
