"""The weights before a session, its reset, and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import attrs

from conformance.case import Case, Context, family
from conformance.checks.isolation import contents, request, whole
from conformance.inputs import BARE, base
from conformance.pairing import Kept, played, settled_after
from conformance.programs import (
    Life,
    Step,
    as_the_oracle,
    ended,
    opened,
    same_lives,
    stepped,
)
from conformance.protocol import LoadRequest, Refusal, Unsupported
from conformance.recording import Script
from conformance.spread import LifeSpread
from spec.layout import Modalities
from spec.presets import PRESETS

ONLY_VOICE: Final = Modalities(
    user_text=False, user_audio=False, user_video=False, agent_text=False, agent_video=False
)

Plan = Callable[[Context, int], list[Step]]
"""A program; the seed changes values that must not matter to the session "a"."""


def load(context: Context) -> Iterator[Case]:
    """The digest of the recipe's weights (WS-RECIPE-7)."""
    for name in PRESETS:
        if name.startswith("tiny"):
            for dtype in context.hello.dtypes:
                wanted = LoadRequest(preset=name, dtype=dtype)
                yield Case(name=f"{name}-{dtype}", judge=partial(_loaded, context, wanted))
    unknown = LoadRequest(preset="no-such-preset", dtype=context.dtype)
    yield Case(name="unknown-preset", judge=partial(_not_loaded, context, unknown))


def _loaded(context: Context, wanted: LoadRequest) -> str | None:
    context.need("load")
    got, expected = context.port.load(wanted), context.oracle.load(wanted)
    return None if got == expected else f"digest {got} of {wanted.preset}, not {expected}"


def _not_loaded(context: Context, wanted: LoadRequest) -> str | None:
    context.need("load")
    try:
        digest = context.port.load(wanted)
    except Refusal:
        return None
    return f"weights of the unknown preset {wanted.preset} were loaded: {digest}"


def units(session: str, seed: int, count: int, start: int = 0) -> list[Step]:
    """Steps of the bare preset; ``start`` only picks other values."""
    return stepped(session, contents(BARE, seed, start + count)[start:])


def after_reset(context: Context, seed: int) -> list[Step]:
    """Three units, a reset, three others."""
    return [
        opened("a", request(context)),
        *units("a", seed, 3),
        Step(do="reset", session="a"),
        *units("a", 0, 3),
        *ended("a"),
    ]


def reset_twice(context: Context, seed: int) -> list[Step]:
    """Before the first unit, and twice in a row after the second."""
    reset = Step(do="reset", session="a")
    return [
        opened("a", request(context)),
        reset,
        *units("a", seed, 2),
        reset,
        reset,
        *units("a", 0, 3),
        *ended("a"),
    ]


def reset_again_and_again(context: Context, seed: int) -> list[Step]:
    """The fourth reset is as the first."""
    lives = [*units("a", seed, 1), Step(do="reset", session="a")] * 4
    return [opened("a", request(context)), *lives, *units("a", 0, 2), *ended("a")]


def reset_of_another(context: Context, seed: int) -> list[Step]:
    """The other session is reset while this one goes on."""
    a = whole(context, "a", 0, 4)
    b = [opened("b", request(context, seed)), *units("b", seed, 2)]
    return [*a[:2], *b, *a[2:3], Step(do="reset", session="b"), *a[3:], *ended("b")]


def reset_keeps_the_request(context: Context, seed: int) -> list[Step]:
    """Schedule, prompt and modalities stay as they were when the session was opened."""
    asked = attrs.evolve(request(context), schedule="sequential", prompt=(77, 78))
    return [
        opened("a", asked),
        *units("a", seed, 2),
        Step(do="reset", session="a"),
        *units("a", 0, 3),
        *ended("a"),
    ]


def reset_after_the_end(context: Context, seed: int) -> list[Step]:
    """A session that was finished is as when opened too."""
    return [
        opened("a", request(context)),
        *units("a", seed, 2),
        Step(do="finish", session="a"),
        Step(do="reset", session="a"),
        *units("a", 0, 2),
        *ended("a"),
    ]


def reset_of_nothing(context: Context, seed: int) -> list[Step]:
    """A session that was finished before its first unit begins anew like any other."""
    end = [Step(do="finish", session="a"), Step(do="reset", session="a")]
    b = [opened("b", request(context, seed)), *units("b", seed, 1), *ended("b")]
    return [*b, opened("a", request(context)), *end, *units("a", 0, 2), *ended("a")]


def reset_after_long(context: Context, seed: int) -> list[Step]:
    """After more units than any buffer of a few seconds holds: only a voice, for their price."""
    asked = request(context, modalities=ONLY_VOICE)
    many = [attrs.evolve(c, text=(), agent_text=None) for c in contents(BARE, seed, 18)]
    few = [attrs.evolve(c, text=(), agent_text=None) for c in contents(BARE, 0, 2)]
    reset = Step(do="reset", session="a")
    return [opened("a", asked), *stepped("a", many), reset, *stepped("a", few), *ended("a")]


RESETS: Final = (
    after_reset,
    reset_twice,
    reset_again_and_again,
    reset_of_another,
    reset_keeps_the_request,
    reset_after_the_end,
    reset_of_nothing,
    reset_after_long,
)


def reset(context: Context) -> Iterator[Case]:
    """After a reset a session is as it was when opened: the oracle's numbers, and not a bit that
    depends on what was before (WS-SESSION-4)."""
    for plan in RESETS:
        name = plan.__name__.replace("_", "-")
        further = plan in (reset_twice, reset_keeps_the_request)
        once = played(context, plan(context, 1))
        yield Case(name=name, further=further, judge=partial(_as_oracle, context, once))
        yield Case(
            name=f"{name}-unmoved",
            further=plan not in (after_reset, reset_after_the_end),
            judge=partial(_unmoved, context, once, plan),
        )


def _as_oracle(context: Context, once: Kept[list[Life]]) -> str | None:
    context.need("reset")
    return as_the_oracle(context, once.first())


def _unmoved(context: Context, once: Kept[list[Life]], plan: Plan) -> str | None:
    """The last life of "a" in two plays that differ in everything before it."""
    context.need("reset")

    def last(lives: list[Life]) -> list[Life]:
        return [life for life in lives if life.session == "a"][-1:]

    def judge(a: list[Life], b: list[Life]) -> str | None:
        reason = same_lives(a, b, ("a",))
        return reason and f"other values before it: {reason}"

    return settled_after(
        context,
        once.picked(last),
        played(context, plan(context, 2)).picked(last),
        judge,
        lambda a, b: same_lives(a, b, ("a",)),
        LifeSpread(context=context),
    )


def ending(context: Context) -> Iterator[Case]:
    """After its end a session is unknown, and its outputs come only once (WS-CONFORMANCE-4,
    WS-CONFORMANCE-6)."""
    commands: dict[str, Callable[[str, Script], object]] = {
        "step": lambda session, script: context.port.step(session, script.units[1]),
        "finish": lambda session, _: context.port.finish(session),
    }
    if "reset" in context.hello.features:
        commands["reset"] = lambda session, _: context.port.reset(session)
    if "kv_transfer" in context.hello.features:
        commands["export"] = lambda session, _: context.port.export_kv(session)
        commands["import"] = lambda session, script: context.port.import_kv(
            session, context.run.exported(script)
        )
    if "probe" in context.hello.features:
        commands["probe"] = lambda session, script: context.port.probe(session, script.units[1])
    for name, command in commands.items():
        yield Case(
            name=f"{name}-after-close",
            clauses=("WS-CONFORMANCE-4",),
            judge=partial(_closed, context, command),
        )
    yield Case(
        name="finish-twice",
        clauses=("WS-CONFORMANCE-6",),
        judge=partial(_finished_twice, context),
    )
    yield Case(
        name="finish-of-nothing",
        clauses=("WS-CONFORMANCE-6",),
        judge=partial(_finished_at_once, context),
    )


def script_of(context: Context) -> Script:
    return base(BARE, "overlapped", context.dtype, units=5, forced=True)


def _closed(context: Context, command: Callable[[str, Script], object]) -> str | None:
    script = script_of(context)
    session = context.port.open(script.open)
    context.port.step(session, script.units[0])
    context.port.close(session)
    try:
        command(session, script)
    except Refusal:
        return None
    return "a closed session still answers"


def _finished_twice(context: Context) -> str | None:
    script = script_of(context)
    session = context.port.open(script.open)
    try:
        outputs = [o.unit for u in script.units for o in context.port.step(session, u)]
        outputs += [o.unit for o in context.port.finish(session)]
        with suppress(Refusal, Unsupported):
            outputs += [o.unit for o in context.port.finish(session)]
    finally:
        context.port.close(session)
    wanted = [unit.unit for unit in script.units]
    return None if outputs == wanted else f"units {outputs} were answered, not {wanted}"


def _finished_at_once(context: Context) -> str | None:
    session = context.port.open(script_of(context).open)
    try:
        units = [output.unit for output in context.port.finish(session)]
    finally:
        context.port.close(session)
    return f"units {units} were answered, and none was asked" if units else None


_check = family("lifecycle", "session")

CHECKS = (
    _check("load", ("WS-RECIPE-7", "WS-RECIPE-3", "WS-RECIPE-6", "WS-CONFORMANCE-1"), "A", load),
    _check("reset", ("WS-SESSION-4",), "A", reset),
    _check("ending", ("WS-CONFORMANCE-4", "WS-CONFORMANCE-6"), "A", ending),
)
