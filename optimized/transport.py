"""Whole messages between two processes over torch.distributed.

A message is its length, then its bytes. A thread receives, so that neither side can block the
other by sending. The transport promises nothing but whole messages: order, repetition and loss
are the business of `spec.exchange`.
Source: PAPER §2.4 (communication between thinker and performer); CHOICE: gloo on CPU.
"""

from __future__ import annotations

import datetime as dt
import os
import queue
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, ProcessGroupGloo

from spec.errors import ExchangeError

THINKER: Final = 0
PERFORMER: Final = 1

IDLE_LIMIT: Final = dt.timedelta(hours=6)
"""A peer that dies is noticed at once by its closed connection; this bounds only a silent one."""

JOIN_LIMIT: Final = dt.timedelta(seconds=60)
"""How long a process waits for the other one to appear."""

CLOSE_LIMIT_S: Final = 30.0
"""How long a closing process waits for the other one to close too."""

IN_FLIGHT: Final = 8
"""Tensors, two a message, that may be on their way at once: a bound on what is kept for them."""

END: Final = torch.zeros(1, dtype=torch.int64)
"""Length 0: the last thing a process sends."""


class PeerGoneError(ExchangeError):
    """The other process closed its connection or never came."""


class Transport:
    """Messages to and from the one other process.

    It has a process group of its own, so one process may hold several sessions.

    Args:
        rank: `THINKER` or `PERFORMER`.
        rendezvous: a file that both processes can reach, in a folder of the session's own.

    Raises:
        PeerGoneError: the other process did not come within `JOIN_LIMIT`.
    """

    def __init__(self, rank: int, rendezvous: Path) -> None:
        if sys.platform == "linux":
            # The host's own name may not resolve; both processes are on this machine.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self._peer = PERFORMER if rank == THINKER else THINKER
        store = FileStore(str(rendezvous), 2)
        store.set_timeout(JOIN_LIMIT)
        try:
            # Any: the type stubs leave out `send` and `recv`.
            self._group: Any = ProcessGroupGloo(store, rank, 2, IDLE_LIMIT)
        except (RuntimeError, ValueError) as error:
            raise self._gone() from error
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sending: deque[tuple[dist.Work, torch.Tensor]] = deque()
        self._receiver = threading.Thread(target=self._receive_all, daemon=True)
        self._receiver.start()

    def _gone(self) -> PeerGoneError:
        name = ("thinker", "performer")[self._peer]
        return PeerGoneError(f"{name} process", "gone", "alive until the session is closed")

    def send(self, message: bytes) -> None:
        """Hand over ``message``; it is sent while the caller goes on.

        Raises:
            PeerGoneError: the other process is gone.
        """
        body = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        length = torch.tensor([len(message)], dtype=torch.int64)
        try:
            for tensor in (length, body):
                # A buffer must live until it has been sent.
                self._sending.append((self._group.send([tensor], self._peer, 0), tensor))
            while len(self._sending) > IN_FLIGHT:
                # Work does not count as completed before it was waited for.
                self._sending.popleft()[0].wait()
        except RuntimeError as error:
            raise self._gone() from error

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """The next message; None if none came within ``timeout_s``.

        Raises:
            PeerGoneError: the other process is gone.
        """
        try:
            message = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is None:
            raise self._gone()
        return message

    def _receive_all(self) -> None:
        length = torch.zeros(1, dtype=torch.int64)
        try:
            while True:
                self._group.recv([length], self._peer, 0).wait()
                if int(length) == 0:
                    return  # The peer closes: nothing follows.
                body = torch.empty(int(length), dtype=torch.uint8)
                self._group.recv([body], self._peer, 0).wait()
                self._inbox.put(body.numpy().tobytes())
        except RuntimeError:
            self._inbox.put(None)

    def close(self) -> None:
        """Close in peace: both sides call this, and each waits for the other's last message."""
        try:
            self._sending.append((self._group.send([END], self._peer, 0), END))
            for work, _ in self._sending:
                work.wait()
        except RuntimeError as error:
            raise self._gone() from error
        self.join()

    def join(self) -> None:
        """Wait until nothing is received any more: the other process closed or is gone."""
        self._receiver.join(CLOSE_LIMIT_S)
