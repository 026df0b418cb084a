"""A port in a process of its own, asked over its standard input and output (WS-STDIO-1 to
WS-STDIO-9). The form of the messages is in ``docs/protocol.md``."""

from __future__ import annotations

import shlex
import shutil
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from conformance.guard import PortFault
from conformance.protocol import PROTOCOL_VERSION, Hello, OpenRequest, Refusal, Unsupported
from conformance.stdio.asking import AskingPort
from conformance.stdio.limits import Limits, limits
from conformance.stdio.messages import Nothing, Session
from conformance.stdio.process import Broken, Log
from conformance.stdio.run_directory import make_base
from conformance.stdio.talk import Talk
from conformance.stdio.untrusted import one_line
from spec.errors import PortError

LOG: Final = "port.stderr.log"
"""What a port wrote on standard error, beside the reports."""
SHOWN: Final = 200
ALLOWED: Final = 'cmd:"PROGRAM ARGUMENTS…" with a program that exists, on Linux'


def from_command(text: str) -> StdioPort:
    """The port that ``cmd:TEXT`` names; it is started when it is first asked (WS-STDIO-1).

    Raises:
        PortError: no program, or one that does not exist.
    """
    try:
        argv = shlex.split(text)
        if len(argv) == 1 and text[0] in "\"'":
            # cmd:"ARGV" from a file, where no shell has taken the quotes away.
            argv = shlex.split(argv[0])
    except ValueError as error:
        raise PortError("port", f"cmd:{text}", f"{ALLOWED} ({error})") from error
    if sys.platform != "linux" or not argv or shutil.which(argv[0]) is None:
        raise PortError("port", f"cmd:{text}", ALLOWED)
    return StdioPort(argv, limits())


class StdioPort(AskingPort):
    """Every command may raise `PortFault` besides what `conformance.protocol.Port` allows.

    A process that breaks the protocol is ended. The next command begins another, up to a bound;
    the sessions of the old one are gone.
    """

    def __init__(
        self, argv: Sequence[str], limits: Limits, talk: Callable[..., Talk] = Talk
    ) -> None:
        self._argv, self._limits, self._talk = tuple(argv), limits, talk
        self._base = make_base()
        self._log = Log(self._base / LOG, limits.log_bytes)
        self._talks: list[Talk] = []
        self._started = self._timeouts = 0
        self._hello: Hello | None = None
        self._sessions: dict[str, tuple[int, str]] = {}
        # Also when nobody says stop, and at the end of the interpreter.
        self._clean = weakref.finalize(self, _clean, self._talks, self._log, self._base)

    def stop(self, report_dir: Path | None = None, log: str = LOG) -> None:
        """Let the port end (WS-STDIO-2), keep what it said on standard error as ``log`` in
        ``report_dir``, delete everything else."""
        if self._clean.alive and self._talks:
            with suppress(Broken, PortFault, Unsupported, Refusal):
                self._talks[0].ask("stop", Nothing(), self._limits.end_s)
                self._talks[0].leave(self._limits.end_s)
        if self._clean.alive and report_dir is not None and report_dir.is_dir():
            shutil.copyfile(self._log.path, report_dir / log)
        self._clean()

    def hello(self) -> Hello:
        hello = super().hello()
        # A port that is another one after a restart cannot be judged as one.
        if hello.protocol != PROTOCOL_VERSION:
            self._end()
            raise PortFault(f"speaks protocol {hello.protocol}, not {PROTOCOL_VERSION}")
        if self._hello is not None and hello != self._hello:
            self._end()
            raise PortFault(f"was {_who(self._hello)}, and says now that it is {_who(hello)}")
        self._hello = hello
        return hello

    def supports(self, feature: str) -> bool:
        try:
            return super().supports(feature)
        except Unsupported:
            return False

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        # The port counts its sessions anew in every process; for the suite they stay apart.
        ours = name if self._started == 1 else f"{name}@{self._started}"
        self._sessions[ours] = self._started, name
        return ours

    def close(self, session: str) -> None:
        known = self._sessions.get(session)
        if known is None or self._alive(known):
            super().close(session)
        # A session whose process is gone needs no closing.
        self._sessions.pop(session, None)

    def ask(self, command: str, arguments: Any) -> Any:
        """One command to the running process, or to a new one.

        Raises:
            PortFault: the port failed; the process has been ended if it broke the protocol.
        """
        if isinstance(arguments, Session):
            arguments = attrs.evolve(arguments, session=self._own_name(arguments.session))
        try:
            talk = self._talking(command)
            return talk.ask(command, arguments, self._limits.reply(command))
        except Broken as broken:
            self._timeouts += broken.late
            words = one_line(self._log.last_words(), SHOWN)
            self._end()
            line = f"{broken}; it said last: {words}" if words else str(broken)
            raise PortFault(line) from broken

    def _own_name(self, session: str) -> str:
        """The port's own name of a session; a name that it never gave goes through as it is."""
        known = self._sessions.get(session)
        if known is None:
            return session
        if not self._alive(known):
            raise PortFault("the session ended with the process that it lived in")
        return known[1]

    def _alive(self, known: tuple[int, str]) -> bool:
        return bool(self._talks) and known[0] == self._started

    def _talking(self, command: str) -> Talk:
        if self._talks:
            return self._talks[0]
        if not self._clean.alive:
            raise PortFault("was stopped")
        if self._started > self._limits.restarts or self._timeouts >= self._limits.timeouts:
            clock = f", {self._timeouts} times by the clock" if self._timeouts else ""
            raise PortFault(f"not started again: it has ended {self._started} times{clock}")
        self._started += 1
        self._log.forget()
        talk = self._talk(self._argv, self._base / str(self._started), self._log, self._limits)
        self._talks.append(talk)
        if self._hello is not None and command != "hello":
            self.hello()
        return talk

    def _end(self) -> None:
        for talk in self._talks:
            talk.end()
        self._talks.clear()


def _who(hello: Hello) -> str:
    return one_line(str(attrs.asdict(hello)), SHOWN)


def _clean(talks: list[Talk], log: Log, base: Path) -> None:
    for talk in talks:
        talk.end()
    talks.clear()
    log.close()
    shutil.rmtree(base, ignore_errors=True)
