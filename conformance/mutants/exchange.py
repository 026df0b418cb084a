"""Ports that take KV slices which they must not take, or fail over one that is harmless."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from conformance.mutants.patching import Mutant, by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import Json
from simulator.seeded_defects import SEEDED_DEFECTS
from spec import exchange, exchange_machine, exchange_performer
from spec.exchange_events import Action, Event, Phase
from spec.exchange_machine import Machine
from spec.exchange_performer import Performer
from spec.exchange_thinker import Thinker

STREAMING = (Phase.STREAMING, Phase.GAP)
APPENDS = (Action.HOLD, Action.APPEND, Action.SEND_ACK)


def _mutant(
    name: str,
    clause: str,
    description: str,
    performer: Machine[Performer] = exchange.PERFORMER,
    thinker: Machine[Thinker] = exchange.THINKER,
) -> Mutant:
    def factory() -> ReferencePort:
        port = ReferencePort()
        port.name, port.performer, port.thinker = name, performer, thinker
        return port

    return Mutant(name=name, clause=clause, description=description, factory=factory)


def answering(event: Event, *actions: Action) -> Machine[Performer]:
    """The performer, with other actions for one event while streaming."""
    rows = {(phase, event): (Phase.STREAMING, actions) for phase in STREAMING}
    return attrs.evolve(exchange.PERFORMER, transitions={**exchange.PERFORMER.transitions, **rows})


def without_row(event: Event) -> Machine[Performer]:
    """The performer, to which one event is a protocol error."""
    kept = {key: row for key, row in exchange.PERFORMER.transitions.items() if key[1] is not event}
    return attrs.evolve(exchange.PERFORMER, transitions=kept)


def blind_to(guard: Callable[..., Any]) -> Machine[Performer]:
    """The performer without one of its guards."""
    guards = {
        kind: tuple(row for row in rows if row[0] is not guard)
        for kind, rows in exchange.PERFORMER.guards.items()
    }
    return attrs.evolve(exchange.PERFORMER, guards=guards)


class Trusting(ReferencePort):
    """Payloads are appended without a look at their digest."""

    name = "corrupt-payload-accepted"

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        def trusted(entry: Json) -> Json:
            if "arrive" not in entry:
                return entry
            return {"arrive": {**entry["arrive"], "payload_sha256": None}}

        return super().exchange([trusted(entry) for entry in script])


class Reads(ReferencePort):
    """A port that reads messages otherwise than they are."""

    @abstractmethod
    def read(self, message: Json) -> Json:
        """What it takes ``message`` for."""

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        def taken(entry: Json) -> Json:
            letter = entry.get("arrive")
            if letter is None or not isinstance(letter["message"], dict):
                return entry
            return {"arrive": {**letter, "message": self.read(letter["message"])}}

        return super().exchange([taken(entry) for entry in script])


class Narrow(Reads):
    """Integers of messages are cut to 32 bits."""

    name = "exchange-integers-of-32-bits"

    def read(self, message: Json) -> Json:
        return {
            key: (x + 2**31) % 2**32 - 2**31 if type(x) is int else x for key, x in message.items()
        }


class UnitsOfAByte(ReferencePort):
    """Units of the exchange are counted in a byte."""

    name = "exchange-units-in-a-byte"

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        known = [entry for entry in script if self._unit(entry) < 255]
        replies = super().exchange(known)
        return [*replies, *[replies[-1]] * (len(script) - len(known))]

    def _unit(self, entry: Json) -> int:
        ((_, data),) = entry.items()
        unit = data.get("message", data).get("unit", 0) if isinstance(data, dict) else 0
        return unit if type(unit) is int else 0


class TruthIsOne(Reads):
    """True and false pass for one and zero."""

    name = "exchange-true-is-one"

    def read(self, message: Json) -> Json:
        return {key: int(x) if isinstance(x, bool) else x for key, x in message.items()}


class MoreKeys(Reads):
    """Keys that a message should not have are overlooked."""

    name = "exchange-more-keys-overlooked"

    def read(self, message: Json) -> Json:
        return {key: x for key, x in message.items() if key != "more"}


class TrimsNames(Reads):
    """Blanks around a session's name are cut off."""

    name = "exchange-names-trimmed"

    def read(self, message: Json) -> Json:
        name = message.get("session")
        return {**message, "session": name.strip()} if isinstance(name, str) else message


class AnyCase(ReferencePort):
    """Names of sessions are compared in small letters."""

    name = "exchange-names-in-any-case"

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        own = script[0]["begin"]["terms"]["session"]

        def known(entry: Json) -> Json:
            message = entry["arrive"]["message"] if "arrive" in entry else {}
            name = message.get("session") if isinstance(message, dict) else None
            if not isinstance(name, str) or name.lower() != own.lower():
                return entry
            return {"arrive": {**entry["arrive"], "message": {**message, "session": own}}}

        return super().exchange([known(entry) for entry in script])


def _seeded(name: str) -> Mutant:
    """One of the defects that the simulator seeds; its name begins with its clause."""
    machines, _ = SEEDED_DEFECTS[name]
    clause, _, description = name.partition(" ")
    slug = f"{clause.removeprefix('WS-').lower()}-{description.replace(' ', '-')}"
    return _mutant(slug, clause, description, machines.performer, machines.thinker)


MUTANTS = (
    _mutant(
        "duplicate-appended", "WS-EXCHANGE-7", "a slice that came twice is in the cache twice",
        answering(Event.SLICE_AGAIN, *APPENDS),
    ),
    _mutant(
        "conflict-ignored", "WS-EXCHANGE-7", "another slice for the same unit is acknowledged",
        answering(Event.SLICE_CONFLICT, Action.DROP, Action.SEND_ACK),
    ),
    _mutant(
        "length-not-checked", "WS-EXCHANGE-7", "kv_len_before is not compared with the cache",
        blind_to(exchange_performer.miscounted),
    ),
    _mutant(
        "gap-accepted", "WS-EXCHANGE-8", "a slice is appended although one before it is missing",
        answering(Event.SLICE_GAP, *APPENDS),
    ),
    _mutant(
        "gap-not-reported", "WS-EXCHANGE-8", "a gap is dropped without asking again",
        answering(Event.SLICE_GAP, Action.DROP),
    ),
    _mutant(
        "stale-epoch-accepted", "WS-EXCHANGE-10", "slices of an epoch that is over are appended",
        blind_to(exchange_machine.stale_epoch),
    ),
    _mutant(
        "missing-layer-accepted", "WS-EXCHANGE-5", "a slice is complete with a layer missing",
        blind_to(exchange_performer.incomplete),
    ),
    _mutant(
        "all-ranks-one-key", "WS-EXCHANGE-2", "slices of another session are appended",
        blind_to(exchange_machine.other_session),
    ),
    _mutant(
        "misfit-accepted", "WS-EXCHANGE-3", "a header of another dtype is believed",
        blind_to(exchange_performer.slice_misfit),
    ),
    _mutant(
        "late-ack-fatal", "WS-EXCHANGE-9", "an acknowledgement that comes again ends the session",
        without_row(Event.LATENTS_ACK_LATE),
    ),
    _mutant(
        "window-ignored", "WS-EXCHANGE-11", "slices are taken however far ahead they are",
        blind_to(exchange_performer.beyond_window),
    ),
    by_class("WS-EXCHANGE-8", Trusting),
    by_class("WS-EXCHANGE-2", Narrow),
    by_class("WS-EXCHANGE-9", UnitsOfAByte),
    by_class("WS-EXCHANGE-2", TruthIsOne),
    by_class("WS-EXCHANGE-2", MoreKeys),
    by_class("WS-EXCHANGE-2", TrimsNames),
    by_class("WS-EXCHANGE-2", AnyCase),
    *map(_seeded, SEEDED_DEFECTS),
)  # fmt: skip
