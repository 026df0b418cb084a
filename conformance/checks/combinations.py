"""Sessions in which everything is combined with everything: each two choices meet in one of them.

What is right with sound, and right with an empty prompt, may be wrong with both. A session is drawn
for each pair of choices that has not met yet, always the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import combinations
from random import Random
from typing import Any, Final

from conformance.case import Case, Context, family
from conformance.checks.streaming import fed_back, well_chosen
from conformance.inputs import BARE, Content, Signal, identity, script_of
from conformance.protocol import OpenRequest
from conformance.recording import Script
from conformance.tolerance import MANY
from spec.layout import Modalities
from spec.presets import preset_named

UNITS: Final = 3
SHOWN: Final = 3
"""Sessions that a run of one clause asks for, too."""
TRIES: Final = 20
"""Candidates for each session, of which the one with the most new pairs is taken."""

DEAR: Final = 12
"""Pairs that a session of the dearer preset must be ahead."""

Row = Mapping[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]
FACTORS: Final[Mapping[str, Sequence[Any]]] = {
    "preset": (BARE, "tiny"),
    "schedule": ("overlapped", "sequential"),
    "hears": ("text audio video", "text", "audio", "video", ""),
    "answers": ("text audio video", "text", "audio", "video", "text audio"),
    "prompt": (0, 1, 3, 28),
    "identity": ((False, 0), (True, 0), (False, 4), (True, 2)),
    "audio": ("drawn", "square", "then-zero", "zero"),
    "video": ("drawn", "alike", "held", "square"),
    "typing": ("", "x", "..x", "xxx"),
    "words": ("own", "drawn", "waits", "eos"),
    "noise": ("drawn", "huge", "zero"),
    "dtype": ("main", "float64"),
}
"""What a session is made of. ``audio``: what is heard in unit 0, and afterwards; ``video``: "alike"
is the same in every unit; ``typing``: an ``x`` for each unit in which the user fills all slots."""


def pairs(row: Row) -> set[Pair]:
    return set(combinations(sorted(row.items()), 2))


@cache
def rows() -> tuple[Row, ...]:
    """Sessions in which every two choices meet; greedy, from a fixed seed."""
    draw = Random("combinations")
    left = {
        ((a, x), (b, y))
        for a, b in combinations(sorted(FACTORS), 2)
        for x in FACTORS[a]
        for y in FACTORS[b]
    }
    found: list[Row] = []
    while left:
        wanted = sorted(left, key=str)
        candidates = [_around(draw.choice(wanted), left, draw) for _ in range(TRIES)]
        best = max(
            candidates, key=lambda row: len(pairs(row) & left) - DEAR * (row["preset"] != BARE)
        )
        found.append(best)
        left -= pairs(best)
    return tuple(found)


def _around(pair: Pair, left: set[Pair], draw: Random) -> Row:
    """A session with a pair that has not met; everything else is chosen, in any order, for the
    most new pairs with what is chosen already."""
    row: dict[str, Any] = dict(pair)

    def new(choice: tuple[str, Any]) -> int:
        return sum(tuple(sorted((choice, other))) in left for other in row.items())

    others = [name for name in FACTORS if name not in row]
    for name in draw.sample(others, len(others)):
        choices = draw.sample(FACTORS[name], len(FACTORS[name]))
        row |= [max([(name, choice) for choice in choices], key=new)]
    return row


def session_of(context: Context, row: Row) -> Script:
    """The session that ``row`` describes."""
    preset = preset_named(row["preset"])
    hears, answers = row["hears"].split(), row["answers"].split()
    has = {f"user_{m}": m in hears for m in ("text", "audio", "video")}
    has |= {f"agent_{m}": m in answers for m in ("text", "audio", "video")}
    image, ticks = row["identity"]
    known = "identity" in context.hello.features and (image or ticks)
    dtype = context.in_sessions("float64") if row["dtype"] == "float64" else context.dtype
    request = OpenRequest(
        preset=preset.name,
        schedule=row["schedule"],
        dtype=dtype,
        modalities=Modalities(**has),
        prompt=tuple(97 + 5 * i % 26 for i in range(row["prompt"])),
        identity=identity(preset.name, dtype, image=image, voice_ticks=ticks) if known else None,
    )
    return script_of(request, [_content(row, preset, k) for k in range(UNITS)])


def _content(row: Row, preset: Any, k: int) -> Content:
    audio: Signal = row["audio"] if row["audio"] != "then-zero" else ("zero" if k else "drawn")
    slots, tokens = preset.agent_text_slots, preset.tokenizer
    said = {
        "own": None,
        "drawn": tuple(65 + (5 * k + 11 * i) % 26 for i in range(slots)),
        "waits": (tokens.wait,) * slots,
        "eos": (65, *(tokens.eos,) * (slots - 1)),
    }
    types = row["typing"][k : k + 1] == "x"
    return Content(
        text=tuple(97 + (7 * k + i) % 26 for i in range(preset.user_text_slots)) if types else (),
        agent_text=said[row["words"]],
        audio=audio,
        video="constant" if row["video"] == "alike" else row["video"],
        noise=row["noise"],
    )


def cases(context: Context) -> Iterator[Case]:
    """Every session against the oracle; its own words are the largest logits (WS-STREAMING-10)."""
    for i, row in enumerate(rows()):
        yield Case(name=f"{i:02}", further=i >= SHOWN, judge=partial(_judge, context, row))


def _judge(context: Context, row: Row) -> str | None:
    script = session_of(context, row)
    reason = well_chosen(context, script) or fed_back(context, script, wider=MANY)
    return reason and f"{reason}; a session of {dict(row)}"


CHECKS = (
    family("session", "session")("combinations", ("WS-SESSION-1", "WS-LAYOUT-5"), "C", cases),
)
