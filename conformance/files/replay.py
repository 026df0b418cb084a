"""A port that answers from recorded runs: how files are judged by the same checks.

What is asked picks the run: after every command those runs are left that began like this. A run
that was recorded several times within one case is answered in that order, so that a check which
asks twice compares two answers; one that asks them once more is told the same again.
Source: CHOICE (design §12: one case model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from conformance.files.tape import Ends, Question, Run
from conformance.protocol import Inconclusive
from conformance.stdio.asking import AskingPort
from conformance.stdio.messages import Nothing, Session


@attrs.frozen(kw_only=True, eq=False)
class Recorded:
    """A run that was recorded: the key after each of its commands, and how to get the reply to the
    i-th: a record, or an exception to raise.

    ``repeat``: how often the same run had been recorded before in the same case.
    """

    keys: tuple[str, ...]
    repeat: int
    reply: Callable[[int], Any]


class Replay(AskingPort):
    """Answers from ``runs``; `begin_case` before every case."""

    def __init__(self, runs: Sequence[Recorded], ends: Ends = "closed") -> None:
        self._by_key: dict[str, list[Recorded]] = {}
        for run in sorted(runs, key=lambda r: r.repeat):
            for key in run.keys:
                self._by_key.setdefault(key, []).append(run)
        self._used: dict[str, int] = {}
        self._ends: Ends = ends
        self._begin()
        self._names = 0

    def _begin(self) -> None:
        self._run = Run(self._ends)
        self._chosen: Recorded | None = None

    def begin_case(self) -> None:
        """The next run is the first of its case."""
        self._used = {}
        self._begin()

    def _asked(self, command: str, arguments: Any) -> tuple[Question, list[Recorded]]:
        """The question in the run under way, and the runs that have it there."""
        closed = self._run.closed
        question = self._run.asked(command, arguments)
        candidates = self._by_key.get(self._run.key, [])
        if not candidates and closed and self._run.said:
            # The run was only kept for what it exported: this is the first question of another.
            self._over()
            question = self._run.asked(command, arguments)
            candidates = self._by_key.get(self._run.key, [])
        return question, candidates

    def _over(self) -> None:
        for key in self._chosen.keys if self._chosen is not None else ():
            self._used[key] = self._used.get(key, 0) + 1
        self._begin()

    def ask(self, command: str, arguments: Any) -> Any:
        question, candidates = self._asked(command, arguments)
        if not candidates:
            self._begin()
            if command == "close":
                # A check that gives up closes its session earlier than the run that was recorded.
                return Nothing()
            raise Inconclusive(f"no case of this folder asks for such a {command}")
        asked = self._used.get(self._run.key, 0)
        chosen = self._chosen = candidates[asked % len(candidates)]
        reply = chosen.reply(len(self._run.said))
        failed = isinstance(reply, Exception)
        opened = None
        if command == "open" and not failed:
            # A name of its own in each run, or two of them would seem to be one session.
            opened = f"recorded-{self._names}"
            self._names += 1
            reply = Session(session=opened)
        self._run.answered(question, reply, opened)
        if self._run.over:
            self._over()
        if failed:
            raise reply
        return reply
