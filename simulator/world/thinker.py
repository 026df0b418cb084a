"""The thinker's exchange in a simulated session; its stages are in `simulator.world.stages`.

Source: PAPER §2.4; design §8, §9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulator.faults import Fault, FaultKind
from simulator.link import Link
from simulator.network import Letter
from simulator.policies import Policy
from simulator.scenario import Scenario
from simulator.world.client import WorldClient
from simulator.world.digests import slice_parts, snapshot_parts
from simulator.world.machines import Machines
from simulator.world.place import Place
from simulator.world.side import Side
from simulator.world.stages import Exchanging
from simulator.world.times import Pauses
from spec.exchange import thinker
from spec.exchange_effects import (
    Closed,
    Commit,
    Decode,
    Effect,
    Export,
    Exported,
    Finish,
    Offered,
    PeerLost,
    Refuse,
    Release,
)
from spec.exchange_message import Header, Latents, Message, Open
from spec.exchange_terms import Part
from spec.exchange_thinker import Thinker
from spec.layout import PREFILL_UNIT
from spec.trace import Kind

NOTHING: Final = -2
"""No unit: no slice is being offered."""

KEPT_CAUSES: Final = 64


class WorldThinker(Side[Thinker], Exchanging):
    """The side that owns the session (WS-EXCHANGE-10, WS-FAULTS-3)."""

    def __init__(
        self,
        place: Place,
        machines: Machines,
        scenario: Scenario,
        policy: Policy,
        client: WorldClient,
        pauses: Pauses,
        skew_ppm: int,
        errors: Sequence[Fault],
    ) -> None:
        super().__init__("thinker", place, machines.thinker, thinker(place.terms), pauses, skew_ppm)
        self.stages = machines.stages(place, scenario, policy, client, self, pauses)
        self._client = client
        self._link: Link | None = scenario.link
        self._errors = errors
        self._offering, self._parts_sent = NOTHING, 0
        self._link_free_ns = 0
        self._rushing = False
        self._suspected_ns = 0
        self._brought_by: dict[int, str] = {}
        self.returned = 0

    def start(self) -> None:
        """Wait for the performer's hello and for user unit 0."""
        errors = {
            FaultKind.RUSH: self._arm,
            FaultKind.SUSPECT: self._suspect,
            FaultKind.THINKER_CRASH: self._crash,
        }
        for fault in self._errors:
            self._queue.schedule(fault.at, errors[fault.kind], None)
        self.start_timer()
        self.stages.start()

    # What the stages need.

    def offer(self, unit: int, cause: str) -> int:
        """Slice ``unit`` is made (WS-EXCHANGE-11)."""
        self._cause = (cause,)
        self._judge.payload_made(unit)
        self._offering, self._parts_sent = unit, 0
        self.feed(Offered(unit=unit, parts=self._parts(unit)))
        self._offering = NOTHING
        if self._rushing:
            self._rush(unit + 1)
        return self.place.times.stage("comm", unit) if self._parts_sent else 0

    def _parts(self, unit: int) -> tuple[Part, ...]:
        return slice_parts(self.place.shards, self.place.index, unit)

    def _rush(self, unit: int) -> None:
        """Offer a slice that the window has no room for: it is refused, and nothing is lost
        (WS-EXCHANGE-11)."""
        if unit - self.state.accepted > self.place.terms.window:
            self._rushing = False
            self.place.marks[FaultKind.RUSH] += 1
            refused = self.place.marks["offer-refused"]
            self.feed(Offered(unit=unit, parts=self._parts(unit)))
            if self.place.marks["offer-refused"] == refused:
                raise self._judge.broken("bounded", f"slice {unit} is taken beyond the window")

    def finish(self) -> None:
        """No unit follows (WS-EXCHANGE-12)."""
        self.feed(Finish())

    def latents_cause(self, unit: int) -> str:
        """The trace event that brought the latents of ``unit``."""
        return self._brought_by.get(unit, "")

    # Messages and effects.

    def takes(self, letter: Letter) -> bool:
        """Latents stay unread, and unacknowledged, while the client has too much to read."""
        undecoded = self.returned - self.stages.decoded
        if type(letter.message) is Latents and self._client.full(undecoded):
            self.place.marks["client-full"] += 1
            return False
        return True

    def carry_out(self, effect: Effect) -> None:
        """Do what one effect says (WS-EXCHANGE-6)."""
        match effect:
            case Decode(unit=unit):
                self._judge.took(effect, self._queue.now)
                self.returned = unit + 1
                if self.place.recorder is not None:
                    (self._brought_by[unit],) = self._cause
                    self._brought_by.pop(unit - KEPT_CAUSES, None)
                self.stages.wake()
            case Commit(unit=unit):
                self._judge.committed(unit)
            case Release(unit=unit):
                self._judge.payload_released(unit)
            case Export(epoch=epoch, unit=unit):
                self._export(epoch, unit)
            case Refuse():
                self.place.marks["offer-refused"] += 1
            case Closed():
                self.place.thinker_closed = True
                self.place.ended_ns = self._queue.now
            case _:
                raise AssertionError(effect)

    def _export(self, epoch: int, unit: int) -> None:
        """Reading a snapshot takes as long as sending a slice; the prefill is ready before it is
        asked for (WS-EXCHANGE-10)."""
        if epoch == 0:
            self._exported((epoch, unit))
            return
        self.place.marks["resync"] += 1
        reading_ns = self.place.times.stage("comm", max(unit, 0))
        end_ns = self._pauses.done(self._queue.now, reading_ns)
        self._queue.schedule(end_ns, self._exported, (epoch, unit))

    def _exported(self, snapshot: tuple[int, int]) -> None:
        if self.place.thinker_over:
            return
        epoch, unit = snapshot
        if epoch == self.state.epoch:
            self._judge.payload_made(unit)
        # The transport reads the cache; the stages go on.
        reader = f"{self.place.name}/transport"
        self.note(Kind.EXPORT, unit, detail={"epoch": epoch, "resource": reader})
        parts = snapshot_parts(self.place.shards, self.place.index, unit, epoch)
        self.feed(Exported(epoch=epoch, unit=unit, parts=parts))

    def on_send(self, message: Message) -> None:
        """What is sent is judged."""
        if isinstance(message, Header):
            self._judge.slice_sent(message)
        elif isinstance(message, Open):
            self._judge.opened(message)

    @property
    def remembered(self) -> range:
        """The newest window + 1 responses (WS-EXCHANGE-9)."""
        decoded = self._judge.decoded
        return range(max(0, decoded - self.place.terms.window), decoded + 1)

    def check(self) -> None:
        """The state stays small (WS-EXCHANGE-11)."""
        self._judge.thinker_bounded(self.state)

    def transfer_ns(self, message: Message) -> tuple[int, int]:
        """A slice just made leaves at once, part after part; what is resent queues for the link.

        The prefill goes over before the first unit and costs no more than its `Open`.
        """
        now = self._queue.now
        if not isinstance(message, Header):
            return now, now + self.place.control_ns
        if message.unit == PREFILL_UNIT:
            return now, now + self.place.control_ns
        comm_ns, shards = self._slice_ns(message), len(self.place.shards)
        if message.unit == self._offering:
            self._parts_sent += 1
            leaves = now + comm_ns * (self._parts_sent - 1) // shards
            return leaves, now + comm_ns * self._parts_sent // shards
        leaves = max(now, self._link_free_ns)
        self._link_free_ns = leaves + comm_ns // shards
        return leaves, self._link_free_ns

    def _slice_ns(self, header: Header) -> int:
        """A snapshot costs its bytes on a link; a stage time is the same for any message."""
        if self._link is not None and header.kv_len_before == 0:
            return self._link.model(header.byte_count).typical_ns
        return self.place.times.stage("comm", header.unit)

    # Time.

    def on_timer(self) -> None:
        """After a long silence the performer is taken for lost (WS-EXCHANGE-10)."""
        now = self._queue.now
        lost_after_ns = self.place.lost_after_ns
        silent_ns = now - max(self._heard_ns, self._suspected_ns)
        if lost_after_ns is not None and silent_ns >= lost_after_ns:
            self._suspected_ns = now
            self.place.marks["performer-suspected"] += 1
            self.feed(PeerLost())
        if not self.closed:
            super().on_timer()

    def _suspect(self, _: None) -> None:
        """A false alarm: the performer is well (WS-EXCHANGE-10)."""
        if not (self.place.thinker_over or self.closed):
            self.place.marks[FaultKind.SUSPECT] += 1
            self.feed(PeerLost())

    def _crash(self, _: None) -> None:
        """The process is gone, and with its cache the session: nobody else has what a new thinker
        would need (WS-EXCHANGE-10, WS-FAULTS-4)."""
        if self.place.thinker_over or (self.closed and self.stages.idle):
            return
        self.place.marks[FaultKind.THINKER_CRASH] += 1
        self._cause = ()
        self.note(Kind.FAULT, -1, detail={"kind": FaultKind.THINKER_CRASH.value})
        # What the session still owes is given up (WS-TRACE-10).
        self.note(Kind.DROP, -1, detail={"policy": "thinker-lost"})
        self.alive, self.gone, self.place.thinker_lost = False, True, True
        self.place.ended_ns = self._queue.now
        self._judge.thinker_lost()

    def _arm(self, _: None) -> None:
        self._rushing = True
