"""Ports that end, or close what they should keep open."""

from __future__ import annotations

import os
import signal
import sys
import time

from polite import HELLO, reply, say, serve


def ends(status: int) -> None:
    sys.stderr.write("\x1b[31mno accelerator here\n\n")
    sys.exit(status)


def killed(number: int) -> None:
    os.kill(os.getpid(), number)


def closes(fd: int) -> None:
    os.close(fd)
    time.sleep(60)


def closes_stdin(number: int) -> None:
    os.close(0)
    reply(number, ok={"tensors": {}})
    time.sleep(60)


def half(number: int) -> None:
    say(f'{{"id": {number}')
    os._exit(0)


def leaves(number: int) -> None:
    """Answers, and is gone before the next request."""
    reply(number, ok={"tensors": {}})
    os._exit(4)


def kills_its_keeper(_: int) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def raises(_: int) -> None:
    raise ValueError("shapes do not match")


def deaf(number: int) -> None:
    """Answers, and never reads again."""
    reply(number, ok={"tensors": {}})
    time.sleep(60)


def other_protocol(number: int) -> None:
    reply(number, ok={**HELLO, "protocol": 2})


AT_HELLO = {
    "at-start": lambda: ends(3),
    "protocol": lambda: other_protocol(1),
    "profile": lambda: reply(1, ok={**HELLO, "profiles": ["everything"]}),
    "names": lambda: reply(1, ok={**HELLO, "name": 7}),
    # Another version in each process.
    "version": lambda: reply(1, ok={**HELLO, "version": str(os.getpid())}),
    "quiet": lambda: time.sleep(60),
}
TRICKS = {
    "exit": lambda _: ends(3),
    "exit-0": lambda _: os._exit(0),
    "half": half,
    "leaves": leaves,
    "segfault": lambda _: killed(signal.SIGSEGV),
    "abort": lambda _: killed(signal.SIGABRT),
    "closes-stdout": lambda _: closes(1),
    "closes-stdin": closes_stdin,
    "keeper": kills_its_keeper,
    "raises": raises,
    "deaf": deaf,
}

if sys.argv[1] in AT_HELLO:
    sys.stdin.readline()
    AT_HELLO[sys.argv[1]]()
    if sys.argv[1] == "version":
        TRICKS["version"] = lambda _: os._exit(1)
    else:
        time.sleep(60)
serve(TRICKS)
