"""What a port answered to an exchange script against what the tables of `spec.exchange` answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Protocol

from conformance.case import Case
from conformance.exchange.script import answer
from conformance.protocol import Json
from spec.sizes import LAG_OF_SCHEDULE, Schedule


def answers_differently(
    script: Sequence[Json], replies: Sequence[Json], known: Sequence[Json] | None = None
) -> str | None:
    """The first entry whose reply is not the tables', or None (WS-CONFORMANCE-8).

    Args:
        known: the tables' replies, where somebody has asked for them already.
    """
    expected = answer(script) if known is None else known
    for i, (reply, wanted) in enumerate(zip(replies, expected, strict=True)):
        if reply == wanted:
            continue
        got = _comparable(reply)
        for key, value in _comparable(wanted).items():
            if got.get(key) != value:
                return (
                    f"entry {i} ({next(iter(script[i]))}), {key}:"
                    f" {_short(got.get(key))} against {_short(value)}"
                )
    return None


class Told(Protocol):
    """A story as a check keeps it; ``clause`` is the one that it is about."""

    @property
    def clause(self) -> str: ...


def cases_of(
    stories: Mapping[str, Told],
    in_both_schedules: Collection[str],
    judge: Callable[[str, Schedule], str | None],
) -> Iterator[Case]:
    """Every story under the overlapped schedule, some under both (WS-CONFORMANCE-8)."""
    for name, told in stories.items():
        for schedule in LAG_OF_SCHEDULE:
            if schedule == "overlapped" or name in in_both_schedules:
                yield Case(
                    name=f"{name}-{schedule}",
                    clauses=(told.clause, "WS-CONFORMANCE-8"),
                    judge=partial(judge, name, schedule),
                )


def _comparable(reply: Json) -> Json:
    """Without the wording of a complaint: what counts is that there is one. The transport keeps no
    order, so only that of the units in messages of one kind can mean anything
    (WS-CONFORMANCE-8)."""
    sent = [
        {**m, "reason": bool(m["reason"])} if m.get("kind") == "close" else m
        for m in sorted(reply.get("sent", []), key=lambda m: str(m.get("kind")))
    ]
    runs = groupby(sent, key=lambda m: (m.get("kind"), m.get("unit")))
    ordered = [m for _, parts in runs for m in sorted(parts, key=_text)]
    return {**json.loads(json.dumps(reply)), "sent": json.loads(json.dumps(ordered))}


def _text(message: Json) -> str:
    return json.dumps(message, sort_keys=True)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."
