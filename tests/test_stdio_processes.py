"""WS-STDIO-8: no process of a port outlives it, whatever it does; WS-STDIO-9: memory and number of
processes are bounded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
from hostile_world import IMPATIENT, PATIENT, PORTS, asked, fault, started

from conformance.guard import Guard
from conformance.stdio import keeper
from conformance.stdio.limits import PATIENCE, Limits, limits
from conformance.stdio.process import RUN_DIR, sweep
from spec.errors import ConfigError

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def running(numbers: Path) -> list[int]:
    """Those of the noted processes that still run; one that waits to be collected does not."""
    noted = numbers.read_text().split() if numbers.exists() else []
    return [n for n in map(int, noted) if state(n) not in ("", "Z")]


def state(number: int) -> str:
    """One letter as in proc(5); empty when there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def gone(numbers: Path) -> bool:
    """After a port has been ended by its keeper nobody needs to wait; after the suite itself was
    killed, its keeper needs a moment."""
    for _ in range(400):
        if not running(numbers):
            return True
        time.sleep(0.01)
    return False


def test_daemons_end_with_the_port(tmp_path: Path) -> None:
    """WS-STDIO-8: three in sessions of their own, with parents that have gone, and a plain child;
    all of them ignore SIGTERM. The port itself is polite."""
    numbers = tmp_path / "numbers"
    with started("children", "daemons", str(numbers)) as port:
        Guard(port).math(asked("nasty"))
        assert len(running(numbers)) == 4
    assert running(numbers) == []


def test_pipes_that_a_daemon_holds_open(tmp_path: Path) -> None:
    """WS-STDIO-8: the end of the port is seen although its standard output is not closed."""
    numbers = tmp_path / "numbers"
    with started("children", "daemons-and-end", str(numbers)) as port:
        assert fault(port) == "math nasty: exited with status 5"
        assert running(numbers) == []


def test_a_port_that_kills_its_keeper(tmp_path: Path) -> None:
    """WS-STDIO-8: then its processes are found by the run directory in their environment."""
    numbers = tmp_path / "numbers"
    with started("children", "daemons-without-keeper", str(numbers)) as port:
        assert fault(port) == "math nasty: killed the process that watches over it"
        assert gone(numbers)


def test_a_sweep_takes_only_what_has_the_mark() -> None:
    """WS-STDIO-8: a process of somebody else is left alone."""
    stranger = subprocess.Popen(["sleep", "60"], env={RUN_DIR.decode(): "/elsewhere"})
    sweep(RUN_DIR + b"=/else")
    assert stranger.poll() is None
    sweep(RUN_DIR + b"=/elsewhere")
    assert stranger.wait(5) == -signal.SIGKILL


def test_signals_that_are_ignored(tmp_path: Path) -> None:
    """WS-STDIO-8, WS-STDIO-9."""
    numbers = tmp_path / "numbers"
    with started("children", "stubborn", str(numbers), limits=IMPATIENT) as port:
        assert fault(port) == "math nasty: did not answer within 0.3 s"
        assert running(numbers) == []


def test_too_many_processes(tmp_path: Path) -> None:
    """WS-STDIO-9."""
    numbers = tmp_path / "numbers"
    few = attrs.evolve(PATIENT, processes=20)
    with started("children", "many", str(numbers), limits=few) as port:
        assert fault(port) == "math nasty: used more than 20 processes"
        assert running(numbers) == []


def test_too_much_memory(tmp_path: Path) -> None:
    """WS-STDIO-9: the port takes 300 MiB and may have 200."""
    little = attrs.evolve(PATIENT, memory_share=(200 << 20) / PHYSICAL)
    with started("children", "large", str(tmp_path / "numbers"), limits=little) as port:
        assert fault(port).startswith("math nasty: used more than ")
        assert running(tmp_path / "numbers") == []


def test_memory_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-STDIO-9: two that are small enough each may be too large together; so many may be."""
    monkeypatch.setattr(keeper, "below", lambda _: iter((7, 8)))
    monkeypatch.setattr(keeper, "resident", lambda _: 150 << 20)
    allowed = {"memory_bytes": 300 << 20, "processes": 2}
    assert keeper.excess(allowed) == ""
    assert keeper.excess({**allowed, "memory_bytes": 299 << 20}) == "more than 299 MiB of memory"
    assert keeper.excess({**allowed, "processes": 1}) == "more than 1 processes"


def test_nothing_is_left_when_the_suite_is_killed(tmp_path: Path) -> None:
    """WS-STDIO-8: by a signal that it cannot see coming."""
    numbers = tmp_path / "numbers"
    options = {"file_bytes": 1 << 20, "memory_bytes": 1 << 40, "processes": 99}
    program = [sys.executable, "-S", "-E", str(PORTS / "children.py"), "daemons", str(numbers)]
    rest = [json.dumps(options), *program]
    suite = f"""
import os, socket, subprocess, sys, time
ours, theirs = socket.socketpair()
argv = [sys.executable, "-I", "-S", {keeper.__file__!r}, str(theirs.fileno()), *{rest!r}]
port = subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()], bufsize=0)
port.stdin.write(b'{{"id": 1, "command": "math", "op": "nasty"}}\\n')
theirs.close()
while not os.path.exists({str(numbers)!r}) or len(open({str(numbers)!r}).readlines()) < 4:
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    (tmp_path / "out").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", suite],
        env={**os.environ, RUN_DIR.decode(): str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert gone(numbers)


def test_patience_stretches_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-STDIO-9: all of them, and nothing else."""
    monkeypatch.setenv(PATIENCE, "2.5")
    given = Limits()
    assert limits() == attrs.evolve(given, slow_reply_s=300.0, reply_s=150.0, end_s=12.5)
    for text in ("0", "-1", "inf", "nan", "long"):
        monkeypatch.setenv(PATIENCE, text)
        with pytest.raises(ConfigError, match="a positive number"):
            limits()


def test_the_limits_are_the_documented_ones() -> None:
    """WS-STDIO-9: the table of ``docs/protocol.md`` says what the code does."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "protocol.md").read_text("utf-8")
    given = Limits()
    mib = 1 << 20
    for row in (
        f"| a line, either way | {given.line_bytes // mib} MiB |",
        f"| a tensor file, and all files of one message | {given.file_bytes // mib:,} MiB |",
        f"| the JSON of a tensor file | {given.header_bytes // mib} MiB |",
        f"| tensors of one message; files in `out/` | {given.tensors:,} |",
        f"| the reply to `hello` and to `load` | {given.slow_reply_s:g} s |",
        f"| any other reply | {given.reply_s:g} s |",
        f"| the end after `stop` | {given.end_s:g} s |",
        f"| restarts in one run | {given.restarts}, of them {given.timeouts} after a time that",
        f"| memory of all processes of the port together | {given.memory_share:.0%} of the",
        f"| processes of the port | {given.processes} |",
        f"| standard error that is kept | {given.log_bytes // mib} MiB |",
    ):
        assert row in page
    assert given.files == given.tensors
