"""Ports that do not answer with one line: too little, too much, too often, to somebody else."""

from __future__ import annotations

import os
import sys
import time

from polite import reply, say, serve


def once(number: int) -> None:
    reply(number, ok={"tensors": {}})


def banner(number: int) -> None:
    say("Loading weights\n")
    once(number)


def hang(_: int) -> None:
    time.sleep(60)


def flood(_: int) -> None:
    while True:
        say(b"x" * 65536)


def flood_lines(_: int) -> None:
    while True:
        say(b"hello\n" * 4096)


def half(number: int) -> None:
    """The beginning of the next reply is there before it is asked for."""
    once(number)
    say(f'{{"id": {number + 1}, "o')
    hang(number)


def twice(number: int) -> None:
    once(number)
    once(number)


def remark(number: int) -> None:
    once(number)
    say("done in 3 ms\n")


def loud(number: int) -> None:
    """No defect: standard error is free, also for four megabytes."""
    for _ in range(64):
        sys.stderr.write("y" * 65536)
    sys.stderr.write("\nthe last line\n")
    sys.stderr.flush()
    once(number)


def loud_and_silent(number: int) -> None:
    print("never ending", file=sys.stderr, flush=True)
    once(number)
    while True:
        sys.stderr.write("never ending\n")


def given(_: int) -> None:
    """What the second argument says, in hexadecimal."""
    say(bytes.fromhex(sys.argv[2]))
    os._exit(0)


TRICKS = {
    "banner": banner,
    "remark": remark,
    "garbage": lambda _: say(b"\xff\xfe\x00\n"),
    "empty": lambda _: say("\n"),
    "hang": hang,
    "half": half,
    "flood": flood,
    "flood-lines": flood_lines,
    "twice": twice,
    "earlier": lambda number: once(number - 1),
    "later": lambda number: once(number + 1),
    "loud": loud,
    "loud-and-silent": loud_and_silent,
    "bytes": given,
}

serve(TRICKS)
