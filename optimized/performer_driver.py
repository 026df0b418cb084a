"""The performer's side of a session in two processes.

Source: PAPER §2.4; design §8, §9.
"""

from __future__ import annotations

from optimized import frames
from optimized.driver import Driver, Emit
from optimized.payloads import pack_unit, unpack_entries, unpack_unit
from optimized.slice_payload import payload_digest
from reference import kv_cache, performer
from reference.model import WanStreamer
from reference.performer import PerformerState
from reference.units import Latents
from spec import exchange
from spec.errors import ExchangeError
from spec.exchange_effects import (
    Append,
    Closed,
    Commit,
    Effect,
    Hold,
    Release,
    Reset,
    Solve,
    Solved,
    Timer,
)
from spec.exchange_message import Header, Message
from spec.exchange_message import Latents as LatentsMessage
from spec.exchange_performer import Performer
from spec.exchange_terms import Terms
from spec.session import SessionConfig
from spec.trace import Detail, Kind, Tracer


class PerformerDriver(Driver[Performer]):
    """Only the solver, over a cache it is sent (WS-STREAMING-2)."""

    def __init__(
        self,
        model: WanStreamer,
        config: SessionConfig,
        terms: Terms,
        incarnation: int,
        emit: Emit,
        tracer: Tracer | None,
    ) -> None:
        super().__init__(exchange.PERFORMER, exchange.performer(terms, incarnation), emit, tracer)
        self._model, self._config = model, config
        self._performer: PerformerState | None = None
        self._held: list[tuple[Header, bytes, bytes]] = []
        self._noise = b""
        self._latents = Latents(audio=None, video=None)
        self._kept: dict[int, bytes] = {}

    def start(self) -> None:
        """Say hello."""
        self.feed(Timer())

    def take_aside(self, frame: frames.Frame) -> None:
        """The question for the cache's digest."""
        if frame.channel != frames.ASK_DIGEST:
            raise ExchangeError("channel", frame.channel, f"{frames.EXCHANGE}, {frames.ASK_DIGEST}")
        assert self._performer is not None
        digest = kv_cache.digest(self._performer.cache, frame.unit)
        self.send(frames.DIGEST, frame.unit, digest.encode(), {})

    def payload_of(self, message: Message) -> bytes:
        """The bytes of solved latents; other messages have none."""
        return self._kept[message.unit] if isinstance(message, LatentsMessage) else b""

    def carry_out(self, effect: Effect) -> None:
        """Do what one effect says (WS-EXCHANGE-6)."""
        match effect:
            case Reset():
                self._performer = None
                self._held = []
                self._kept = {}
            case Hold(header):
                self._held.append((header, self._given, self._given_noise))
            case Append(epoch=epoch, unit=unit, digest=digest):
                header = self._append()
                detail: Detail = {
                    "epoch": epoch,
                    "kv_len_before": header.kv_len_before,
                    "kv_len_after": header.kv_len_after,
                    "digest": digest,
                }
                self.note(Kind.APPEND, unit, detail)
            case Solve(epoch=epoch, unit=unit):
                self._solve(epoch, unit)
            case Commit(unit=unit):
                self._commit(unit)
            case Release(unit=unit):
                self._kept.pop(unit, None)
            case Closed():
                self.closed = True
            case _:
                raise AssertionError(effect)

    def _append(self) -> Header:
        # Our thinker sends whole slices: one part with every layer and head.
        ((header, payload, self._noise),) = self._held
        self._held = []
        entries = unpack_entries(payload, header, self._config.preset.backbone.head_dim)
        self._performer = performer.receive(entries, self._performer)
        return header

    def _solve(self, epoch: int, unit: int) -> None:
        assert self._performer is not None
        noise = unpack_unit(self._noise, self._config, self._model.dtype)
        with self.span(Kind.SOLVE, unit):
            z = performer.solve(self._model, self._config, unit, noise, self._performer)
        self._latents = z
        self._kept[unit] = pack_unit(z, self._model.dtype)
        self.feed(Solved(epoch=epoch, unit=unit, digest=payload_digest(self._kept[unit])))

    def _commit(self, unit: int) -> None:
        """Overlapped: the performer commits its own response (WS-STREAMING-9)."""
        assert self._performer is not None
        with self.span(Kind.COMMIT, unit):
            self._performer = performer.commit(
                self._model, self._config, unit, self._latents, self._performer
            )
