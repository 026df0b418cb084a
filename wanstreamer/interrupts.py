"""Interrupts that cannot get lost.

Python raises an interrupt wherever the main thread happens to be; inside a finaliser or a callback
of a native library it is printed and forgotten. So it is noted as well, and long loops ask.
Source: CHOICE.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_noted = threading.Event()


def install() -> None:
    """Treat Ctrl-C and a polite end from outside (SIGTERM) alike."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def on_signal(_number: int, _frame: FrameType | None) -> None:
    """Note the interrupt, and raise it.

    Raises:
        KeyboardInterrupt: always.
    """
    _noted.set()
    raise KeyboardInterrupt


def check() -> None:
    """Raise an interrupt that was noted; a loop calls this once a round.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if _noted.is_set():
        raise KeyboardInterrupt
