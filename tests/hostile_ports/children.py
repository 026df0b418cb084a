"""Ports that would leave processes behind, or take too much. Each process writes its number into
the file that the second argument names."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from polite import reply, serve


def noted() -> None:
    with open(sys.argv[2], "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


def stays() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    noted()
    time.sleep(60)


def child(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return pid


def daemon() -> None:
    """A grandchild in a session of its own, whose parent has gone."""
    os.setsid()
    child(stays)


def wait_for(lines: int) -> None:
    while not os.path.exists(sys.argv[2]) or len(open(sys.argv[2]).readlines()) < lines:  # noqa: SIM115
        time.sleep(0.002)


def daemons(number: int) -> None:
    for _ in range(3):
        os.waitpid(child(daemon), 0)
    child(stays)
    wait_for(4)
    reply(number, ok={"tensors": {}})


def daemons_and_end(_: int) -> None:
    """They keep the pipes open that the port was given."""
    os.waitpid(child(daemon), 0)
    wait_for(1)
    os._exit(5)


def daemons_without_keeper(_: int) -> None:
    os.waitpid(child(daemon), 0)
    wait_for(1)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def stubborn(number: int) -> None:
    child(stays)
    wait_for(1)
    reply(number, ok={"tensors": {}})
    stays()


def many(_: int) -> None:
    for _ in range(30):
        child(stays)
    time.sleep(60)


def large(_: int) -> None:
    noted()
    data = bytearray(300 << 20)
    time.sleep(60)
    data.clear()


serve(
    {
        "daemons": daemons,
        "daemons-and-end": daemons_and_end,
        "daemons-without-keeper": daemons_without_keeper,
        "stubborn": stubborn,
        "many": many,
        "large": large,
    }
)
