"""WS-STDIO-1, WS-STDIO-7: how a program becomes a port, and what becomes of its sessions."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import attrs
import pytest
from hostile_world import IMPATIENT, PATIENT, PORTS, asked, fault, started

from conformance.guard import Guard, PortFault
from conformance.oracle import Oracle
from conformance.protocol import OpenRequest
from conformance.resolve import resolve
from conformance.runner import run, select
from conformance.stdio.limits import Limits
from conformance.stdio.port import StdioPort, from_command
from conformance.verdicts import Verdict
from spec.errors import PortError

REQUEST = OpenRequest(preset="tiny", schedule="overlapped", dtype="float32")
TELLING = """
import json, os, sys
facts = {"argv": sys.argv[1:], "cwd": os.getcwd(), "run": os.environ["WANSTREAMER_RUN_DIR"],
         "folders": sorted(os.listdir(os.environ["WANSTREAMER_RUN_DIR"])),
         "session": os.getsid(0) == os.getpid(), "mine": os.environ["MINE"],
         "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))}
print(json.dumps(facts), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("python -m x --fast", ["python", "-m", "x", "--fast"]),
        ("'python' 'a b' $HOME *", ["python", "a b", "$HOME", "*"]),
        ('"python -m x"', ["python", "-m", "x"]),
        ("\"python 'a b'\"", ["python", "a b"]),
        ("python a\\ b #1 --x", ["python", "a b", "#1", "--x"]),
    ],
)
def test_words_are_split_as_a_shell_would(text: str, argv: list[str]) -> None:
    """WS-STDIO-1: and nothing else that a shell would do."""
    port = from_command(text)
    assert [*port._argv] == argv
    port.stop()


@pytest.mark.parametrize("text", ["", " ", '""', "no-such-program -x", "./no/such", "'python"])
def test_no_program_is_a_usage_error(text: str) -> None:
    """WS-STDIO-1, WS-CONFORMANCE-12."""
    with pytest.raises(PortError, match="a program that exists"):
        resolve(f"cmd:{text}")


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    """WS-STDIO-7: found only when it is started."""
    script = tmp_path / "port"
    script.write_text("no program\n", encoding="utf-8")
    script.chmod(0o755)
    port = StdioPort([str(script)], PATIENT)
    assert fault(port) == "hello: cannot be started: Exec format error"
    port.stop()


def test_what_a_port_is_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-STDIO-1: arguments, working directory, environment, run directory, open files."""
    monkeypatch.setenv("MINE", "yes")
    port = StdioPort([sys.executable, "-c", TELLING, "a b", ""], PATIENT)
    assert fault(port).startswith("hello: exited with status 0; it said last: {")
    base = port._base
    fault(port)
    port.stop(tmp_path)
    log = (tmp_path / "port.stderr.log").read_text(encoding="utf-8")
    facts, again = map(json.loads, log.splitlines())
    assert again == {**facts, "run": str(base / "2")}
    assert facts["argv"] == ["a b", ""]
    assert facts["cwd"] == os.getcwd()  # noqa: PTH109 - as the port sees it
    assert facts["mine"] == "yes"
    assert facts["run"] == str(base / "1")
    assert facts["folders"] == ["in", "out"]
    assert facts["session"]
    # Standard input, output and error, and the folder that was just being listed.
    assert facts["open"] == [0, 1, 2, 3]
    assert not base.exists()


def test_sessions_end_with_their_process() -> None:
    """WS-STDIO-7: the new process gives the same name again, and means another session."""
    with started("endings", "exit-0") as port:
        guard = Guard(port)
        guard.hello()
        first = guard.open(REQUEST)
        assert fault(port) == "math nasty: exited with status 0"
        with pytest.raises(PortFault, match="reset: the session ended with the process"):
            guard.reset(first)
        second = guard.open(REQUEST)
        assert (first, second) == ("s", "s@2")
        guard.reset(second)
        with pytest.raises(PortFault, match="reset: the session ended with the process"):
            guard.reset(first)
        guard.close(first)
        guard.close(second)


def test_closing_a_lost_session_starts_nothing() -> None:
    """WS-STDIO-7: what a check closes on its way out after a crash costs no process."""
    with started("endings", "exit-0") as port:
        guard = Guard(port)
        first = guard.open(REQUEST)
        assert fault(port) == "math nasty: exited with status 0"
        guard.close(first)
        assert port._started == 1


def test_a_stopped_port_is_not_started_again() -> None:
    """WS-STDIO-2."""
    with started("lines", "hang") as port:
        Guard(port).hello()
        port.stop()
        port.stop()
        assert fault(port) == "hello: was stopped"


def test_a_port_that_nobody_stops() -> None:
    """WS-STDIO-8: it ends with the object that stood for it."""
    port = StdioPort([sys.executable, "-S", "-E", str(PORTS / "lines.py"), "hang"], PATIENT)
    port.hello()
    base = port._base
    number = port._talks[0]._child._facts["started"]
    assert base.exists()
    del port
    gc.collect()
    assert not base.exists()
    assert not Path(f"/proc/{number}").exists()


def test_a_port_that_does_not_stop() -> None:
    """WS-STDIO-9: it is waited for, and then it is ended."""
    with started("lines", "half", limits=attrs.evolve(IMPATIENT, end_s=0.2)) as port:
        Guard(port).math(asked("nasty"))
        number = port._talks[0]._child._facts["started"]
        port.stop()
        assert not Path(f"/proc/{number}").exists()


def test_the_rest_of_the_report_is_intact(monkeypatch: pytest.MonkeyPatch) -> None:
    """WS-STDIO-7, WS-CONFORMANCE-10: a port that dies of one formula is judged by all others."""
    monkeypatch.setenv("PYTHONPATH", str(PORTS))
    argv = [sys.executable, "-m", "conformance.stdio.server", "dying:Port"]
    port = StdioPort(argv, Limits())
    checks = [c for c in select("math", None) if c.id in ("port/honest", "math/recipe")]
    report = run(port, Oracle(port), "dying", checks, "math")
    port.stop()
    verdicts = {case.id: (case.verdict, case.detail) for case in report.cases}
    dead = {name for name in verdicts if name.startswith("math/recipe:gaussian")}
    assert dead
    for name, (verdict, detail) in verdicts.items():
        if name in dead:
            assert verdict is Verdict.ERROR
            assert detail.startswith("math recipe.gaussian: was killed by signal 9 (SIGKILL)")
        else:
            assert verdict is Verdict.PASS, (name, detail)
    assert len(verdicts) > len(dead) + 8
    assert report.exit_status == 1
