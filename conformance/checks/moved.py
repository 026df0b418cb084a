"""Sessions of every kind move, begin anew after that, and are laid out afterwards as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import attrs

from conformance.case import Case, Context, family
from conformance.checks.cache import rows_off
from conformance.checks.identity import who_of
from conformance.checks.sampling import sampled
from conformance.inputs import BARE, Content, base
from conformance.pairing import as_undisturbed
from conformance.protocol import SamplingInput, UnitOutput
from conformance.recording import Recording, Script, copied

UNITS: Final = 3
AT: Final = 1
"""The session moves before this unit."""
SHOWN: Final = ("drawn-words", "float64", "identity-anew")
"""What a run of one clause asks for, too."""
NUCLEUS: Final = SamplingInput(temperature=3.0, top_k=40, top_p=0.5)


def kinds(context: Context) -> dict[str, tuple[str, Callable[[], Script]]]:
    """What a session can be besides its preset and modalities, and the feature that it takes."""

    def plain(*, forced: bool = False) -> Script:
        return base(BARE, "overlapped", context.dtype, units=UNITS, forced=forced)

    def in_float64() -> Script:
        # What is kept in fewer digits shows only there.
        return base(BARE, "overlapped", "float64", units=UNITS, forced=True)

    def with_identity() -> Script:
        script = plain(forced=True)
        who = who_of(context, image=True)
        return attrs.evolve(script, open=attrs.evolve(script.open, identity=who))

    def in_chunks() -> Script:
        script = plain(forced=True)
        # The prompt stands behind one token of its own (WS-SESSION-2).
        plan = (1, len(script.open.prompt))
        return attrs.evolve(script, open=attrs.evolve(script.open, prefill_chunks=plan))

    def drawn() -> Script:
        contents = tuple(Content(text=(97,) * (k % 2), seed=k) for k in range(UNITS))
        return sampled(context, NUCLEUS, schedule="sequential", contents=contents)

    wide = {"float64": ("", in_float64)} if "float64" in context.hello.dtypes else {}
    return {
        "own-words": ("", plain),
        "drawn-words": ("sampling", drawn),
        **wide,
        "identity": ("identity", with_identity),
        "in-chunks": ("prefill_chunks", in_chunks),
    }


def moved_kinds(context: Context) -> Iterator[Case]:
    """A session of each kind goes on elsewhere as it would have here, and is itself after a reset
    (WS-CONFORMANCE-17, WS-SESSION-4)."""
    for name, (feature, make) in kinds(context).items():
        yield Case(
            name=name,
            clauses=("WS-CONFORMANCE-17",),
            further=name not in SHOWN,
            judge=partial(_as_at_home, context, feature, make, _moved),
        )
        yield Case(
            name=f"{name}-anew",
            clauses=("WS-CONFORMANCE-17", "WS-SESSION-4"),
            further=f"{name}-anew" not in SHOWN,
            judge=partial(_as_at_home, context, feature, make, _moved_and_anew),
        )
    yield Case(
        name="the-same-again",
        clauses=("WS-CONFORMANCE-17",),
        judge=partial(_as_at_home, context, "", kinds(context)["own-words"][1], _moved_again),
    )
    yield Case(
        name="rows-afterwards",
        clauses=("WS-CONFORMANCE-17", "WS-STREAMING-6"),
        judge=partial(_rows_afterwards, context),
    )


def _as_at_home(
    context: Context,
    feature: str,
    make: Callable[[], Script],
    there: Callable[[Context, Script], Recording],
) -> str | None:
    context.need("kv_transfer")
    if feature:
        context.need(feature)
    if there in (_moved_and_anew, _moved_again):
        context.need("reset")
    script = make()
    alone = partial(context.run.stream, script)
    return as_undisturbed(context, script, alone, partial(there, context, script), "moved")


def taken_after(
    context: Context, script: Script, count: int, *, again: bool = False
) -> tuple[list[UnitOutput], str]:
    """What a session answers to ``count`` units, and another one that has taken its state;
    ``again`` after a reset."""
    port = context.port
    source = port.open(script.open)
    outputs: list[UnitOutput] = []
    try:
        for unit in script.units[:count]:
            outputs += map(copied, port.step(source, unit))
        state = port.export_kv(source)
        # What it owes it answers itself: whether the other does, too, is the port's choice.
        outputs += map(copied, port.finish(source))
    finally:
        port.close(source)
    target = port.open(script.open)
    try:
        port.import_kv(target, state)
        if again:
            port.reset(target)
            port.import_kv(target, state)
    except BaseException:
        port.close(target)
        raise
    return outputs, target


def _moved(context: Context, script: Script) -> Recording:
    return _gone_on(context, script, *taken_after(context, script, AT))


def _moved_again(context: Context, script: Script) -> Recording:
    return _gone_on(context, script, *taken_after(context, script, AT, again=True))


def _gone_on(
    context: Context, script: Script, outputs: Sequence[UnitOutput], session: str
) -> Recording:
    """``outputs``, and what ``session`` answers to the units that are left."""
    port = context.port
    later: list[UnitOutput] = []
    try:
        for unit in script.units[AT:]:
            later += map(copied, port.step(session, unit))
        later += map(copied, port.finish(session))
    finally:
        port.close(session)
    return (*outputs, *(output for output in later if output.unit >= AT))


def _moved_and_anew(context: Context, script: Script) -> Recording:
    port = context.port
    _, session = taken_after(context, script, AT)
    outputs: list[UnitOutput] = []
    try:
        port.step(session, script.units[AT])
        port.reset(session)
        for unit in script.units:
            outputs += map(copied, port.step(session, unit))
        outputs += map(copied, port.finish(session))
    finally:
        port.close(session)
    return tuple(outputs)


def _rows_afterwards(context: Context) -> str | None:
    """What comes after a move is put where it belongs, not behind what came with it."""
    context.need("kv_transfer")
    script = base(BARE, "overlapped", context.dtype, units=4, forced=True)
    _, session = taken_after(context, script, AT)
    try:
        for unit in script.units[AT:]:
            context.port.step(session, unit)
        state = context.port.export_kv(session)
    finally:
        context.port.close(session)
    return rows_off(state, script)


CHECKS = (
    family("transfer", "session")(
        "moved", ("WS-CONFORMANCE-17", "WS-SESSION-4", "WS-STREAMING-6"), "A", moved_kinds
    ),
)
