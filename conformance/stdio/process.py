"""A child process that answers one line to one line, in bounded time and memory (WS-STDIO-7,
WS-STDIO-8). What the lines mean is not known here."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from conformance.stdio.limits import Limits

KEEPER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")))
CHUNK: Final = 1 << 16
TAIL_BYTES: Final = 2000
SHOWN: Final = 60
DRAIN: Final = 32
"""Rounds of reading after the end."""

CLOSED: Final = -1
"""In the place of a file descriptor that has come to its end."""

RUN_DIR: Final = b"WANSTREAMER_RUN_DIR"
"""The environment variable that tells a port where its run directory is (WS-STDIO-1)."""

GRACE_S: Final = 1.0
"""How long the reason for a closed pipe may take to arrive."""


class Broken(Exception):  # noqa: N818 - a verdict on the process, one line
    """The process did not answer as it must; it is to be ended. Says why in one line.

    ``late``: because time ran out.
    """

    def __init__(self, why: str, *, late: bool = False) -> None:
        self.late = late
        super().__init__(why)


class Log:
    """What the port says on standard error: the beginning in a file, the end in memory."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self._file = path.open("wb")
        self._left = limit
        self._tail = b""

    def add(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        self._file.write(data[: self._left])
        if len(data) > self._left > 0:
            self._file.write(b"\n[the rest was dropped]\n")
        self._left = max(0, self._left - len(data))
        self._file.flush()

    def last_words(self) -> str:
        """The last line that is not empty."""
        lines = [
            line for line in self._tail.decode("utf-8", "replace").splitlines() if line.strip()
        ]
        return lines[-1] if lines else ""

    def forget(self) -> None:
        """What one process said explains nothing about the next."""
        self._tail = b""

    def close(self) -> None:
        self._file.close()


class Child:
    """A running port. It waits in one place, `_pump`, and never without an end."""

    def __init__(self, argv: Sequence[str], run_dir: Path, log: Log, limits: Limits) -> None:
        """Start ``argv`` below a keeper of its own, in this working directory."""
        self.limits = limits
        self._log = log
        self._control, theirs = socket.socketpair()
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        options = {
            "file_bytes": limits.file_bytes,
            "memory_bytes": int(limits.memory_share * memory),
            "processes": limits.processes,
        }
        with theirs:
            self._keeper = subprocess.Popen(
                [*KEEPER, str(theirs.fileno()), json.dumps(options), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=os.environb | {RUN_DIR: os.fsencode(run_dir)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._stdin = _fd(self._keeper.stdin)
        self._stdout = _fd(self._keeper.stdout)
        self._stderr = _fd(self._keeper.stderr)
        self._selector = selectors.DefaultSelector()
        for fd in (self._stdout, self._stderr, self._control.fileno()):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ)
        os.set_blocking(self._stdin, False)
        self._tag = RUN_DIR + b"=" + os.fsencode(run_dir)
        self._received, self._told = bytearray(), bytearray()
        self._unsent = memoryview(b"")
        self._facts: dict[str, Any] = {}

    def ask(self, line: bytes, seconds: float) -> bytes:
        """The next line that it writes, without its line break, once ``line`` is on its way.

        A line that was written too early is the next one all the same: which of two things came
        first is chance, and a reason must not depend on it.

        Raises:
            Broken: no line, too long a line, too late, or the process has ended.
        """
        self._unsent = memoryview(line)
        if self._stdin != CLOSED:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        try:
            self._await_line(time.monotonic() + seconds, seconds)
        finally:
            self._stop_sending()
        reply, _, self._received = self._received.partition(b"\n")
        return bytes(reply)

    def leave(self, patience_s: float) -> None:
        """Let it end by itself for so long."""
        end = time.monotonic() + patience_s
        while not self._over and (left := end - time.monotonic()) > 0:
            self._pump(left)

    def end(self) -> None:
        """Nothing of it is left running."""
        self._selector.close()
        self._control.close()
        try:
            self._keeper.wait(self.limits.end_s)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.returncode:
            sweep(self._tag)
        for pipe in (self._keeper.stdin, self._keeper.stdout, self._keeper.stderr):
            cast("BinaryIO", pipe).close()

    @property
    def _over(self) -> bool:
        return not self._facts.keys().isdisjoint(("exit", "signal", "cannot", "lost"))

    def _await_line(self, end: float, seconds: float) -> None:
        closed = ""
        while b"\n" not in self._received:
            # Whoever has killed the keeper may have left somebody who holds the pipe open.
            if self._over and (self._stdout == CLOSED or "lost" in self._facts):
                self._drain()
                raise Broken(self._how_it_ended())
            if not closed and (CLOSED in (self._stdout, self._stdin)):
                # The usual reason is that it has ended: how, is about to be told.
                closed = "stdout" if self._stdout == CLOSED else "stdin"
                end = min(end, time.monotonic() + GRACE_S)
            left = end - time.monotonic()
            if left <= 0:
                raise self._too_late(closed, seconds)
            self._pump(left)
            if len(self._received) > self.limits.line_bytes:
                raise Broken(f"wrote a line of more than {self.limits.line_bytes} bytes")

    def _drain(self) -> None:
        """Its last words may still be on their way; but not without end."""
        for _ in range(DRAIN):
            if not self._selector.select(0.0):
                return
            self._pump(0.0)

    def _pump(self, seconds: float) -> None:
        """Wait for something to happen, and take it in."""
        for key, _ in self._selector.select(seconds):
            if key.fd == self._stdin:
                self._send()
            elif key.fd == self._stdout:
                self._stdout = self._take(key.fd, self._received.extend)
            elif key.fd == self._stderr:
                self._stderr = self._take(key.fd, self._log.add)
            else:
                self._hear()

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._stdin, self._unsent[:CHUNK]) :]
        except BrokenPipeError:
            self._stop_sending()
            self._stdin = CLOSED
        except BlockingIOError:
            return
        if not self._unsent:
            self._stop_sending()

    def _stop_sending(self) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._stdin)

    def _take(self, fd: int, keep: Callable[[bytes], object]) -> int:
        data = os.read(fd, CHUNK)
        keep(data)
        if data:
            return fd
        self._selector.unregister(fd)
        return CLOSED

    def _hear(self) -> None:
        """What the keeper tells."""
        try:
            data = self._control.recv(CHUNK)
        except ConnectionResetError:
            data = b""
        self._told += data
        *lines, rest = self._told.split(b"\n")
        self._told = rest
        for line in lines:
            self._facts.update(json.loads(line))
        if not data:
            self._selector.unregister(self._control)
            if not self._over:
                self._facts["lost"] = True

    def _how_it_ended(self) -> str:
        facts = self._facts
        if "cannot" in facts:
            return f"cannot be started: {facts['cannot']}"
        if "why" in facts:
            how = f"used {facts['why']}"
        elif "signal" in facts:
            how = f"was killed by signal {signal_name(facts['signal'])}"
        elif "exit" in facts:
            how = f"exited with status {facts['exit']}"
        else:
            how = "killed the process that watches over it"
        return f"{how} in the middle of a line" if self._received else how

    def _too_late(self, closed: str, seconds: float) -> Broken:
        if closed:
            return Broken(f"closed its {closed} and went on")
        if self._unsent:
            return Broken(f"did not read its request within {seconds:g} s", late=True)
        if self._received:
            return Broken(f"did not end its line within {seconds:g} s", late=True)
        return Broken(f"did not answer within {seconds:g} s", late=True)


def sweep(tag: bytes) -> None:
    """Kill whatever has ``tag`` in its environment: the last resort after a port that has killed
    its keeper."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if tag in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _fd(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return pipe.fileno()


def signal_name(number: int) -> str:
    """As people know it: "11 (SIGSEGV)"."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def shown(data: bytes | bytearray) -> str:
    """The beginning of what a port wrote, quoted."""
    return repr(bytes(data[:SHOWN]))[1:] + ("…" if len(data) > SHOWN else "")
