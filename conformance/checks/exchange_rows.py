"""The KV exchange row by row: every event in every phase in which it can be brought about.

Expected answers are those of the tables in `spec.exchange`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Final

from conformance.case import Case, Check, Context
from conformance.checks.exchange_wire import SEEDS, played
from conformance.exchange import rows
from conformance.exchange.judging import answers_differently
from conformance.exchange.rows import Way
from spec import exchange
from spec.exchange_events import Event, Phase
from spec.sizes import LAG_OF_SCHEDULE, Schedule

E = Event
CLAUSES: Final[Mapping[str, tuple[Event, ...]]] = {
    "WS-EXCHANGE-1": (E.OPEN_MISFIT,),
    "WS-EXCHANGE-2": (E.OTHER_SESSION, E.WRONG_SIDE),
    "WS-EXCHANGE-3": (E.SLICE_MISFIT,),
    "WS-EXCHANGE-5": (E.SLICE_PART, E.PART_AGAIN),
    "WS-EXCHANGE-7": (
        E.SLICE_SEALED, E.SLICE_AGAIN, E.SLICE_CONFLICT, E.SLICE_MISCOUNTED, E.ACK, E.ACK_LATE,
        E.ACK_WRONG,
    ),
    "WS-EXCHANGE-8": (E.CORRUPT, E.SLICE_GAP, E.NACK, E.NACK_LATE, E.NACK_EARLY, E.NACK_WRONG),
    "WS-EXCHANGE-9": (
        E.SOLVED, E.LATENTS_NEXT, E.LATENTS_AGAIN, E.LATENTS_GAP, E.LATENTS_CONFLICT,
        E.LATENTS_FOREIGN, E.LATENTS_MISFIT, E.LATENTS_UNASKED, E.LATENTS_ACK, E.LATENTS_ACK_LATE,
        E.LATENTS_ACK_WRONG, E.LATENTS_NACK, E.LATENTS_NACK_VOID,
    ),
    "WS-EXCHANGE-10": (
        E.EXPORTED, E.EXPORTED_STALE, E.SOLVED_STALE, E.STALE_EPOCH, E.FUTURE_EPOCH, E.HELLO_NEW,
        E.HELLO_AGAIN, E.HELLO_OLD, E.OPEN_NEW, E.OPEN_AGAIN, E.OPEN_OTHER, E.SNAPSHOT_SEALED,
    ),
    "WS-EXCHANGE-11": (E.OFFER, E.OFFER_FULL, E.SLICE_EARLY, E.SLICE_SEALED),
    "WS-EXCHANGE-12": (
        E.PEER_LOST, E.FINISH, E.FINISH_DONE, E.CLOSE, E.PEER_FAILED, E.LATENTS_LAST,
    ),
    "WS-EXCHANGE-13": (E.TIMER,),
}  # fmt: skip
"""Which clauses say what an event does. `OFFER_OUT_OF_TURN` and `SOLVED_OUT_OF_TURN` are mistakes
of a side's own driver, which nobody can ask about."""
NEVER: Final = (("sequential", E.LATENTS_GAP),)
"""With one slice ahead, nothing is missing before the next latents."""


@cache
def told(schedule: Schedule, role: str) -> Mapping[Event, Sequence[tuple[Phase, Way]]]:
    """The scripts of one side by the event that they are about, and its phase; the tables' replies
    to them come with them, since the beginnings of many are the same."""
    played_out = [played(seed, schedule) for seed in range(SEEDS)]
    campaigns = (
        [each.thinker for each in played_out]
        if role == "thinker"
        else [performer for each in played_out for performer in each.performers]
    )
    found: dict[Event, list[tuple[Phase, Way]]] = {}
    for phase, event, way in rows.scripts(campaigns, f"{schedule}/{role}"):
        found.setdefault(event, []).append((phase, way))
    return found


def cases(context: Context) -> Iterator[Case]:
    """Every event that a side's table knows (WS-EXCHANGE-6)."""
    for machine in (exchange.PERFORMER, exchange.THINKER):
        known = {event for _, event in machine.transitions} | {
            event for guards in machine.guards.values() for _, event in guards
        }
        for event in dict.fromkeys(event for events in CLAUSES.values() for event in events):
            for schedule in LAG_OF_SCHEDULE:
                if event in known and (schedule, event) not in NEVER:
                    yield Case(
                        name=f"{machine.name}-{schedule}-{event}",
                        clauses=tuple(c for c, events in CLAUSES.items() if event in events),
                        # What is on its way at a time differs; the rows do not.
                        further=schedule != "overlapped",
                        judge=partial(_as_the_table, context, schedule, machine.name, event),
                    )


def _as_the_table(context: Context, schedule: Schedule, role: str, event: Event) -> str | None:
    for phase, way in told(schedule, role)[event]:
        replies = context.port.exchange(list(way.script))
        reason = answers_differently(way.script, replies, way.told.replies)
        if reason is not None:
            return f"{event} in phase {phase}: {reason}"
    return None


CHECKS = (
    Check(
        id="exchange/rows",
        clauses=tuple(CLAUSES),
        profile="split",
        tolerance="A",
        cases=cases,
    ),
)
