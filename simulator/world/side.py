"""What both sides of a simulated session do: run an exchange machine, send, be timed, be judged.

The counterpart of the drivers of the real processes: the same machines, the same inputs in the same
order, the same trace events; time is virtual and a payload is its digest (WS-FAULTS-3).
Source: design §9, §13.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

import attrs

from simulator.network import Letter, Wire
from simulator.world.place import Place
from simulator.world.tampering import contradicts
from simulator.world.times import Pauses
from spec.errors import ExchangeError
from spec.exchange import step
from spec.exchange_effects import Corrupt, Drop, Effect, Fail, Input, Send, Timer
from spec.exchange_events import Event, Phase
from spec.exchange_machine import Machine, State
from spec.exchange_message import LatentsAck, LatentsNack, Message, SliceAck, SliceNack
from spec.trace import Detail, Kind
from spec.trace_queues import at_sending

S = TypeVar("S", bound=State)


OWN_FAULTS: Final = (ExchangeError, LookupError, StopIteration, AttributeError, AssertionError)
"""How a machine shows that it cannot go on with its own driver's work."""

_OPEN_PHASES: Final = (Phase.STREAMING, Phase.GAP)
_ANSWERED: Final = {Event.SLICE_AGAIN: SliceAck, Event.LATENTS_AGAIN: LatentsAck}


class Side(ABC, Generic[S]):
    """One side of a session (WS-FAULTS-3).

    Args:
        name: "thinker" or "performer".
        pauses: when its process stands still.
        skew_ppm: how much its clock runs slow; it times its resends by it.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        machine: Machine[S],
        state: S,
        pauses: Pauses,
        skew_ppm: int,
    ) -> None:
        self.name = name
        self.place = place
        self.state = state
        self.wire: Wire
        self.alive = True
        self.gone = False
        """Its process will not come back."""
        self._machine = machine
        self._queue = place.queue
        self._judge = place.judge
        self._pauses = pauses
        self._resend_ns = place.resend_ns + place.resend_ns * skew_ppm // 1_000_000
        self._heard_ns = 0
        self._cause: tuple[str, ...] = ()
        self._in_doubt = False
        self._useful = True

    @property
    def closed(self) -> bool:
        """The session is over on this side."""
        return self.state.phase is Phase.CLOSED

    # Subclasses.

    @abstractmethod
    def carry_out(self, effect: Effect) -> None:
        """Do what one effect says (WS-EXCHANGE-6)."""

    @abstractmethod
    def transfer_ns(self, message: Message) -> tuple[int, int]:
        """When the message leaves, and when it will have arrived, in ns."""

    @abstractmethod
    def check(self) -> None:
        """Judge the size of the state."""

    @property
    @abstractmethod
    def remembered(self) -> range:
        """Units whose slices (or latents) must still be known by their digests (WS-EXCHANGE-7)."""

    def takes(self, _letter: Letter) -> bool:
        """False for a letter that is left unread for now."""
        return True

    def on_send(self, message: Message) -> None:
        """Judge what is sent."""

    def on_timer(self) -> None:
        """The resend timer fired (WS-EXCHANGE-13)."""
        self._judge.timer(self.name)
        self.feed(Timer())

    # Messages.

    def arrive(self, letter: Letter) -> None:
        """A letter has come; a process that stands still takes it later, a dead one never."""
        if self.place.over or not self.alive:
            return
        if self._pauses and (later := self._pauses.awake(self._queue.now)) > self._queue.now:
            self._queue.schedule(later, self.arrive, letter)
            return
        self._useful = True
        if self.place.recorder is not None:
            self._cause = () if letter.stray else (letter.cause,)
            unit = getattr(letter.message, "unit", -1)
            detail: Detail = {"kind": type(letter.message).__name__}
            self._cause = (self.note(Kind.RECEIVE, unit, detail=detail),)
        if not self.takes(letter):
            return
        if (letter.stray or letter.tampered) and not isinstance(letter.message, Corrupt):
            self._take_wrong(letter, letter.message)
        else:
            self.feed(letter.message)
        if self._useful:
            self._heard_ns = self._queue.now

    def _take_wrong(self, letter: Letter, message: Message) -> None:
        """What is not for us, or wrong, changes nothing, or ends the session with the right blame
        (WS-FAULTS-6)."""
        before, remembered = self.state, self.remembered
        self._in_doubt = letter.tampered
        self.feed(message)
        self._in_doubt = False
        after = self.state
        if after.phase is Phase.FAILED:
            return
        if (
            letter.tampered
            and before.phase in _OPEN_PHASES
            and getattr(message, "epoch", -1) == before.epoch
            and contradicts(message, self.place.terms, remembered)
        ):
            raise self._judge.broken("refusal", f"excuses a wrong {type(message).__name__}")
        same = attrs.evolve(after, phase=before.phase) == before
        if letter.stray and after != before:
            raise self._judge.broken("isolation", f"moved by a {type(message).__name__}")
        if not same or after.phase not in (before.phase, Phase.GAP):
            raise self._judge.broken("refusal", f"takes a wrong {type(message).__name__}")

    def feed(self, given: Input) -> None:
        """Step the machine and carry out its effects in order (WS-EXCHANGE-6)."""
        try:
            self.state, effects = step(self._machine, self.state, given)
        except OWN_FAULTS as error:
            raise self._judge.broken("own-fault", f"{self.name}: {error!r}") from error
        self.check()
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                self._send(effect.message)  # type: ignore[union-attr]
            elif kind is Drop:
                self._dropped(effect.event, effects)  # type: ignore[union-attr]
            elif kind is Fail:
                self._failed(effect.reason)  # type: ignore[union-attr]
            else:
                self.carry_out(effect)

    def _send(self, message: Message) -> None:
        kind = type(message)
        if kind is SliceNack or kind is LatentsNack:
            self._judge.asked(self.name, message.epoch, message.unit)  # type: ignore[attr-defined]
            self.place.marks[f"sends {kind.__name__}"] += 1
        self.on_send(message)
        leaves, arrives = self.transfer_ns(message)
        cause = ""
        if self.place.recorder is not None:
            unit = getattr(message, "unit", -1)
            detail: Detail = {"kind": kind.__name__, **at_sending(message, self.state)}
            cause = self.place.note(
                self.name, Kind.SEND, unit, leaves, arrives - leaves, self._cause, detail
            )
        self.wire.send(Letter(message, cause), arrives)

    def _dropped(self, event: Event, effects: tuple[Effect, ...]) -> None:
        # What is dropped must not put the timer off: two sides whose messages the other one drops
        # would wait for each other for ever (WS-EXCHANGE-13).
        self._useful = False
        self.place.marks[event] += 1
        self.note(Kind.DROP, -1, detail={"event": event.value})
        answer = _ANSWERED.get(event) if self.state.phase in _OPEN_PHASES else None
        if answer is not None and not any(
            isinstance(e, Send) and isinstance(e.message, answer) for e in effects
        ):
            raise self._judge.broken("answers", f"no {answer.__name__} for a copy")

    def _failed(self, reason: str) -> None:
        if not self._in_doubt:
            raise self._judge.broken("blame", f"{self.name} fails: {reason}")
        self.place.marks[reason.split(" ", maxsplit=1)[0]] += 1
        # The session ends here: what it still owes is given up (WS-TRACE-10).
        self.note(Kind.DROP, -1, detail={"policy": "refused"})
        self.place.outcome, self.place.over = "refused", True

    # Time.

    def start_timer(self) -> None:
        """Resend by timer while the session is open (WS-EXCHANGE-13)."""
        self._queue.schedule(self._queue.now + self._resend_ns, self._on_timer, None)

    def _on_timer(self, _: None) -> None:
        if self.place.over or self.closed or self.gone:
            return
        now = self._queue.now
        due = max(self._heard_ns + self._resend_ns, self._pauses.awake(now))
        if not self.alive or now >= due:
            if self.alive:
                self._cause = ()
                self.on_timer()
            due = now + self._resend_ns
        if not self.closed:
            self._queue.schedule(due, self._on_timer, None)

    def note(self, kind: Kind, unit: int, dur_ns: int = 0, detail: Detail | None = None) -> str:
        """Trace an event of now; the next one names it as its cause."""
        if self.place.recorder is None:
            return ""
        name = self.place.note(self.name, kind, unit, self._queue.now, dur_ns, self._cause, detail)
        self._cause = (name,)
        return name
