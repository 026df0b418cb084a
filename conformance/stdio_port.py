"""A port in a process of its own, asked over its standard input and output (WS-STDIO-1 to
WS-STDIO-9). The form of the messages is in ``docs/protocol.md``."""

from __future__ import annotations

import shlex
import shutil
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import attrs

from conformance.guard import PortFault
from conformance.limits import Limits, limits
from conformance.messages import (
    CodecArguments,
    DigestArguments,
    ExchangeArguments,
    Feature,
    HelloArguments,
    ImportArguments,
    Nothing,
    OfflineArguments,
    ProbeArguments,
    Session,
    StepArguments,
)
from conformance.process import Broken, Log
from conformance.protocol import (
    PROTOCOL_VERSION,
    Array,
    CodecRequest,
    Hello,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Refusal,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from conformance.run_directory import make_base
from conformance.talk import Talk
from conformance.untrusted import one_line
from spec.errors import PortError

LOG: Final = "stderr.log"
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


class StdioPort:
    """See `conformance.protocol.Port`; every command may raise `PortFault` besides.

    A process that breaks the protocol is ended. The next command begins another, up to a bound;
    the sessions of the old one are gone.
    """

    def __init__(self, argv: Sequence[str], limits: Limits) -> None:
        self._argv, self._limits = tuple(argv), limits
        self._base = make_base()
        self._log = Log(self._base / LOG, limits.log_bytes)
        self._talks: list[Talk] = []
        self._started = self._timeouts = 0
        self._hello: Hello | None = None
        self._sessions: dict[str, tuple[int, str]] = {}
        # Also when nobody says stop, and at the end of the interpreter.
        self._clean = weakref.finalize(self, _clean, self._talks, self._log, self._base)

    def stop(self, report_dir: Path | None = None) -> None:
        """Let the port end, keep its log as ``port.stderr.log``, delete everything else."""
        if self._clean.alive and self._talks:
            with suppress(Broken, PortFault, Unsupported, Refusal):
                self._talks[0].ask("stop", Nothing(), self._limits.end_s)
                self._talks[0].leave(self._limits.end_s)
        if self._clean.alive and report_dir is not None and self._log.path.stat().st_size:
            shutil.copyfile(self._log.path, report_dir / f"port.{LOG}")
        self._clean()

    def hello(self) -> Hello:
        hello = self._ask("hello", HelloArguments(protocol=PROTOCOL_VERSION))
        assert isinstance(hello, Hello)
        return self._introduced(hello)

    def supports(self, feature: str) -> bool:
        try:
            return bool(self._ask("supports", Feature(feature=feature)).supported)
        except Unsupported:
            return False

    def load(self, request: LoadRequest) -> str:
        return str(self._ask("load", request).digest)

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        return cast("Mapping[str, Array]", self._ask("math", request).tensors)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        fields = attrs.asdict(request, recurse=False)
        return cast("Array", self._ask("codec", CodecArguments(**fields, data=data)).data)

    def open(self, request: OpenRequest) -> str:
        name = str(self._ask("open", request).session)
        # The port counts its sessions anew in every process; for the suite they stay apart.
        ours = name if self._started == 1 else f"{name}@{self._started}"
        self._sessions[ours] = self._started, name
        return ours

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return self._outputs("step", StepArguments(session=self._there(session), unit=unit))

    def finish(self, session: str) -> Sequence[UnitOutput]:
        return self._outputs("finish", Session(session=self._there(session)))

    def reset(self, session: str) -> None:
        self._ask("reset", Session(session=self._there(session)))

    def close(self, session: str) -> None:
        process, name = self._sessions.pop(session, (self._started, session))
        # A session whose process is gone needs no closing.
        if process == self._started and self._talks:
            self._ask("close", Session(session=name))

    def probe(self, session: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        asked = ProbeArguments(session=self._there(session), unit=unit, points=tuple(points))
        return cast("Mapping[str, Array]", self._ask("probe", asked).tensors)

    def export_kv(self, session: str) -> KvExport:
        return cast("KvExport", self._ask("export_kv", Session(session=self._there(session))))

    def import_kv(self, session: str, state: KvExport) -> None:
        self._ask("import_kv", ImportArguments(session=self._there(session), state=state))

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        return self._outputs("offline", OfflineArguments(open=request, units=tuple(units)))

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        asked = ExchangeArguments(script=tuple(script))
        return cast("Sequence[Json]", self._ask("exchange", asked).replies)

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        asked = DigestArguments(session=self._there(session), up_to_unit=up_to_unit)
        return cast("Mapping[str, str]", self._ask("kv_digest", asked).roles)

    def _outputs(self, command: str, arguments: object) -> Sequence[UnitOutput]:
        return cast("Sequence[UnitOutput]", self._ask(command, arguments).outputs)

    def _there(self, session: str) -> str:
        """The port's own name of a session; a name that it never gave goes through as it is."""
        process, name = self._sessions.get(session, (self._started, session))
        if process != self._started or not (self._talks or name == session):
            raise PortFault("the session ended with the process that it lived in")
        return name

    def _ask(self, command: str, arguments: object) -> Any:
        """One command to the running process, or to a new one."""
        try:
            talk = self._talking(command)
            return talk.ask(command, arguments, self._limits.reply(command))
        except Broken as broken:
            self._timeouts += broken.late
            words = one_line(self._log.last_words(), SHOWN)
            self._end()
            raise PortFault(f"{broken}; it said last: {words}" if words else str(broken)) from broken

    def _talking(self, command: str) -> Talk:
        if self._talks:
            return self._talks[0]
        if not self._clean.alive:
            raise PortFault("was stopped")
        if self._started > self._limits.restarts or self._timeouts >= self._limits.timeouts:
            raise PortFault(
                f"not started again: {self._started} processes of it have ended, "
                f"{self._timeouts} of them because time ran out"
            )
        self._started += 1
        self._log.forget()
        talk = Talk(self._argv, self._base / str(self._started), self._log, self._limits)
        self._talks.append(talk)
        if self._hello is not None and command != "hello":
            self.hello()
        return talk

    def _introduced(self, hello: Hello) -> Hello:
        """A port that is another one after a restart cannot be judged as one."""
        if hello.protocol != PROTOCOL_VERSION:
            raise PortFault(f"speaks protocol {hello.protocol}, not {PROTOCOL_VERSION}")
        if self._hello is not None and hello != self._hello:
            raise PortFault(f"was {_who(self._hello)}, and says now that it is {_who(hello)}")
        self._hello = hello
        return hello

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
