"""Ports whose machines fail at sizes, counts and ages that a small session never reaches.

And those that take messages that are nearly right for right ones.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from conformance.mutants.exchange import Reads
from conformance.mutants.exchange_history import PERFORMER, THINKER, reading
from conformance.mutants.patching import Mutant, by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import Json
from spec import exchange_performer, exchange_terms, exchange_thinker
from spec.exchange_effects import Offered
from spec.exchange_events import Event
from spec.exchange_machine import future_epoch, stale_epoch
from spec.exchange_message import (
    Header,
    Hello,
    Latents,
    LatentsNack,
    Open,
    SliceAck,
)
from spec.exchange_performer import Performer
from spec.exchange_thinker import Thinker

NEWEST: Final = 64
RING: Final = 16


class ForgetsOldSlices(ReferencePort):
    """A copy of a slice that is older than 64 units is the peer's fault."""

    name = "old-copy-is-a-fault"
    performer = reading(
        PERFORMER,
        Header,
        exchange_performer.appended_before,
        lambda state, m: state.appended - NEWEST < m.unit <= state.appended,
    )


class ForgetsOldThanks(ReferencePort):
    """An acknowledgement that is older than 64 units is the peer's fault."""

    name = "old-thanks-are-a-fault"
    thinker = reading(
        THINKER,
        SliceAck,
        exchange_thinker.acked_before,
        lambda state, m: state.acked - NEWEST < m.unit <= state.acked,
    )


def _serial(state: Any, message: Any) -> bool:
    behind: int = (state.epoch - message.epoch) & 0xFFFF
    return 0 < behind <= 0x8000


class SerialEpochs(ReferencePort):
    """Epochs are compared as serial numbers of 16 bits."""

    name = "epochs-of-16-bits"
    performer = reading(
        reading(PERFORMER, Open, stale_epoch, _serial), Header, stale_epoch, _serial
    )


class FewTakeovers(ReferencePort):
    """After 128 takeovers a new performer is not taken."""

    name = "takeovers-run-out"
    thinker = reading(
        THINKER,
        Hello,
        exchange_thinker.newer_incarnation,
        lambda state, m: state.epoch < 128 and exchange_thinker.newer_incarnation(state, m),
    )


class ShortLatents(ReferencePort):
    """Latents of 64 KiB or more are of a wrong size."""

    name = "latents-sizes-of-16-bits"
    thinker = reading(
        THINKER,
        Latents,
        exchange_thinker.latents_misfit,
        lambda state, m: m.byte_count >= 1 << 16 or exchange_thinker.latents_misfit(state, m),
    )


def _bits(state: Performer, header: Header) -> bool:
    heads, full = state.terms.kv_heads, state.terms.layers * state.terms.kv_heads
    seen = 0
    for part in (*state.held, header.part):
        for layer in range(*part.layers):
            for head in range(*part.heads):
                seen |= 1 << (layer * heads + head) % 64
    return seen.bit_count() < min(full, 64)


class OneWordOfParts(ReferencePort):
    """What has come of a slice is kept in the 64 bits of a word."""

    name = "parts-in-64-bits"
    performer = reading(PERFORMER, Header, exchange_performer.incomplete, _bits)


def _by_size(state: Performer, header: Header) -> bool:
    sizes = exchange_terms.DTYPE_BYTES
    if sizes[header.dtype] == sizes[state.terms.dtype]:
        header = attrs.evolve(header, dtype=state.terms.dtype)
    return exchange_performer.slice_misfit(state, header)


class FormatsBySize(ReferencePort):
    """Number formats of as many bytes are the same."""

    name = "formats-by-their-size"
    performer = reading(PERFORMER, Header, exchange_performer.slice_misfit, _by_size)


def _by_width(state: Performer, message: Open) -> bool:
    ours, theirs = state.terms, message.terms
    if ours.kv_heads * ours.head_dim == theirs.kv_heads * theirs.head_dim:
        same = attrs.evolve(theirs, kv_heads=ours.kv_heads, head_dim=ours.head_dim)
        message = attrs.evolve(message, terms=same)
    return exchange_performer.open_misfit(state, message)


class HeadsByWidth(ReferencePort):
    """Of heads and their size the product is compared."""

    name = "heads-by-their-width"
    performer = reading(PERFORMER, Open, exchange_performer.open_misfit, _by_width)


def _half_of_digests(state: Thinker, message: SliceAck) -> bool:
    for sent in exchange_thinker.to_send(state):
        if sent.unit == message.unit and sent.digest[:32] == message.digest[:32]:
            message = attrs.evolve(message, digest=sent.digest)
    return exchange_thinker.acks_other(state, message)


class HalfADigest(ReferencePort):
    """Of an acknowledged digest the first half is compared."""

    name = "half-a-digest"
    thinker = reading(THINKER, SliceAck, exchange_thinker.acks_other, _half_of_digests)


class EqualLatentsOnce(ReferencePort):
    """Latents of the same bytes as those of another unit are a copy."""

    name = "equal-latents-are-a-copy"
    thinker = reading(
        THINKER,
        Latents,
        exchange_thinker.latents_taken,
        lambda state, m: (
            exchange_thinker.latents_taken(state, m)
            or (m.byte_count > 0 and any(digest == m.digest for _, _, digest in state.taken))
        ),
    )


class FirstForAny(ReferencePort):
    """A performer that was started for the first time takes an open for any other."""

    name = "first-incarnation-takes-any"
    performer = reading(
        PERFORMER,
        Open,
        exchange_performer.for_other_incarnation,
        lambda state, m: 0 < state.incarnation != m.incarnation,
    )


class AnySession(ReferencePort):
    """Whose session an open is for is not looked at."""

    name = "opens-for-any-session"
    performer = attrs.evolve(
        PERFORMER,
        guards={
            **PERFORMER.guards,
            Open: tuple(row for row in PERFORMER.guards[Open] if row[1] is not Event.OTHER_SESSION),
        },
    )


class SmallRing(ReferencePort):
    """At most 16 slices are on the way, whatever the window."""

    name = "ring-of-16"
    thinker = reading(
        THINKER,
        Offered,
        exchange_thinker.window_full,
        lambda state, given: given.unit - state.accepted > min(RING, state.terms.window),
    )


class LaterInstead(ReferencePort):
    """Latents that are not kept are asked for: the later ones that are kept are sent."""

    name = "later-latents-instead"
    performer = reading(
        PERFORMER,
        LatentsNack,
        exchange_performer.latents_not_kept,
        lambda state, m: all(kept.unit < m.unit for kept in state.kept),
    )


class ShortNames(Reads):
    """Of a session's name 31 letters are compared."""

    name = "names-of-31-letters"

    def exchange(self, script: Any) -> Any:
        self._own = script[0]["begin"]["terms"]["session"]
        return super().exchange(script)

    def read(self, message: Json) -> Json:
        name = message.get("session")
        if not isinstance(name, str) or len(name) < 31 or "terms" in message:
            return message
        return {**message, "session": self._own} if name[:31] == self._own[:31] else message


class AnyCase(Reads):
    """Kinds of messages are read in any letter case."""

    name = "kinds-in-any-case"

    def read(self, message: Json) -> Json:
        kind = message.get("kind")
        return {**message, "kind": kind.lower()} if isinstance(kind, str) else message


class TrueTokens(Reads):
    """In a list of segments true passes for one."""

    name = "segments-of-true-tokens"

    def read(self, message: Json) -> Json:
        found = message.get("segments")
        if not isinstance(found, list) or not all(isinstance(x, list) for x in found):
            return message
        as_numbers = [[int(x) if isinstance(x, bool) else x for x in pair] for pair in found]
        return {**message, "segments": as_numbers}


class AsciiReasons(Reads):
    """A reason that is not ASCII cannot be read."""

    name = "reasons-in-ascii"

    def read(self, message: Json) -> Json:
        reason = message.get("reason")
        return {} if isinstance(reason, str) and not reason.isascii() else message


class FewStaleEpochs(ReferencePort):
    """Of the epochs that are over four are known; older ones are taken for new."""

    name = "four-stale-epochs"
    performer = reading(
        reading(PERFORMER, Header, stale_epoch, lambda state, m: -4 < m.epoch - state.epoch < 0),
        Header,
        future_epoch,
        lambda state, m: m.epoch != state.epoch,
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    by_class("WS-EXCHANGE-7", ForgetsOldSlices),
    by_class("WS-EXCHANGE-7", ForgetsOldThanks),
    by_class("WS-EXCHANGE-10", SerialEpochs),
    by_class("WS-EXCHANGE-10", FewTakeovers),
    by_class("WS-EXCHANGE-10", FewStaleEpochs),
    by_class("WS-EXCHANGE-9", ShortLatents),
    by_class("WS-EXCHANGE-5", OneWordOfParts),
    by_class("WS-EXCHANGE-3", FormatsBySize),
    by_class("WS-EXCHANGE-1", HeadsByWidth),
    by_class("WS-EXCHANGE-7", HalfADigest),
    by_class("WS-EXCHANGE-9", EqualLatentsOnce),
    by_class("WS-EXCHANGE-10", FirstForAny),
    by_class("WS-EXCHANGE-2", AnySession),
    by_class("WS-EXCHANGE-11", SmallRing),
    by_class("WS-EXCHANGE-9", LaterInstead),
    by_class("WS-EXCHANGE-2", ShortNames),
    by_class("WS-EXCHANGE-2", AnyCase),
    by_class("WS-EXCHANGE-2", TrueTokens),
    by_class("WS-EXCHANGE-12", AsciiReasons),
)
