"""A port that answers from recorded runs: how files are judged by the same checks.

What is asked picks the run: after every command those runs are left that began like this. A run
that was recorded several times within one case is answered in that order, so that a check which
asks twice compares two answers. Source: CHOICE (design §12: one case model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from conformance.files.tape import START, CommandPort, key_after, named, referring
from conformance.protocol import Inconclusive, Port


@attrs.frozen(kw_only=True, eq=False)
class Recorded:
    """A run that was recorded: the key after each command, and the replies when they are wanted.

    ``repeat``: how often the same run had been recorded before in its case.
    """

    name: str
    keys: tuple[str, ...]
    repeat: int
    replies: Callable[[], Sequence[Any]]


class Replay:
    """``port`` answers from ``runs``; `begin_case` before every case."""

    def __init__(self, runs: Sequence[Recorded]) -> None:
        self._by_key: dict[str, list[Recorded]] = {}
        for run in sorted(runs, key=lambda r: r.repeat):
            for key in run.keys:
                self._by_key.setdefault(key, []).append(run)
        self._used: dict[str, int] = {}
        self._key = START
        self._replies: list[Any] = []
        self._open: dict[str, str] = {}
        self._opened = 0
        self._names = 0
        self.port: Port = CommandPort(self._say)

    def begin_case(self) -> None:
        """The next run is the first of its case."""
        self._used = {}
        self._end_run()

    def _end_run(self) -> None:
        self._key, self._replies, self._open, self._opened = START, [], {}, 0

    def _say(self, command: str, *arguments: Any) -> Any:
        told = referring(named(arguments, self._open), self._replies)
        self._key = key_after(self._key, command, told)
        candidates = self._by_key.get(self._key)
        if candidates is None:
            self._end_run()
            raise Inconclusive(f"no case of this folder asks for such a {command}")
        asked = self._used.get(self._key, 0)
        run = candidates[min(asked, len(candidates) - 1)]
        reply = run.replies()[len(self._replies)]
        if command == "open" and isinstance(reply, str):
            # A name of its own in each run, or two of them would seem to be one session.
            reply = f"recorded-{self._names}"
            self._names += 1
            self._open[reply] = f"s{self._opened}"
            self._opened += 1
        self._replies.append(reply)
        if command == "close":
            self._open.pop(arguments[0], None)
        if not self._open:
            for key in run.keys:
                self._used[key] = self._used.get(key, 0) + 1
            self._end_run()
        if isinstance(reply, Exception):
            raise reply
        return reply
