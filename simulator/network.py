"""One direction of the link between thinker and performer, with the faults of its messages.

The sender says when a message would arrive; the schedule says what becomes of it. Nothing here
draws a random number, so a run is a function of its schedule (WS-FAULTS-3).
Source: design §13 (loss, duplication, reordering, clogging, partition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from simulator.events import EventQueue
from simulator.faults import MESSAGE_KINDS, Fault, FaultKind
from simulator.world.tampering import OTHER_DIGEST, needs_its_payload, tampered
from spec.exchange_effects import Corrupt
from spec.exchange_message import Message

CORRUPT: Final = Corrupt()

TAMPERED_LATE_NS: Final = 2_000_000
"""A copy with another digest comes after the original, with which it is compared."""


class Letter(NamedTuple):
    """What is under way: a message, or a damaged one, and the trace event that sent it.

    ``stray``: it belongs to another session. ``tampered``: a broken peer made it.
    """

    message: Message | Corrupt
    cause: str = ""
    stray: bool = False
    tampered: bool = False


class Wire:
    """One direction of one session (WS-FAULTS-4).

    ``deliver`` is called with each letter when it arrives, ``mislead`` with one that goes to
    another session. Every letter is delivered or lost: ``sent`` + ``copied`` = ``delivered`` +
    ``lost`` once nothing is under way.

    Args:
        faults: those of this direction and session.
        off_ns: from this instant on nothing goes wrong (WS-FAULTS-7).
        known_up_to: the newest unit that the receiver has (`tampered`).
        struck: called with the kind of each fault that strikes.
    """

    def __init__(
        self,
        queue: EventQueue[Any],
        faults: Iterable[Fault],
        off_ns: int,
        *,
        deliver: Callable[[Letter], None],
        mislead: Callable[[Letter], None],
        known_up_to: Callable[[], int],
        struck: Callable[[FaultKind], None],
    ) -> None:
        self._queue = queue
        self._off_ns = off_ns
        self._deliver, self._mislead = deliver, mislead
        self._known_up_to, self._struck = known_up_to, struck
        self._of_message: dict[int, list[Fault]] = {}
        self._windows: list[Fault] = []
        for fault in faults:
            if fault.kind in MESSAGE_KINDS:
                self._of_message.setdefault(fault.at, []).append(fault)
            else:
                self._windows.append(fault)
        self.sent = self.copied = self.delivered = self.lost = 0

    def send(self, letter: Letter, at_ns: int) -> None:
        """Put a letter on its way, to arrive at ``at_ns`` unless something goes wrong."""
        number = self.sent
        self.sent = number + 1
        if self._queue.now < self._off_ns:
            if number in self._of_message:
                for fault in self._of_message[number]:
                    letter, at_ns = self._strike(fault, letter, at_ns)
            if self._windows:
                at_ns = self._through_windows(at_ns)
        if at_ns < 0:
            self.lost += 1
        else:
            self._queue.schedule(at_ns, self._arrive, letter)

    def _arrive(self, letter: Letter) -> None:
        self.delivered += 1
        message = letter.message
        if (
            letter.tampered
            and not isinstance(message, Corrupt)
            and needs_its_payload(message, self._known_up_to())
        ):
            letter = letter._replace(message=CORRUPT, tampered=False)
        self._deliver(letter)

    def _strike(self, fault: Fault, letter: Letter, at_ns: int) -> tuple[Letter, int]:
        """What one fault makes of a letter and its arrival; -1 if it never arrives."""
        if at_ns < 0:
            return letter, at_ns
        self._struck(fault.kind)
        match fault.kind:
            case FaultKind.DROP:
                return letter, -1
            case FaultKind.CORRUPT:
                return letter._replace(message=CORRUPT), at_ns
            case FaultKind.LATE | FaultKind.REORDER:
                return letter, at_ns + fault.amount
            case FaultKind.DUPLICATE:
                self._copy(letter, at_ns + fault.amount)
            case FaultKind.STRAY:
                self._queue.schedule(at_ns + fault.amount, self._mislead, letter)
            case FaultKind.TAMPER:
                self._tamper(fault.amount, letter, at_ns)
        return letter, at_ns

    def _copy(self, letter: Letter, at_ns: int) -> None:
        self.copied += 1
        self._queue.schedule(at_ns, self._arrive, letter)

    def _tamper(self, variant: int, letter: Letter, at_ns: int) -> None:
        """Wrong copies come before and after the true one, for what each of them can show."""
        if isinstance(letter.message, Corrupt):
            return
        wrong = tampered(letter.message, variant)
        if wrong is not None:
            late_ns = TAMPERED_LATE_NS * (variant % 4 == OTHER_DIGEST)
            self._copy(letter._replace(message=wrong, tampered=True), at_ns + late_ns)

    def _through_windows(self, at_ns: int) -> int:
        now = self._queue.now
        for fault in self._windows:
            end = min(fault.at + fault.amount, self._off_ns)
            if at_ns >= 0 and fault.at <= now < end:
                self._struck(fault.kind)
                at_ns = -1 if fault.kind is FaultKind.PARTITION else max(at_ns, end)
        return at_ns
