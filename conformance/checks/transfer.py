"""A session between two units as data: exported, imported, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import attrs

from conformance.case import Case, Context, family
from conformance.checks.bad_state import bad_state
from conformance.checks.isolation import contents, request
from conformance.checks.lifecycle import units
from conformance.checks.state_copies import no_trace, not_aliased, taken_is_copied
from conformance.checks.streaming import long_talk
from conformance.inputs import BARE, Content
from conformance.pairing import Kept, played, settled_after
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
from conformance.protocol import OpenRequest
from conformance.spread import LifeSpread
from spec.layout import Modalities
from spec.sizes import LAG_OF_SCHEDULE, Schedule

MOVED: Final = "WS-CONFORMANCE-17"
QUICK: Final = ("closed", "source-still-open")
"""Ways to move that show at once what is lost or shared."""


def export(session: str, state: str = "state") -> Step:
    return Step(do="export", session=session, state=state)


def take(session: str, state: str = "state") -> Step:
    return Step(do="import", session=session, state=state)


def moved_on(context: Context, how: Sequence[Step], into: Sequence[Step] = ()) -> list[Step]:
    """Session "a" is exported after three units, ``how`` goes on with it, and "b", which ``into``
    has happened to, takes its state."""
    asked = request(context)
    return [
        opened("a", asked),
        *units("a", 0, 3),
        export("a"),
        *how,
        opened("b", asked),
        *into,
        take("b"),
        *units("b", 0, 3, start=3),
        *ended("b"),
    ]


def went_on(context: Context) -> list[Step]:
    """What "b" must be: "a" itself, going on; another session is opened and closed beside it."""
    asked = request(context)
    return [
        opened("a", asked),
        *units("a", 0, 3),
        opened("c", asked),
        Step(do="close", session="c"),
        *units("a", 0, 3, start=3),
        *ended("a"),
    ]


def transfers(context: Context) -> dict[str, list[Step]]:
    """What may happen to the two sessions before the state is taken."""
    close = [Step(do="close", session="a")]
    other = units("a", 7, 2)
    return {
        "closed": moved_on(context, close),
        "stepped": moved_on(context, [*other, *close]),
        # Its next state is no business of the one that was taken before.
        "source-still-open": moved_on(context, [*other, export("a", "newer")]),
        "into-stepped": moved_on(context, close, units("b", 5, 2)),
        "into-longer": moved_on(context, close, units("b", 5, 5)),
        "after-a-round-trip": moved_on(context, [take("a"), export("a"), *close]),
    }


def transfer(context: Context) -> Iterator[Case]:
    """An imported session goes on bit for bit as the exported one would have
    (WS-CONFORMANCE-17)."""
    gone = played(context, went_on(context)).picked(lambda lives: _latter(lives[0]))
    for name, program in transfers(context).items():
        moved = played(context, program)
        yield Case(
            name=f"{name}-numbers",
            clauses=(MOVED,),
            further=name not in QUICK,
            judge=partial(_as_oracle, context, moved),
        )
        if name != "source-still-open":
            # Bits are compared only where the port has as many sessions open in both: one that
            # batches them rounds otherwise.
            yield Case(
                name=name,
                clauses=(MOVED,),
                further=name != "closed",
                judge=partial(_as_went_on, context, gone, moved),
            )
    for schedule in LAG_OF_SCHEDULE:
        for count in (0, 1, 2):
            yield Case(
                name=f"{schedule}-after-{count}-units",
                clauses=(MOVED,),
                further=True,
                judge=partial(
                    _as_oracle, context, played(context, _early(context, schedule, count))
                ),
            )
    forked = [
        *moved_on(context, [])[:-2],
        *units("a", 3, 2),
        *ended("b"),
        take("a"),
        *units("a", 9, 2),
        *ended("a"),
    ]
    yield _further("forked", partial(_as_oracle, context, played(context, forked)))
    if "reset" in context.hello.features:
        resets = [Step(do="reset", session="a"), *units("a", 7, 2)]
        moved = played(context, moved_on(context, [*resets, Step(do="close", session="a")]))
        yield _further("reset", partial(_as_went_on, context, gone, moved))
        back = [Step(do="reset", session="b"), *units("b", 4, 3), *ended("b")]
        program = [*moved_on(context, [Step(do="close", session="a")])[:-2], *back]
        yield _further("then-reset", partial(_as_oracle, context, played(context, program)))
    again = played(context, _second_import(context, 1))
    yield _further("second-import", partial(_as_oracle, context, again))
    yield _further("second-import-unmoved", partial(_first_gone, context, again))
    for name, asked in elsewhere(context).items():
        yield Case(
            name=name,
            clauses=(MOVED,),
            further=asked.preset != BARE,
            judge=partial(_moved_and_reset, context, asked),
        )
    yield _further("late", partial(_late, context))
    yield Case(name="not-aliased", clauses=(MOVED,), judge=partial(not_aliased, context))
    yield Case(name="taken-is-copied", clauses=(MOVED,), judge=partial(taken_is_copied, context))
    yield _further("export-leaves-no-trace", partial(no_trace, context))


def _further(name: str, judge: Callable[[], str | None]) -> Case:
    """A session that moves in another way, later or more often."""
    return Case(name=name, clauses=(MOVED,), further=True, judge=judge)


def _second_import(context: Context, seed: int) -> list[Step]:
    """Session "a" takes a state, goes on, takes another, and in the end begins anew; ``seed``
    changes values of the first state and of the unit after it."""
    asked = request(context)
    anew = [Step(do="reset", session="a"), *units("a", 3, 1)]
    return [
        opened("b", asked),
        *units("b", seed, 2),
        export("b", "first"),
        Step(do="close", session="b"),
        opened("c", asked),
        *units("c", 5, 1),
        export("c", "second"),
        Step(do="close", session="c"),
        opened("a", asked),
        take("a", "first"),
        *units("a", seed, 1, start=2),
        take("a", "second"),
        *units("a", 5, 2, start=1),
        *(anew if "reset" in context.hello.features else ()),
        *ended("a"),
    ]


def _first_gone(context: Context, again: Kept[list[Life]]) -> str | None:
    """Not a bit of the second life, nor of what comes after it, depends on the first."""
    context.need("kv_transfer")

    def later(lives: list[Life]) -> list[Life]:
        return [life for life in lives if life.session == "a"][2:]

    def judge(a: list[Life], b: list[Life]) -> str | None:
        reason = same_lives(a, b, ("a",))
        return reason and f"another state imported before it: {reason}"

    return settled_after(
        context,
        again.picked(later),
        played(context, _second_import(context, 2)).picked(later),
        judge,
        lambda a, b: same_lives(a, b, ("a",)),
        LifeSpread(context=context),
    )


def _early(context: Context, schedule: Schedule, count: int) -> list[Step]:
    asked = attrs.evolve(request(context), schedule=schedule)
    return [
        opened("a", asked),
        *units("a", 0, count),
        export("a"),
        Step(do="close", session="a"),
        opened("b", asked),
        take("b"),
        *units("b", 0, 3, start=count),
        *ended("b"),
    ]


def _as_oracle(context: Context, moved: Kept[list[Life]]) -> str | None:
    context.need("kv_transfer")
    return as_the_oracle(context, moved.first())


def _as_went_on(context: Context, gone: Kept[list[Life]], moved: Kept[list[Life]]) -> str | None:
    """The last life of the program against the same units without a move."""
    context.need("kv_transfer")

    def judge(a: list[Life], b: list[Life]) -> str | None:
        reason = same_lives(a, b, ("a",))
        return reason and f"exported, then imported: {reason}"

    def repeats(a: list[Life], b: list[Life]) -> str | None:
        return same_lives(a, b, ("a",))

    last = moved.picked(lambda lives: _latter(lives[-1]))
    return settled_after(context, gone, last, judge, repeats, LifeSpread(context=context))


def _latter(life: Life) -> list[Life]:
    outputs = {k: output for k, output in life.outputs.items() if k >= 3}
    return [attrs.evolve(life, session="a", outputs=outputs)]


def elsewhere(context: Context) -> dict[str, OpenRequest]:
    """Sessions of the other preset, and without what the others have."""
    return {
        "other-preset-no-face": OpenRequest(
            preset="tiny",
            schedule="sequential",
            dtype=context.dtype,
            prompt=(72, 105),
            modalities=Modalities(agent_video=False),
        ),
        "no-voice": OpenRequest(
            preset=BARE,
            schedule="sequential",
            dtype=context.dtype,
            modalities=Modalities(agent_audio=False),
        ),
    }


def _moved_and_reset(context: Context, asked: OpenRequest) -> str | None:
    """The same three units go on where they were, anew, and in another session."""
    first = stepped("a", contents(asked.preset, 0, 3))
    anew = [Step(do="reset", session="a"), *first] if "reset" in context.hello.features else []
    program = [
        opened("a", asked),
        *first[:2],
        export("a"),
        *first[2:],
        *anew,
        *ended("a"),
        opened("b", asked),
        take("b"),
        attrs.evolve(first[2], session="b"),
        *ended("b"),
    ]
    return _as_oracle(context, played(context, program))


def _late(context: Context) -> str | None:
    """What a session does after many units, not only after a few: another beside it, which is many
    units long too, does not disturb it; it moves; and it begins anew."""
    context.need("kv_transfer")
    script = long_talk(context)
    said = [unit.text for unit in context.run(script)]
    talk = [
        Content(seed=5, text=unit.text, agent_text=text)
        for unit, text in zip(script.units, said, strict=True)
    ]
    other = contents(BARE, 9, 12)
    a = [
        opened("a", script.open),
        *stepped("a", talk[:-2]),
        export("a"),
        *stepped("a", talk[-2:]),
    ]
    b = [
        opened("b", attrs.evolve(script.open, prompt=(80, 81))),
        *stepped("b", other),
        *ended("b"),
    ]
    c = [opened("c", script.open), take("c"), *stepped("c", talk[-2:]), *ended("c")]
    anew = [Step(do="reset", session="a"), *stepped("a", other[:2])]
    again = anew if "reset" in context.hello.features else []
    return as_the_oracle(context, play(context.port, [*in_turn(a, b), *again, *ended("a"), *c]))


_check = family("transfer", "session")

CHECKS = (
    _check("continues", ("WS-CONFORMANCE-17",), "A", transfer),
    _check("refused", ("WS-CONFORMANCE-17", "WS-CONFORMANCE-4"), "A", bad_state),
)
