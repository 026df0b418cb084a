"""The thinker's side of a session in two processes.

Source: PAPER §2.4; design §8, §9.
"""

from __future__ import annotations

from collections import deque

import torch

from optimized import frames
from optimized.driver import Driver, Emit
from optimized.payloads import pack_entries, pack_unit, unpack_unit
from optimized.slice_payload import payload_digest
from reference import kv_cache, thinker
from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.prefill import NOBODY, IdentitySignals
from reference.thinker import Language
from reference.units import AgentUnit, Latents, UserUnit
from spec import exchange
from spec.errors import ExchangeError
from spec.exchange_effects import (
    Closed,
    Commit,
    Decode,
    Effect,
    Export,
    Exported,
    Finish,
    Offered,
    Release,
)
from spec.exchange_message import Header, Message
from spec.exchange_terms import Part, Terms, whole
from spec.exchange_thinker import Thinker
from spec.layout import Segment
from spec.session import SessionConfig
from spec.trace import Kind, Tracer
from spec.trace_queues import length_of


class ThinkerDriver(Driver[Thinker]):
    """Encoders, the language pass and decoders, and the slices they make (WS-STREAMING-2).

    ``ready`` holds decoded responses, in order, for the caller to take.
    """

    def __init__(
        self,
        model: WanStreamer,
        config: SessionConfig,
        terms: Terms,
        emit: Emit,
        tracer: Tracer | None,
        identity: IdentitySignals = NOBODY,
    ) -> None:
        super().__init__(exchange.THINKER, exchange.thinker(terms), emit, tracer)
        self._model, self._config, self._terms = model, config, terms
        _, self._thinker = thinker.prefill(model, config, identity)
        self._slices: dict[int, bytes] = {}
        self._noise: dict[int, bytes] = {}
        self._snapshot = b""
        self._languages: deque[Language] = deque()
        self._fed_back: list[KVEntries] = []
        self._latents = Latents(audio=None, video=None)
        self.ready: list[AgentUnit] = []
        self.performer_digest: str | None = None

    @property
    def decoded(self) -> int:
        """The newest unit whose response is decoded; -1 before the first."""
        return self._state.accepted

    @property
    def acknowledged(self) -> int:
        """The newest slice that is known to be in the performer's cache."""
        return self._state.acked

    def think(
        self,
        user: UserUnit,
        noise: Latents,
        agent_text: tuple[int, ...] | None = None,
        uniform: torch.Tensor | None = None,
    ) -> None:
        """Observe u_k, run the language pass, offer slice k (WS-STREAMING-8, WS-STREAMING-9).

        The noise of the unit goes with the slice that it will be solved from; ``uniform`` is a
        number in [0, 1) for each text slot, if the session samples (WS-TEXT-3).
        """
        k, config = user.unit, self._config
        # Units that are observed and not yet decoded, this one too.
        in_work = length_of(k - self.decoded, self._terms.window + 1)
        with self.span(Kind.OBSERVE, k, in_work):
            observation, state = thinker.observe(self._model, config, user, self._thinker)
        with self.span(Kind.UPDATE, k):
            language, entries, self._thinker = thinker.update(
                self._model, config, user, observation, state, agent_text, uniform
            )
        self._languages.append(language)
        self._noise[k] = pack_unit(noise, self._model.dtype)
        payload = pack_entries(kv_cache.concat([*self._fed_back, entries]))
        self._fed_back = []
        self._slices[k] = payload
        self.feed(Offered(unit=k, parts=self._whole(payload)))

    def finish(self) -> None:
        """No unit follows (WS-EXCHANGE-12)."""
        self.feed(Finish())

    def ask_digest(self, up_to_unit: int) -> None:
        """Ask for the digest of the performer's cache; it comes as `performer_digest`."""
        self.performer_digest = None
        self.send(frames.ASK_DIGEST, up_to_unit, b"", {})

    def digest(self, up_to_unit: int) -> str:
        """Digest of the thinker's own cache (WS-STREAMING-6)."""
        return kv_cache.digest(self._thinker.cache, up_to_unit)

    def take_aside(self, frame: frames.Frame) -> None:
        """The performer's answer to `ask_digest`."""
        if frame.channel != frames.DIGEST:
            raise ExchangeError("channel", frame.channel, f"{frames.EXCHANGE}, {frames.DIGEST}")
        self.performer_digest = frame.body.decode()

    def payload_of(self, message: Message) -> bytes:
        """The bytes of a slice or of a snapshot; other messages have none."""
        if not isinstance(message, Header):
            return b""
        return self._snapshot if begins_epoch(message) else self._slices[message.unit]

    def noise_of(self, message: Message) -> bytes:
        """The noise of the unit that a slice is for; a snapshot is for none (WS-FLOW-7)."""
        if not isinstance(message, Header) or begins_epoch(message):
            return b""
        return self._noise[message.unit]

    def carry_out(self, effect: Effect) -> None:
        """Do what one effect says (WS-EXCHANGE-6)."""
        match effect:
            case Export(epoch=epoch, unit=unit):
                self._snapshot = pack_entries(self._snapshot_entries(unit))
                parts = self._whole(self._snapshot)
                self.feed(Exported(epoch=epoch, unit=unit, parts=parts))
            case Decode(unit=unit):
                self._decode(unit)
            case Commit(unit=unit):
                self._commit(unit)
            case Release(unit=unit):
                self._slices.pop(unit, None)
                self._noise.pop(unit, None)
            case Closed():
                self.closed = True
            case _:
                # The engine offers a slice only when the window has room, so nothing is refused.
                raise AssertionError(effect)

    def _decode(self, unit: int) -> None:
        self._latents = unpack_unit(self._given, self._config, self._model.dtype)
        with self.span(Kind.DECODE, unit):
            audio, video, self._thinker = thinker.decode(self._model, self._latents, self._thinker)
        language = self._languages.popleft()
        self.ready.append(
            AgentUnit(
                unit=unit,
                text=language.text,
                logits=language.logits,
                latents=self._latents,
                audio=audio,
                video=video,
            )
        )
        # What the caller has not taken is at most what was in work.
        self.note(Kind.EMIT, unit, length_of(len(self.ready), self._terms.window + 1))

    def _commit(self, unit: int) -> None:
        with self.span(Kind.COMMIT, unit):
            entries, self._thinker = thinker.commit(
                self._model, self._config, unit, self._latents, self._thinker
            )
        if self._config.schedule == "sequential":
            # Slice k + 1 begins with Z_k (WS-STREAMING-8).
            self._fed_back = [entries]

    def _snapshot_entries(self, unit: int) -> KVEntries:
        """The cache up to slice ``unit``, by segment, unit, slot (WS-EXCHANGE-10).

        In a sequential session slice ``unit`` holds Z of the unit before, so Z_unit is left out.
        """
        table = self._thinker.cache.table
        newest_response = unit - 1 if self._config.schedule == "sequential" else unit
        newest = torch.where(table.segment == Segment.Z, newest_response, unit)
        index = torch.nonzero(table.unit <= newest).squeeze(-1)
        part = kv_cache.take(self._thinker.cache, index)
        order = kv_cache.canonical_order(part.table)
        by_segment = torch.argsort(part.table.segment[order], stable=True)
        return kv_cache.take(part, order[by_segment])

    def _whole(self, payload: bytes) -> tuple[Part, ...]:
        return whole(self._terms, payload_digest(payload))


def begins_epoch(header: Header) -> bool:
    """Only the first slice of an epoch, the snapshot, starts an empty cache (WS-EXCHANGE-10)."""
    return header.kv_len_before == 0
