"""What both drivers do: run an exchange machine, frame its messages, trace.

A driver takes frames and gives frames; it knows nothing of processes or sockets, so a test can put
anything between two drivers. The rules of the exchange are in `spec.exchange` alone.
Source: design §8, §9, §13.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from optimized import frames
from optimized.wire import decode, encode
from spec import trace_queues
from spec.errors import ExchangeError
from spec.exchange import step
from spec.exchange_effects import Corrupt, Drop, Effect, Fail, Input, Send
from spec.exchange_machine import Machine, State
from spec.exchange_message import Message
from spec.trace import Detail, Kind, Tracer

S = TypeVar("S", bound=State)

Emit = Callable[[bytes], None]


class Driver(ABC, Generic[S]):
    """One side of a session (WS-STREAMING-2).

    A subclass carries out the effects of its machine. ``emit`` is called with each frame as soon
    as it is made; ``closed`` is true once the session is over on this side.
    """

    def __init__(self, machine: Machine[S], state: S, emit: Emit, tracer: Tracer | None) -> None:
        self._machine = machine
        self._state = state
        self._emit = emit
        self._tracer = tracer
        self._cause: tuple[str, ...] = ()
        self._given = b""
        self._given_noise = b""
        self.closed = False

    @abstractmethod
    def carry_out(self, effect: Effect) -> None:
        """Do what one effect of the machine says (WS-EXCHANGE-6)."""

    @abstractmethod
    def payload_of(self, message: Message) -> bytes:
        """The payload that goes with a message; empty for most."""

    def noise_of(self, _message: Message) -> bytes:
        """The noise that goes with a message; only the thinker sends any (WS-FLOW-7)."""
        return b""

    def receive(self, data: bytes) -> None:
        """Take one frame; its consequences are carried out before this returns.

        Raises:
            ExchangeError: the session cannot go on; it says whose fault that is.
        """
        try:
            frame = frames.decode(data)
        except ExchangeError:
            self.feed(Corrupt())
            return
        self._cause = (frame.cause,) if frame.cause else ()
        self.note(Kind.RECEIVE, frame.unit, {"channel": frame.channel, "bytes": len(frame.body)})
        if frame.channel == frames.EXCHANGE:
            self._given_noise = frame.noise
            self._take_message(frame.body)
        else:
            self.take_aside(frame)

    @abstractmethod
    def take_aside(self, frame: frames.Frame) -> None:
        """Act on a frame that is not of the exchange protocol."""

    def _take_message(self, body: bytes) -> None:
        try:
            message, self._given = decode(body)
        except ExchangeError:
            self.feed(Corrupt())
        else:
            self.feed(message)

    def feed(self, given: Input) -> None:
        """Step the machine and carry out its effects in order (WS-EXCHANGE-6)."""
        self._state, effects = step(self._machine, self._state, given)
        for effect in effects:
            match effect:
                case Fail():
                    raise effect.error()
                case Send(message):
                    unit = getattr(message, "unit", -1)
                    body = encode(message, self.payload_of(message))
                    queued = trace_queues.at_sending(message, self._state)
                    detail: Detail = {"kind": type(message).__name__, **queued}
                    self.send(frames.EXCHANGE, unit, body, detail, self.noise_of(message))
                case Drop(event):
                    self.note(Kind.DROP, -1, {"event": event})
                case _:
                    self.carry_out(effect)

    def send(
        self, channel: str, unit: int, body: bytes, detail: Detail, noise: bytes = b""
    ) -> None:
        """Send one frame."""
        name = self.note(Kind.SEND, unit, {"channel": channel, "bytes": len(body), **detail})
        frame = frames.Frame(channel=channel, cause=name, unit=unit, body=body, noise=noise)
        self._emit(frames.encode(frame))

    def note(self, kind: Kind, unit: int, detail: Detail | None = None) -> str:
        """Trace an instant; the next event names it as its cause. Empty without a tracer."""
        return self._record(kind, unit, time.monotonic_ns(), 0, detail)

    @contextlib.contextmanager
    def span(self, kind: Kind, unit: int, detail: Detail | None = None) -> Iterator[None]:
        """Trace what happens inside as one busy span (WS-TRACE-1)."""
        start = time.monotonic_ns()
        yield
        self._record(kind, unit, start, time.monotonic_ns() - start, detail)

    def _record(self, kind: Kind, unit: int, t_ns: int, dur_ns: int, detail: Detail | None) -> str:
        if self._tracer is None:
            return ""
        name = self._tracer.record(kind, unit, t_ns, dur_ns, cause=self._cause, detail=detail)
        self._cause = (name,)
        return name
