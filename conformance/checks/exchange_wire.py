"""The KV exchange where nobody wrote the script: a hostile wire, and every field of every message.

Expected answers are those of the tables in `spec.exchange`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Final

from conformance.case import Case, Check, Context
from conformance.checks.exchange import Story
from conformance.checks.exchange_thinker import ThinkerStory
from conformance.exchange.campaign import Campaign, Scripts, sha
from conformance.exchange.judging import answers_differently
from conformance.exchange.meddling import Meddler, others
from conformance.protocol import Json
from spec.exchange_message import Close, LatentsAck, LatentsNack
from spec.sizes import LAG_OF_SCHEDULE, Schedule

SEEDS: Final = 8
MEDDLINGS: Final = 24
"""Scripts a campaign and side."""

FAULTS: Final = (
    "WS-EXCHANGE-7",
    "WS-EXCHANGE-8",
    "WS-EXCHANGE-9",
    "WS-EXCHANGE-10",
    "WS-EXCHANGE-5",
    "WS-EXCHANGE-11",
    "WS-EXCHANGE-12",
    "WS-EXCHANGE-13",
    "WS-EXCHANGE-2",
)


@cache
def played(seed: int, schedule: Schedule) -> Scripts:
    """The scripts of one campaign; the same on every machine."""
    return Campaign(seed, schedule).run()


def _on_both_sides(judge: Callable[[int, Schedule, str], str | None]) -> Iterator[Case]:
    """A case for each campaign and each side of it."""
    for schedule in LAG_OF_SCHEDULE:
        for seed in range(SEEDS):
            for role in ("thinker", "performer"):
                yield Case(
                    name=f"{role}-{schedule}-seed{seed}",
                    judge=partial(judge, seed, schedule, role),
                )


def campaigns(context: Context) -> Iterator[Case]:
    """Loss, copies, damage, disorder, crashes and strangers, at both sides (WS-EXCHANGE-13)."""
    return _on_both_sides(partial(_survives, context))


def meddled(context: Context) -> Iterator[Case]:
    """Campaigns that go on as nobody should, at both sides (WS-EXCHANGE-6)."""
    return _on_both_sides(partial(_withstands, context))


def _withstands(context: Context, seed: int, schedule: Schedule, role: str) -> str | None:
    scripts = played(seed, schedule)
    thinkers, performers = (scripts.thinker,), scripts.performers
    sides, peers = (thinkers, performers) if role == "thinker" else (performers, thinkers)
    for n in range(MEDDLINGS):
        name = f"{schedule}/{role}/{seed}/{n}"
        script = Meddler(sides[n % len(sides)], peers[n % len(peers)], name).run()
        reason = _differs(context, script)
        if reason is not None:
            return f"campaign {seed}, meddling {n}: {reason}"
    return None


def _survives(context: Context, seed: int, schedule: Schedule, role: str) -> str | None:
    scripts = played(seed, schedule)
    for script in (scripts.thinker,) if role == "thinker" else scripts.performers:
        reason = _differs(context, script)
        if reason is not None:
            return f"campaign {seed}: {reason}"
    return None


def _differs(context: Context, script: Sequence[Json]) -> str | None:
    return answers_differently(script, context.port.exchange(script))


def to_performer() -> dict[str, tuple[str, list[Json], Json]]:
    """For each kind of message: its clause, what came before, and a good one that comes next."""
    story = Story()
    story.slices(-1, 0)
    story.solved(0)
    before = list(story.script)
    ack = LatentsAck(session="story", epoch=0, unit=0, digest=sha("z0"))
    nexts = {
        "slice": ("WS-EXCHANGE-3", partial(story.slices, 1)),
        "latents-ack": ("WS-EXCHANGE-9", partial(story.arrive, ack)),
        "latents-nack": (
            "WS-EXCHANGE-9",
            partial(story.arrive, LatentsNack(session="story", epoch=0, unit=0)),
        ),
        "open": ("WS-EXCHANGE-1", partial(story.open, 1, 0)),
        "thinkers-close": (
            "WS-EXCHANGE-12",
            partial(story.arrive, Close(session="story", epoch=0, reason="")),
        ),
    }
    return {
        kind: (clause, before, _next(story.script, say)) for kind, (clause, say) in nexts.items()
    }


def to_thinker() -> dict[str, tuple[str, list[Json], Json]]:
    """The same for the other side."""
    story = ThinkerStory()
    story.begun()
    story.offer(0, 1)
    before = list(story.script)
    nexts = {
        "latents": ("WS-EXCHANGE-9", partial(story.latents, 0)),
        "slice-ack": ("WS-EXCHANGE-7", partial(story.ack, 1)),
        "slice-nack": ("WS-EXCHANGE-8", partial(story.nack, 0)),
        "hello": ("WS-EXCHANGE-10", partial(story.hello, 2)),
        "close": ("WS-EXCHANGE-12", story.close),
    }
    return {
        kind: (clause, before, _next(story.script, say)) for kind, (clause, say) in nexts.items()
    }


def _next(script: list[Json], say: Any) -> Json:
    say()
    return script.pop()


def tampered(context: Context) -> Iterator[Case]:
    """Each field of each message with other values, one at a time; a key too many; numbers and
    names that are far from the usual (WS-EXCHANGE-2, WS-EXCHANGE-3)."""
    for side in (to_performer(), to_thinker()):
        for kind, (clause, before, good) in side.items():
            for field in good["arrive"]["message"]:
                yield Case(
                    name=f"{kind}-{field}",
                    clauses=(clause, "WS-EXCHANGE-2", "WS-CONFORMANCE-8"),
                    judge=partial(_tampered, context, before, good, field),
                )
            yield Case(
                name=f"{kind}-more",
                clauses=("WS-EXCHANGE-2",),
                judge=partial(_with_more, context, before, good),
            )
    for name, (clause, tell) in FAR.items():
        yield Case(name=name, clauses=(clause,), judge=partial(_told, context, tell))


def far_performer() -> list[Json]:
    """After three hours, in an epoch that no byte holds."""
    story = Story()
    story.open(epoch=70_000, first=70_000)
    story.slices(70_000, 70_001)
    story.solved(70_001)
    story.slices(70_002)
    return story.script


def long_thinker() -> list[Json]:
    """Three minutes, in more units than a byte counts."""
    story = ThinkerStory()
    story.begun()
    for k in range(1100):
        story.offer(k)
        story.ack(k)
        story.latents(k)
    return story.script


def names() -> list[Json]:
    """In another letter case a name is another one."""
    story = Story(session="Story-1")
    story.slices(-1)
    for stranger in ("story-1", "STORY-1", "Story-10", "Story"):
        story.slices(0, session=stranger)
    story.slices(0)
    return story.script


FAR: Final[dict[str, tuple[str, Callable[[], list[Json]]]]] = {
    "far-performer": ("WS-EXCHANGE-7", far_performer),
    "long-thinker": ("WS-EXCHANGE-9", long_thinker),
    "names": ("WS-EXCHANGE-2", names),
}


MORE: Final = ("more", "id", "seq", "trace", "timestamp", "comment", "_")
"""Keys that no record has, though messages elsewhere do."""


def _told(context: Context, tell: Callable[[], list[Json]]) -> str | None:
    return _differs(context, tell())


def _with_more(context: Context, before: list[Json], good: Json) -> str | None:
    """A message with a key that its record has not; the good one follows."""
    letter = good["arrive"]
    for key in MORE:
        spoiled = {**letter, "message": {**letter["message"], key: 1}}
        reason = _differs(context, [*before, {"arrive": spoiled}, good])
        if reason is not None:
            return f"with {key!r}: {reason}"
    return None


def _tampered(context: Context, before: list[Json], good: Json, field: str) -> str | None:
    letter = good["arrive"]
    for value in others(letter["message"][field]):
        spoiled = {**letter, "message": {**letter["message"], field: value}}
        if field == "digest" and letter["payload_sha256"] is not None:
            # Another payload, truly described.
            spoiled["payload_sha256"] = value if isinstance(value, str) else sha("other")
        # The good one follows: what was ignored must have left no trace.
        reason = _differs(context, [*before, {"arrive": spoiled}, good])
        if reason is not None:
            return f"{letter['message']['kind']} with {field} {value!r}: {reason}"
    return None


CHECKS = (
    Check(
        id="exchange/hostile-wire",
        clauses=(*FAULTS, "WS-CONFORMANCE-8"),
        profile="split",
        tolerance="A",
        cases=campaigns,
    ),
    Check(
        id="exchange/meddled",
        clauses=("WS-EXCHANGE-3", "WS-EXCHANGE-1", *FAULTS),
        profile="split",
        tolerance="A",
        cases=meddled,
    ),
    Check(
        id="exchange/tampered",
        clauses=(
            "WS-EXCHANGE-3",
            "WS-EXCHANGE-1",
            "WS-EXCHANGE-2",
            "WS-EXCHANGE-7",
            "WS-EXCHANGE-8",
            "WS-EXCHANGE-9",
            "WS-EXCHANGE-10",
            "WS-EXCHANGE-12",
            "WS-CONFORMANCE-8",
        ),
        profile="split",
        tolerance="A",
        cases=tampered,
    ),
)
