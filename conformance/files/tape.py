"""A port that writes down everything it is asked and answers: how cases become files.

A *run* is a sequence of commands that begins and ends with no session open, so it can be repeated
by itself, in another process and another language. Whoever asks may overwrite what was asked and
what was answered, so a tape keeps copies. Source: CHOICE (design §12: one case model).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import attrs

from conformance import wire
from conformance.files import altered
from conformance.protocol import Array, Json, KvExport, Port, Refusal, Unsupported
from conformance.stdio.answering import ACTIONS
from conformance.stdio.asking import AskingPort
from conformance.stdio.messages import ImportArguments
from spec.errors import WanStreamerError

Ends = Literal["closed", "unexported", "never"]
"""When a run is over: no session is open; besides, nothing in it was exported, which another
session may still take; or only when somebody says so."""

START: Final = ""
"""Key of a run to which nothing was said yet."""


class Crash(Exception):  # noqa: N818 - a reply, like `Refusal`
    """The port failed for a reason of its own; one line says how."""


@attrs.frozen(kw_only=True, eq=False)
class Question:
    """A command with its arguments as they are recorded: JSON data and the arrays in it.

    Sessions are called s0, s1, ... in the order in which a run opens them. What a port exported
    only that port can import: it stands as ``{"reply_of": i}``, i the place of the command in its
    run, from 0, with ``"altered"`` if a check has changed it since (`conformance.files.altered`).
    """

    command: str
    data: Any
    tensors: Mapping[str, Array]


@attrs.frozen(kw_only=True, eq=False)
class Said:
    """A question and its reply: results as data and arrays, or one of `Unsupported`, `Refusal` and
    `Crash`."""

    question: Question
    reply: Any


class Run:
    """The run under way: what sessions are called in it, and how far it has come."""

    def __init__(self, ends: Ends = "closed") -> None:
        self.key = START
        self.said: list[Said] = []
        self._ends = ends
        self._exports: list[tuple[int, KvExport]] = []
        self._open: dict[str, str] = {}
        self._opened = 0

    @property
    def closed(self) -> bool:
        """No session is open."""
        return not self._open

    @property
    def over(self) -> bool:
        """Nothing that is asked from now on can belong to it."""
        lasting = self._ends == "never" or (self._ends == "unexported" and self._exports)
        return self.closed and not lasting

    def asked(self, command: str, arguments: Any) -> Question:
        """The question as it is recorded; `key` now counts it in."""
        session = getattr(arguments, "session", None)
        if session in self._open:
            arguments = attrs.evolve(arguments, session=self._open[session])
        state = None
        if isinstance(arguments, ImportArguments):
            state = self._origin_of(arguments.state)
        data, tensors = wire.encode(arguments)
        tensors = {name: _kept(array) for name, array in tensors.items()}
        if state is not None:
            data = {**data, "state": state}
            tensors = {k: v for k, v in tensors.items() if not k.startswith("state.")}
        question = Question(command=command, data=data, tensors=tensors)
        self.key = key_after(self.key, question)
        return question

    def _origin_of(self, state: KvExport) -> Json | None:
        """Which reply ``state`` is, or was before it was altered."""
        for i, reply in self._exports:
            if reply is state:
                return {"reply_of": i}
        for i, reply in reversed(self._exports):
            words = altered.described(reply, state)
            if words is not None:
                return {"reply_of": i, "altered": words} if words else {"reply_of": i}
        return None

    def answered(self, question: Question, reply: Any, opened: str | None) -> None:
        """The reply came; ``opened`` is what the caller knows a new session by."""
        if isinstance(reply, KvExport):
            self._exports.append((len(self.said), reply))
        self.said.append(Said(question=question, reply=_kept_reply(reply)))
        if opened is not None:
            self._open[opened] = f"s{self._opened}"
            self._opened += 1
        if question.command == "close":
            name = question.data["session"]
            self._open = {theirs: ours for theirs, ours in self._open.items() if ours != name}


def _kept(array: Array) -> Array:
    """The array as it is now."""
    return array.copy() if array.flags.writeable else array


def _kept_reply(reply: Any) -> Any:
    if isinstance(reply, Exception):
        return reply
    data, tensors = wire.encode(reply)
    return data, {name: _kept(array) for name, array in tensors.items()}


def key_after(before: str, question: Question) -> str:
    """Key of a run after one more question: a chain of digests, so equal keys mean equal runs."""
    h = hashlib.sha256(f"{before}\n{question.command}\n".encode())
    h.update(json.dumps(question.data, sort_keys=True).encode())
    for name, array in sorted(question.tensors.items()):
        h.update(f"\n{name}:{wire.array_digest(array)}".encode())
    return h.hexdigest()


class Tape(AskingPort):
    """A port around ``inner`` that hands every finished run to ``keep``, with its last key."""

    def __init__(
        self, inner: Port, keep: Callable[[str, tuple[Said, ...]], None], ends: Ends = "closed"
    ) -> None:
        self._inner = inner
        self._keep = keep
        self._ends: Ends = ends
        self._run = Run(ends)

    def end_run(self) -> None:
        """What was left open ends here; the next command begins a run."""
        if self._run.said:
            self._keep(self._run.key, tuple(self._run.said))
        self._run = Run(self._ends)

    def ask(self, command: str, arguments: Any) -> Any:
        question = self._run.asked(command, arguments)
        reply: Any
        try:
            reply = ACTIONS[command](self._inner, arguments)
        except (Unsupported, Refusal) as refusal:
            reply = refusal
        except WanStreamerError as error:
            reply = Refusal(error.what, error.value, error.allowed)
        except Exception as error:  # noqa: BLE001 - whatever a port does is on the tape
            reply = Crash(" ".join(f"{type(error).__name__}: {error}".split()))
        failed = isinstance(reply, Exception)
        opened = reply.session if command == "open" and not failed else None
        self._run.answered(question, reply, opened)
        if self._run.over:
            self.end_run()
        if failed:
            raise reply
        return reply
