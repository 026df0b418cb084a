"""The suite's clock: what the latency profile waits on and measures by.

A port never tells the time. Tests put a clock in place whose time passes only where it is made to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Clock(Protocol):
    """Integer nanoseconds from some start."""

    def now(self) -> int: ...

    def sleep_until(self, moment: int) -> None:
        """Return at ``moment``, at once if it is past."""
        ...


class WallClock:
    """The machine's monotonic clock."""

    def now(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, moment: int) -> None:
        while (left := moment - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)


class VirtualClock:
    """Time passes while somebody waits, and when it is told to; never by itself."""

    def __init__(self) -> None:
        self._now = 0

    def now(self) -> int:
        return self._now

    def sleep_until(self, moment: int) -> None:
        self._now = max(self._now, moment)


_CLOCK: ContextVar[Clock] = ContextVar("clock", default=WallClock())  # noqa: B039 - has no state


def clock() -> Clock:
    """The clock of this run."""
    return _CLOCK.get()


@contextmanager
def running_by(other: Clock) -> Iterator[None]:
    """Inside, `clock` is another one."""
    token = _CLOCK.set(other)
    try:
        yield
    finally:
        _CLOCK.reset(token)
