"""Starts a port, watches it, and sees to it that nothing of it is left (WS-STDIO-8).

Run as a script between the suite and the port: ``keeper.py FD OPTIONS ARGV…``. It takes in what a
port's children leave behind (``PR_SET_CHILD_SUBREAPER``), so every process that descends from the
port stays below it, in whatever session or group it hides. When the port ends, or the suite's end
of the socket FD closes for whatever reason, all of them are killed. It does not touch what the port
reads and writes. Standard library only, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
WATCH_S: Final = 0.1
"""How often memory and processes are counted."""

PAGE: Final = resource.getpagesize()
libc: Final = ctypes.CDLL(None, use_errno=True)


def main(fd: str, options: str, argv: list[str]) -> None:
    """Tells the suite ``{"started": pid}`` or ``{"cannot": reason}``, and later how it ended:
    ``{"exit": status}`` or ``{"signal": number}``, with ``{"why": reason}`` if it was our doing."""
    suite = socket.socket(fileno=int(fd))
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    limits: dict[str, int] = json.loads(options)
    try:
        port = subprocess.Popen(
            argv,
            start_new_session=True,
            preexec_fn=lambda: prepare(limits["file_bytes"]),  # noqa: PLW1509 - no threads here
        )
    except (OSError, subprocess.SubprocessError) as error:
        tell(suite, cannot=getattr(error, "strerror", None) or str(error))
        return
    let_go()
    tell(suite, started=port.pid)
    ended, why = watch(port.pid, suite, limits)
    kill_all()
    if ended is not None:
        tell(suite, **ended, **({"why": why} if why else {}))


def prepare(file_bytes: int) -> None:
    """In the port, before it becomes the port."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, highest = resource.getrlimit(resource.RLIMIT_FSIZE)
    allowed = file_bytes if highest == resource.RLIM_INFINITY else min(file_bytes, highest)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, highest))


def let_go() -> None:
    """The pipes belong to the port alone, so that they end when it ends."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def tell(suite: socket.socket, **message: Any) -> None:
    """One line to the suite, if it is still there."""
    try:
        suite.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return


def watch(
    pid: int, suite: socket.socket, limits: dict[str, int]
) -> tuple[dict[str, int] | None, str]:
    """Until the port ends (how), the suite lets go (None), or a limit is passed (how, why)."""
    ending = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(suite, select.POLLIN)
    poll.register(ending, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(1000 * WATCH_S)}
        if suite.fileno() in ready:
            return None, ""
        ended = reap(pid)
        if ended is not None:
            return ended, ""
        why = excess(limits)
        if why:
            os.kill(pid, signal.SIGKILL)
            return {"signal": signal.SIGKILL}, why


def reap(pid: int) -> dict[str, int] | None:
    """Collect everything that has ended; how the port ended, if it is among it."""
    ended = None
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == pid:
                code = os.waitstatus_to_exitcode(found[1])
                ended = {"exit": code} if code >= 0 else {"signal": -code}
    except ChildProcessError:
        pass
    return ended


def excess(limits: dict[str, int]) -> str:
    """Which limit all processes of the port together have passed."""
    count = memory = 0
    for pid in below(os.getpid()):
        count += 1
        memory += resident(pid)
    if count > limits["processes"]:
        return f"more than {limits['processes']} processes"
    if memory > limits["memory_bytes"]:
        return f"more than {limits['memory_bytes'] >> 20} MiB of memory"
    return ""


def below(pid: int) -> Iterator[int]:
    """All processes that descend from ``pid``."""
    above = [pid]
    while above:
        folder = f"/proc/{above.pop()}/task"
        for thread in _entries(folder):
            children = [int(child) for child in _text(f"{folder}/{thread}/children").split()]
            yield from children
            above += children


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - a few milliseconds for pathlib
    except OSError:
        return []


def _text(path: str) -> str:
    """A file of /proc; empty when its process has ended."""
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - the same
            return file.read()
    except OSError:
        return ""


def resident(pid: int) -> int:
    """Bytes of memory of one process."""
    fields = _text(f"/proc/{pid}/statm").split()
    return PAGE * int(fields[1]) if fields else 0


def kill_all() -> None:
    """Kill all that descends from us until nothing is left."""
    while True:
        for pid in list(below(os.getpid())):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        reap(0)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        time.sleep(0.002)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
