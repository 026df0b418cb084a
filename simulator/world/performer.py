"""The performer of a simulated session: appends slices, solves one response at a time.

Source: PAPER §2.4; design §8, §9, §10. When a solve may begin is that of `simulator.timing`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from simulator.faults import Fault
from simulator.policies import ALL, FULL
from simulator.world.digests import LATENTS, digest
from simulator.world.place import Place
from simulator.world.side import Side
from simulator.world.times import Pauses
from spec.exchange import performer
from spec.exchange_effects import (
    Append,
    Closed,
    Commit,
    Effect,
    Hold,
    PeerLost,
    Release,
    Reset,
    Solve,
    Solved,
    Timer,
)
from spec.exchange_machine import Machine
from spec.exchange_message import Latents, Message
from spec.exchange_performer import Performer
from spec.trace import Kind, Value

DEFAULT_WINDOW: Final = 2
"""What a trace that states no window stands for (WS-TRACE-11)."""


Work = tuple[int, int, int, tuple[str, ...]]
"""A solve that has begun: incarnation, epoch, unit, causes."""


class WorldPerformer(Side[Performer]):
    """Only the solver, over a cache it is sent (WS-STREAMING-2, WS-FAULTS-3).

    A solve that is under way when its epoch ends is finished in vain; one that the process does
    not survive is gone.
    """

    def __init__(
        self,
        place: Place,
        machine: Machine[Performer],
        pauses: Pauses,
        skew_ppm: int,
        crashes: Sequence[Fault],
    ) -> None:
        state = performer(place.terms, 0)
        super().__init__("performer", place, machine, state, pauses, skew_ppm)
        self._crashes = crashes
        self._busy = False
        self._waiting: deque[tuple[int, int, tuple[str, ...]]] = deque()
        self._new_latents = False
        self._link_free_ns = 0
        self._down_until_ns = 0

    def start(self) -> None:
        """Say hello, and again by timer (WS-EXCHANGE-10)."""
        for fault in self._crashes:
            self._queue.schedule(fault.at, self._crash, fault)
        self.feed(Timer())
        self.start_timer()

    # Crashes.

    def _crash(self, fault: Fault) -> None:
        """The process is gone, with its cache, its solve and its timer; it is started again after
        ``fault.amount`` ns."""
        if self.place.over or self.closed:
            return
        self.place.marks[fault.kind] += 1
        self._cause = ()
        self.note(Kind.FAULT, -1, detail={"kind": fault.kind.value, "down_ns": fault.amount})
        self.alive = False
        self._waiting.clear()
        back_at = self._queue.now + fault.amount
        self._down_until_ns = max(self._down_until_ns, back_at)
        self._queue.schedule(back_at, self._restart, None)

    def _restart(self, _: None) -> None:
        if self.place.over or self._queue.now < self._down_until_ns:
            return
        self.state = performer(self.place.terms, self.state.incarnation + 1)
        self.alive, self._busy = True, False
        self._judge.restarted()
        self._cause = ()
        self.feed(Timer())

    # Effects.

    def carry_out(self, effect: Effect) -> None:
        """Do what one effect says (WS-EXCHANGE-6)."""
        match effect:
            case Hold(header=header):
                self._judge.held(header)
            case Append():
                self._append(effect)
            case Solve(epoch=epoch, unit=unit):
                self._judge.solves(effect)
                self._waiting.append((epoch, unit, self._cause))
                if not self._busy:
                    self._begin()
            case Commit(unit=unit):
                if self.place.terms.schedule == "sequential":
                    raise self._judge.broken("latents", f"a sequential performer commits {unit}")
            case Reset(epoch=epoch):
                self._judge.reset(epoch)
                self._waiting.clear()
            case Closed():
                self.place.ended_ns = self._queue.now
            case Release():
                pass
            case _:
                raise AssertionError(effect)

    def _append(self, effect: Append) -> None:
        before = self._judge.kv_len
        self._judge.appended(effect)
        if self.place.recorder is not None:
            detail: dict[str, Value] = {
                "epoch": effect.epoch,
                "kv_len_before": before,
                "kv_len_after": effect.kv_len,
                "digest": effect.digest,
            }
            if self.place.terms.window > DEFAULT_WINDOW:
                detail["window"] = self.place.terms.window
            self.note(Kind.APPEND, effect.unit, detail=detail)

    def on_timer(self) -> None:
        """Without a thinker there is nothing to wait for (WS-EXCHANGE-12)."""
        if self.place.thinker_closed or self.place.thinker_lost:
            self._judge.told_of_loss()
            self.feed(PeerLost())
        else:
            super().on_timer()

    @property
    def remembered(self) -> range:
        """The newest window + 1 slices of the epoch (WS-EXCHANGE-7)."""
        return self._judge.recent_slices

    def check(self) -> None:
        """The state stays small (WS-EXCHANGE-11)."""
        self._judge.performer_bounded(self.state)

    # Solving.

    def _begin(self) -> None:
        epoch, unit, cause = self._waiting.popleft()
        now = self._queue.now
        self._busy = True
        solve_ns = self.place.times.stage("solve", unit)
        if self.place.efforts:
            solve_ns = solve_ns * self.place.efforts.get(unit, FULL).solve_ppm // ALL
        end = self._pauses.done(now, solve_ns)
        if self.place.recorder is not None:
            # A crash cuts it short.
            over = min([end, *(fault.at for fault in self._crashes if fault.at >= now)])
            cause = (self.place.note(self.name, Kind.SOLVE, unit, now, over - now, cause),)
        self.finish_at(end, (self.state.incarnation, epoch, unit, cause))

    def finish_at(self, end_ns: int, work: Work) -> None:
        """The solve that has begun is over at ``end_ns``."""
        self._queue.schedule(end_ns, self._solved, work)

    def _solved(self, work: Work) -> None:
        incarnation, epoch, unit, cause = work
        if self.place.over or not self.alive or incarnation != self.state.incarnation:
            return
        self._cause = cause
        self._judge.solved(unit, self._queue.now)
        self._new_latents = True
        value = digest(LATENTS, self.place.index, unit)
        before = self.state.solved
        self.feed(Solved(epoch=epoch, unit=unit, digest=value))
        self._new_latents = False
        if self.state.solved == before:
            self._returned(incarnation)
        else:
            back_ns = self.place.times.stage("back", unit)
            end = self._pauses.done(self._queue.now, back_ns)
            self._queue.schedule(end, self._returned, incarnation)

    def _returned(self, incarnation: int) -> None:
        if self.alive and incarnation == self.state.incarnation:
            self._busy = False
            if self._waiting and not self.place.over:
                self._begin()

    def transfer_ns(self, message: Message) -> tuple[int, int]:
        """Latents just solved leave at once; resent ones one after the other."""
        now = self._queue.now
        if not isinstance(message, Latents):
            return now, now + self.place.control_ns
        back_ns = self.place.times.stage("back", message.unit)
        if self._new_latents:
            return now, now + back_ns
        leaves = max(now, self._link_free_ns)
        self._link_free_ns = leaves + back_ns
        return leaves, self._link_free_ns
