"""A port that writes down everything it is asked and answers: how cases become files.

A *run* is a sequence of commands that begins and ends with no session open, so it can be repeated
by itself, in another process and another language. Source: CHOICE (design §12: one case model).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from conformance import wire
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Port,
    Refusal,
    UnitInput,
    UnitOutput,
    Unsupported,
)

START: Final = ""
"""Key of a run to which nothing was said yet."""


@attrs.frozen
class ReplyOf:
    """Stands for an argument that is the reply to command ``index`` of the same run: what a port
    exported only that port can import."""

    index: int


@attrs.frozen(kw_only=True, eq=False)
class Said:
    """One command and its reply: a record, or one of `Unsupported` and `Refusal`."""

    command: str
    arguments: tuple[Any, ...]
    reply: Any


def key_after(before: str, command: str, arguments: Sequence[Any]) -> str:
    """Key of a run after one more command: a chain of digests, so equal keys mean equal runs."""
    said = f"{before}\n{command}\n{wire.digest(arguments)}"
    return hashlib.sha256(said.encode()).hexdigest()


def referring(arguments: Sequence[Any], replies: Sequence[Any]) -> tuple[Any, ...]:
    """``arguments`` with a `ReplyOf` for each that is one of ``replies``."""
    where = {id(reply): i for i, reply in enumerate(replies) if isinstance(reply, KvExport)}
    return tuple(ReplyOf(where[id(a)]) if id(a) in where else a for a in arguments)


def named(arguments: Sequence[Any], sessions: Mapping[str, str]) -> tuple[Any, ...]:
    """``arguments`` with another name for the session, which is the first if there is one."""
    first = tuple(sessions.get(a, a) if isinstance(a, str) else a for a in arguments[:1])
    return (*first, *arguments[1:])


class CommandPort:
    """A `Port` of which every command goes through one function."""

    def __init__(self, say: Callable[..., Any]) -> None:
        self._say = say

    def hello(self) -> Hello:
        return cast("Hello", self._say("hello"))

    def supports(self, feature: str) -> bool:
        return cast("bool", self._say("supports", feature))

    def load(self, request: LoadRequest) -> str:
        return cast("str", self._say("load", request))

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        return cast("Mapping[str, Array]", self._say("math", request))

    def codec(self, request: CodecRequest, data: Array) -> Array:
        return cast("Array", self._say("codec", request, data))

    def open(self, request: OpenRequest) -> str:
        return cast("str", self._say("open", request))

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return cast("Sequence[UnitOutput]", self._say("step", session, unit))

    def finish(self, session: str) -> Sequence[UnitOutput]:
        return cast("Sequence[UnitOutput]", self._say("finish", session))

    def reset(self, session: str) -> None:
        self._say("reset", session)

    def close(self, session: str) -> None:
        self._say("close", session)

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        return cast("Sequence[UnitOutput]", self._say("offline", request, tuple(units)))

    def probe(self, session: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        return cast("Mapping[str, Array]", self._say("probe", session, unit, tuple(points)))

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        return cast("Sequence[Json]", self._say("exchange", tuple(script)))

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self._say("kv_digest", session, up_to_unit))

    def export_kv(self, session: str) -> KvExport:
        return cast("KvExport", self._say("export_kv", session))

    def import_kv(self, session: str, state: KvExport) -> None:
        self._say("import_kv", session, state)


class Tape:
    """Records the runs of a port; ``port`` is what the suite talks to.

    Args:
        inner: the port that answers.
        keep: called with every finished run.
    """

    def __init__(self, inner: Port, keep: Callable[[tuple[Said, ...]], None]) -> None:
        self._inner = inner
        self._keep = keep
        self._run: list[Said] = []
        # Sessions are s0, s1, ... in each run, whatever the port calls them.
        self._open: dict[str, str] = {}
        self._opened = 0
        self.port: Port = CommandPort(self._say)

    def end_run(self) -> None:
        """What was left open ends here; the next command begins a run."""
        if self._run:
            self._keep(tuple(self._run))
        self._run, self._open, self._opened = [], {}, 0

    def _say(self, command: str, *arguments: Any) -> Any:
        passed = named(arguments, {mine: theirs for theirs, mine in self._open.items()})
        reply: Any
        try:
            reply = getattr(self._inner, command)(*passed)
        except (Unsupported, Refusal) as refusal:
            reply = refusal
        if command == "open" and isinstance(reply, str):
            self._open[reply] = reply = f"s{self._opened}"
            self._opened += 1
        told = referring(arguments, [said.reply for said in self._run])
        self._run.append(Said(command=command, arguments=told, reply=reply))
        if command == "close":
            self._open = {k: v for k, v in self._open.items() if v != arguments[0]}
        if not self._open:
            self.end_run()
        if isinstance(reply, Exception):
            raise reply
        return reply
