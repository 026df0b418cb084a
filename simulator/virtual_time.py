"""An asyncio loop in virtual time: the glue of real code, run without waiting.

Coroutines sleep, wait and time out as ever, but the unit is whole nanoseconds and nobody waits:
when nothing is ready, the clock jumps to the next timer. Only what a coroutine awaits takes time,
so a run is the same every time. Source: CHOICE (design §13).
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` is virtual, in ns (WS-SIMULATION-12).

    ``await asyncio.sleep(5_000_000)`` takes 5 ms of it. Delays are integers; a float is refused,
    because it would be seconds.
    """

    def __init__(self) -> None:
        self._now_ns = 0
        self._timers: list[int] = []
        super().__init__(_Jumping(self))
        # What is due less than this after now is run; with whole ns exactly what is due now.
        self._clock_resolution = 1

    def time(self) -> int:
        """Virtual time since the loop was made, in ns."""
        return self._now_ns

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call at ``when``, in ns.

        Raises:
            TypeError: not an integer: it would be seconds.
        """
        if not isinstance(when, int):
            raise TypeError(f"time {when!r}: whole nanoseconds, not seconds")
        heapq.heappush(self._timers, when)
        return super().call_at(when, callback, *args, context=context)

    def jump(self) -> None:
        """Go on to the next timer; one that was cancelled only makes the loop look once more."""
        self._now_ns = max(self._now_ns, heapq.heappop(self._timers))


class _Jumping(selectors.SelectSelector):
    """Instead of waiting for a timer, jumps to it."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now.

        Raises:
            RuntimeError: nothing is, and no timer is set: every coroutine waits for another.
        """
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: nothing is due and nothing can come")
        if not ready and timeout:
            self._loop.jump()
        return ready


def run_virtual(main: Coroutine[object, object, T]) -> tuple[T, int]:
    """Run a coroutine in virtual time from 0; its result, and the time at its end in ns
    (WS-SIMULATION-12).

    Raises:
        RuntimeError: every coroutine waits for another.
    """
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main), loop.time()
