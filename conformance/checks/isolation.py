"""Sessions of one port do not affect each other, whatever the order of their steps.

Held in two ways, since neither is enough. Together with others a session gives the oracle's numbers
(class C: a port that computes sessions together may add up in another order). And when nothing
changes but the values that another session is given, it keeps every bit (class A: a tolerance
cannot see a small leak).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import attrs
import numpy as np

from conformance import arrays
from conformance.case import Case, Check, Context
from conformance.guard import PortFault
from conformance.inputs import BARE, PROMPT, Content, base
from conformance.pairing import Kept, as_undisturbed, played, settled_after
from conformance.programs import (
    Life,
    Step,
    as_the_oracle,
    ended,
    in_turn,
    opened,
    play,
    same_lives,
    stepped,
)
from conformance.protocol import (
    PARTS,
    CodecRequest,
    LoadRequest,
    OpenRequest,
    Part,
    Refusal,
    UnitInput,
    wire_dtype,
)
from conformance.recording import streamed
from conformance.shapes import codec_shapes
from conformance.spread import LifeSpread
from spec.layout import Modalities
from spec.presets import preset_named
from spec.sizes import Schedule

Plan = Callable[[Context, int], list[Step]]
"""A program in which the session "a" is always the same, and the others are made with a seed."""

VOICE = Modalities(user_text=False, user_video=False, agent_video=False)
TEXT = Modalities(user_audio=False, user_video=False, agent_audio=False, agent_video=False)


def contents(preset: str, seed: int, units: int) -> list[Content]:
    """Units with 0, 1, … user tokens, and the agent's text prescribed."""
    sizes = preset_named(preset)
    return [
        Content(
            seed=seed,
            text=tuple(97 + (5 * k + 3 * i + seed) % 26 for i in range(k % 3)),
            agent_text=tuple(65 + (7 * k + i + seed) % 26 for i in range(sizes.agent_text_slots)),
        )
        for k in range(units)
    ]


def request(
    context: Context, seed: int = 0, preset: str = BARE, modalities: Modalities | None = None
) -> OpenRequest:
    """``seed`` changes the values of the prompt, not its length."""
    return OpenRequest(
        preset=preset,
        schedule=preset_named(preset).schedule,
        dtype=context.dtype,
        prompt=tuple(token + seed for token in PROMPT),
        modalities=modalities or Modalities(),
    )


def whole(context: Context, session: str, seed: int, units: int = 3) -> list[Step]:
    """One session from beginning to end."""
    return [
        opened(session, request(context, seed)),
        *stepped(session, contents(BARE, seed, units)),
        *ended(session),
    ]


def two_in_turn(context: Context, seed: int) -> list[Step]:
    """A unit of one and a unit of the other."""
    return in_turn(whole(context, "a", 0), whole(context, "b", seed))


def second_first(context: Context, seed: int) -> list[Step]:
    """The other session is opened, and always stepped, before this one."""
    return in_turn(whole(context, "b", seed), whole(context, "a", 0))


def in_bursts(context: Context, seed: int) -> list[Step]:
    """Two units here, three there, and so on."""
    a, b = whole(context, "a", 0, 5), whole(context, "b", seed, 5)
    return [*a[:1], *b[:1], *a[1:3], *b[1:4], *a[3:4], *b[4:6], *a[4:], *b[6:]]


def while_another_is_open(context: Context, seed: int) -> list[Step]:
    """The other has had a unit, and waits."""
    b = whole(context, "b", seed)
    return [*b[:2], *whole(context, "a", 0), *b[2:]]


def after_another(context: Context, seed: int) -> list[Step]:
    """The other has ended."""
    return [*whole(context, "b", seed), *whole(context, "a", 0)]


def after_its_like(context: Context, seed: int) -> list[Step]:
    """The other had the same prompt, which is whole pages of 8, of 16 or of 32 tokens."""
    asked = attrs.evolve(request(context, modalities=TEXT), prompt=tuple(range(66, 97)))
    a, b = (
        [opened(name, asked), *stepped(name, contents(BARE, values, 2)), *ended(name)]
        for name, values in (("a", 0), ("b", seed))
    )
    return [*b, *a]


def beside_another_beginning(context: Context, seed: int) -> list[Step]:
    """The other's prompt differs in its first token only, so whole pages after it are alike."""
    runs = []
    for name, first, own in (("b", 49 + seed, seed), ("a", 66, 0)):
        asked = attrs.evolve(request(context, modalities=TEXT), prompt=(first, *range(67, 97)))
        runs.append([opened(name, asked), *stepped(name, contents(BARE, own, 2)), *ended(name)])
    return in_turn(*runs)


def after_one_left(context: Context, seed: int) -> list[Step]:
    """The other was closed in the middle, its outputs never fetched."""
    left = [*whole(context, "b", seed, 5)[:-2], Step(do="close", session="b")]
    return [*left, *whole(context, "a", 0)]


def after_many(context: Context, seed: int) -> list[Step]:
    """Eight others were open at once, and were closed in another order."""
    others = [f"b{i}" for i in range(8)]
    opens = [opened(name, request(context, seed + i)) for i, name in enumerate(others)]
    closes = [Step(do="close", session=name) for name in (*others[1::2], *others[::2])]
    return [*opens, *closes, *whole(context, "a", 0)]


def among_many(context: Context, seed: int) -> list[Step]:
    """Eight others are opened between two of its units, some with the same prompt, and are closed
    in another order between two more."""
    others = [f"b{i}" for i in range(8)]
    # What was opened last is not what is stepped next.
    schedules: tuple[Schedule, ...] = ("sequential", "overlapped")
    opens = [
        opened(
            name,
            attrs.evolve(request(context, (seed + i) * (i % 2)), schedule=schedules[i // 4]),
        )
        for i, name in enumerate(others)
    ]
    steps = [
        *stepped("b0", contents(BARE, seed, 2)),
        *stepped("b1", contents(BARE, seed, 1)),
        # The ninth.
        *stepped("b7", contents(BARE, seed + 1, 1)),
    ]
    closes = [Step(do="close", session=name) for name in (*others[1::2], *others[::2])]
    a = whole(context, "a", 0, 5)
    return [*a[:2], *opens, *a[2:3], *steps, *a[3:4], *closes[:5], *a[4:5], *closes[5:], *a[5:]]


def among_forty(context: Context, seed: int) -> list[Step]:
    """Thirty-nine others are open, which only write; then it goes on, and so does the last."""
    others = [f"b{i}" for i in range(39)]
    opens = [opened(name, request(context, seed, modalities=TEXT)) for name in others]
    a = whole(context, "a", 0)
    last = [*stepped(others[-1], contents(BARE, seed, 1)), *ended(others[-1])]
    return [*a[:2], *opens, *a[2:], *last]


def all_kinds(context: Context, seed: int) -> list[Step]:
    """Four at once, with other presets, schedules, modalities and dtypes."""
    other = context.in_sessions(context.hello.dtypes[-1])
    kinds = {
        "a": request(context),
        "b": attrs.evolve(request(context, seed, "tiny"), dtype=other),
        "c": attrs.evolve(request(context, seed, BARE, VOICE), schedule="sequential"),
        "d": attrs.evolve(request(context, seed, "tiny-lag0", TEXT), prompt=()),
    }
    return in_turn(
        *(
            [
                opened(name, kind),
                *stepped(name, contents(kind.preset, 0 if name == "a" else seed, 3)),
                *ended(name),
            ]
            for name, kind in kinds.items()
        )
    )


def together_for_long(context: Context, seed: int) -> list[Step]:
    """Two that only speak, for more units than a port would decode before it keeps its buffers."""
    has = Modalities(
        user_text=False, user_audio=False, user_video=False, agent_text=False, agent_video=False
    )
    runs = []
    for name, own in (("a", 0), ("b", seed)):
        given = [attrs.evolve(c, text=(), agent_text=None) for c in contents(BARE, own, 10)]
        asked = request(context, own, modalities=has)
        runs.append([opened(name, asked), *stepped(name, given), *ended(name)])
    return in_turn(*runs)


PLANS: dict[str, tuple[Plan, ...]] = {
    "interleaved": (
        two_in_turn,
        second_first,
        in_bursts,
        among_many,
        among_forty,
        all_kinds,
        together_for_long,
        beside_another_beginning,
    ),
    "fresh-start": (
        after_another,
        after_its_like,
        while_another_is_open,
        after_one_left,
        after_many,
    ),
}


SHOWN_ONCE = (
    among_many,
    among_forty,
    together_for_long,
    beside_another_beginning,
    after_its_like,
)
"""What these show is seen in the oracle's numbers."""

FURTHER = (
    second_first,
    in_bursts,
    all_kinds,
    while_another_is_open,
    after_one_left,
    after_many,
)
"""Other orders and kinds of what `two_in_turn`, `among_many` and `after_another` show."""


def cases(plans: Sequence[Plan], context: Context) -> Iterator[Case]:
    """Each plan against the oracle, then with other values in the other sessions
    (WS-SESSION-3)."""
    for plan in plans:
        name = plan.__name__.replace("_", "-")
        further = plan in FURTHER
        once = played(context, plan(context, 1))
        yield Case(name=name, further=further, judge=partial(_as_alone, context, once))
        yield Case(
            name=f"{name}-unmoved",
            further=further or plan in SHOWN_ONCE,
            judge=partial(_unmoved, context, once, plan),
        )


def _as_alone(context: Context, once: Kept[list[Life]]) -> str | None:
    return as_the_oracle(context, once.first())


def _unmoved(context: Context, once: Kept[list[Life]], plan: Plan) -> str | None:
    def judge(a: list[Life], b: list[Life]) -> str | None:
        reason = same_lives(a, b, ("a",))
        return reason and f"other values in another session: {reason}"

    return settled_after(
        context,
        once,
        played(context, plan(context, 2)),
        judge,
        lambda a, b: same_lives(a, b, ("a",)),
        LifeSpread(context=context),
    )


def among_other_commands(context: Context) -> Iterator[Case]:
    """Parts, the offline form and weights are asked for between the units of a session, which is
    none of their business (WS-SESSION-3)."""
    yield Case(name="among-other-commands", judge=partial(_among_other_commands, context))


def _among_other_commands(context: Context) -> str | None:
    script = base(BARE, "overlapped", context.dtype, units=3, forced=True)
    other = base(BARE, "overlapped", context.dtype, units=2, forced=True, seed=7)
    asked: list[Callable[[], object]] = []
    if "codec" in context.hello.features:
        asked += [partial(_part, context, part) for part in PARTS]
    if "offline" in context.hello.features:
        asked.append(lambda: context.port.offline(other.open, other.units))
    if "load" in context.hello.features:
        for preset in (BARE, "tiny"):
            wanted = LoadRequest(preset=preset, dtype=context.dtype)
            asked.append(partial(context.port.load, wanted))

    def commands(_session: str, _unit: UnitInput) -> None:
        for command in asked:
            command()

    alone = partial(context.run.stream, script)
    among = partial(streamed, context.port, script, commands)
    return as_undisturbed(context, script, alone, among, "other commands between its units")


def _part(context: Context, part: Part) -> None:
    request = CodecRequest(preset=BARE, dtype=context.dtype, part=part, plan=(1,))
    shape, _ = codec_shapes(preset_named(BARE), part, 1)
    data = arrays.uniform(f"conformance/between/{part}", shape).astype(np.float32)
    context.port.codec(request, data.astype(wire_dtype(context.dtype)))


def interleaved(context: Context) -> Iterator[Case]:
    """Two sessions in turn, many at once, and all other commands between (WS-SESSION-3)."""
    yield from cases(PLANS["interleaved"], context)
    yield from among_other_commands(context)
    yield Case(name="closed-twice", judge=partial(_closed_twice, context))


def _closed_twice(context: Context) -> str | None:
    """Who closes what is closed, refused or not, does not make two sessions one."""
    script = base(BARE, "overlapped", context.dtype, units=1, forced=True)
    session = context.port.open(script.open)
    context.port.step(session, script.units[0])
    context.port.close(session)
    with suppress(Refusal, PortFault):
        context.port.close(session)
    return as_the_oracle(context, play(context.port, two_in_turn(context, 1)))


CHECKS = tuple(
    Check(
        id=f"session/{stem}",
        clauses=("WS-SESSION-3",),
        profile="session",
        tolerance="A",
        cases=interleaved if stem == "interleaved" else partial(cases, plans),
    )
    for stem, plans in PLANS.items()
)
