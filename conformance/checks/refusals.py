"""What must be refused, and that a session goes on as if the bad request never came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import attrs
import numpy as np

from conformance.case import Case, Check, Context
from conformance.inputs import BARE, base
from conformance.pairing import all_same, as_undisturbed, settled
from conformance.protocol import Refusal, UnitInput, UnitOutput
from conformance.recording import Recording, Script, copied, streamed
from conformance.relations import same
from conformance.spread import SessionSpread
from spec.layout import Modalities
from spec.presets import preset_named

Spoil = Callable[[UnitInput], UnitInput]
ALONE: Final = ("WS-CONFORMANCE-4",)
"""What a session shows that has no other beside it."""

UNITS: Final = 4
BEFORE: Final = 1
"""The bad unit comes in place of this one."""


def _of(array: Any) -> Any:
    assert array is not None
    return array


def _one(array: Any, value: float) -> Any:
    """One element in the middle is ``value``."""
    changed = _of(array).copy()
    changed.reshape(-1)[changed.size // 2] = value
    return changed


PAST: Final = preset_named(BARE).tokenizer.vocab_size
"""The first id that there is not."""

BAD_UNITS: Final[dict[str, Spoil]] = {
    "short-audio": lambda u: attrs.evolve(u, audio=_of(u.audio)[:-1]),
    "long-audio": lambda u: attrs.evolve(u, audio=np.concatenate((_of(u.audio), _of(u.audio)[:1]))),
    "transposed-video": lambda u: attrs.evolve(u, video=_of(u.video).swapaxes(2, 3)),
    "channels-last-video": lambda u: attrs.evolve(u, video=np.moveaxis(_of(u.video), 1, 3)),
    "three-frames": lambda u: attrs.evolve(u, video=_of(u.video)[:3]),
    "five-frames": lambda u: attrs.evolve(
        u, video=np.concatenate((_of(u.video), _of(u.video)[:1]))
    ),
    "a-batch-of-one": lambda u: attrs.evolve(u, audio=_of(u.audio)[None]),
    "nan-audio": lambda u: attrs.evolve(u, audio=_one(u.audio, np.nan)),
    "infinite-audio": lambda u: attrs.evolve(u, audio=_one(u.audio, -np.inf)),
    "nan-video": lambda u: attrs.evolve(u, video=_one(u.video, np.nan)),
    "infinite-video": lambda u: attrs.evolve(u, video=_one(u.video, np.inf)),
    "nan-noise": lambda u: attrs.evolve(u, noise_video=_one(u.noise_video, np.nan)),
    "infinite-noise": lambda u: attrs.evolve(u, noise_audio=_one(u.noise_audio, np.inf)),
    "infinite-video-noise": lambda u: attrs.evolve(u, noise_video=_one(u.noise_video, np.inf)),
    "missing-audio": lambda u: attrs.evolve(u, audio=None),
    "missing-video": lambda u: attrs.evolve(u, video=None),
    "missing-noise": lambda u: attrs.evolve(u, noise_audio=None),
    "short-noise": lambda u: attrs.evolve(u, noise_audio=_of(u.noise_audio)[:-1]),
    "transposed-noise": lambda u: attrs.evolve(u, noise_audio=_of(u.noise_audio).T),
    "too-much-text": lambda u: attrs.evolve(u, text=(65,) * 9),
    "one-token-too-many": lambda u: attrs.evolve(u, text=(65, 66, 67)),
    "text-outside-vocabulary": lambda u: attrs.evolve(u, text=(10**6,)),
    "text-one-past-vocabulary": lambda u: attrs.evolve(u, text=(PAST,)),
    "negative-text": lambda u: attrs.evolve(u, text=(-1,)),
    "agent-text-outside-vocabulary": lambda u: attrs.evolve(u, agent_text=_last(u, 10**6)),
    "agent-text-one-past-vocabulary": lambda u: attrs.evolve(u, agent_text=_last(u, PAST)),
    "negative-agent-text": lambda u: attrs.evolve(u, agent_text=_last(u, -1)),
    "no-agent-text": lambda u: attrs.evolve(u, agent_text=()),
    "short-agent-text": lambda u: attrs.evolve(u, agent_text=_of(u.agent_text)[:-1]),
    "long-agent-text": lambda u: attrs.evolve(u, agent_text=(*_of(u.agent_text), 65)),
    "unit-skipped": lambda u: attrs.evolve(u, unit=u.unit + 1),
    "unit-before-the-first": lambda u: attrs.evolve(u, unit=-1),
    "unit-again": lambda u: attrs.evolve(u, unit=u.unit - 1),
}


OFFLINE: Final = (
    "unit-skipped",
    "unit-again",
    "short-audio",
    "infinite-video",
    "missing-noise",
    "text-one-past-vocabulary",
    "short-agent-text",
)
"""What the offline form refuses, too; it may be another program."""


def _last(unit: UnitInput, token: int) -> tuple[int, ...]:
    return (*_of(unit.agent_text)[:-1], token)


EXTRA: Final[dict[str, tuple[Modalities, Callable[[UnitInput, UnitInput], UnitInput]]]] = {
    "audio-too-many": (
        Modalities(user_audio=False),
        lambda u, full: attrs.evolve(u, audio=full.audio),
    ),
    "video-too-many": (
        Modalities(user_video=False),
        lambda u, full: attrs.evolve(u, video=full.video),
    ),
    "text-too-many": (Modalities(user_text=False), lambda u, _: attrs.evolve(u, text=(65,))),
    "noise-too-many": (
        Modalities(agent_video=False),
        lambda u, full: attrs.evolve(u, noise_video=full.noise_video),
    ),
    "agent-text-too-many": (
        Modalities(agent_text=False),
        lambda u, full: attrs.evolve(u, agent_text=full.agent_text),
    ),
}
"""A modality that the session does not have."""


def script_of(context: Context, modalities: Modalities = Modalities()) -> Script:  # noqa: B008 - frozen
    return base(BARE, "overlapped", context.dtype, units=UNITS, modalities=modalities, forced=True)


def refusals(context: Context) -> Iterator[Case]:
    """A bad unit is refused cleanly, and the session goes on as if it never came
    (WS-CONFORMANCE-4)."""
    for name, spoil in BAD_UNITS.items():
        yield Case(
            name=name,
            clauses=ALONE,
            judge=partial(_refused, context, script_of(context), spoil),
        )
    once = script_of(context)
    # Who answers the same question again from memory has not refused it.
    yield Case(
        name="the-same-unit-again",
        clauses=ALONE,
        judge=partial(_refused, context, once, lambda _: once.units[BEFORE - 1]),
    )
    full = once.units[BEFORE]
    for name, (modalities, add) in EXTRA.items():
        yield Case(
            name=name,
            clauses=ALONE,
            judge=partial(
                _refused, context, script_of(context, modalities), partial(_added, add, full)
            ),
        )
    for name in OFFLINE:
        yield Case(
            name=f"offline-{name}",
            clauses=ALONE,
            judge=partial(_refused_offline, context, BAD_UNITS[name]),
        )
    yield Case(name="session-goes-on", judge=partial(_goes_on, context))
    sequential = base(BARE, "sequential", context.dtype, units=3, forced=True)
    yield Case(
        name="session-goes-on-sequential",
        clauses=ALONE,
        judge=partial(undisturbed, context, sequential, tuple(BAD_UNITS.values())),
    )
    yield Case(name="then-reset", clauses=ALONE, judge=partial(_then_reset, context))
    for name, (modalities, add) in EXTRA.items():
        # Some is read before what is wrong is found.
        yield Case(
            name=f"goes-on-after-{name}",
            clauses=ALONE,
            judge=partial(
                _goes_on_after, context, script_of(context, modalities), partial(_added, add, full)
            ),
        )


def _added(
    add: Callable[[UnitInput, UnitInput], UnitInput], full: UnitInput, unit: UnitInput
) -> UnitInput:
    return add(unit, full)


def _refused(context: Context, script: Script, spoil: Spoil) -> str | None:
    session = context.port.open(script.open)
    try:
        for unit in script.units[:BEFORE]:
            context.port.step(session, unit)
        context.port.step(session, spoil(script.units[BEFORE]))
    except Refusal:
        return None
    finally:
        context.port.close(session)
    return f"unit {BEFORE} was accepted"


def _refused_offline(context: Context, spoil: Spoil) -> str | None:
    """A clip with a bad unit among good ones."""
    context.need("offline")
    script = script_of(context)
    units = (*script.units[:BEFORE], spoil(script.units[BEFORE]), *script.units[BEFORE + 1 :])
    try:
        context.port.offline(script.open, units)
    except Refusal:
        return None
    return f"unit {BEFORE} of the clip was accepted"


def _goes_on(context: Context) -> str | None:
    """All bad units in a row before each good unit; another session, with good units only, is
    beside it."""
    script = script_of(context)

    def run(spoils: Sequence[Spoil]) -> Recording:
        sessions = [context.port.open(script.open) for _ in range(2)]
        outputs: list[list[UnitOutput]] = [[], []]
        try:
            for unit in script.units:
                for spoil in spoils:
                    with suppress(Refusal):
                        context.port.step(sessions[0], spoil(unit))
                for session, own in zip(sessions, outputs, strict=True):
                    own.extend(map(copied, context.port.step(session, unit)))
            for session, own in zip(sessions, outputs, strict=True):
                own.extend(map(copied, context.port.finish(session)))
        finally:
            for session in sessions:
                context.port.close(session)
        return tuple(outputs[0] + outputs[1])

    def judge(a: Recording, b: Recording) -> str | None:
        if len(a) != len(b):
            return f"after refusals {len(b)} units were answered, not {len(a)}"
        for who, part in (("", slice(UNITS)), ("of the session beside it, ", slice(UNITS, None))):
            reason = same(a[part], b[part], range(UNITS))
            if reason is not None:
                return f"after refusals, {who}{reason}"
        return None

    return settled(
        context,
        lambda: run(()),
        lambda: run(tuple(BAD_UNITS.values())),
        judge,
        all_same,
        SessionSpread(context=context, script=script),
    )


def _goes_on_after(context: Context, script: Script, spoil: Spoil) -> str | None:
    """One bad unit before the first and before the second unit."""
    return undisturbed(context, attrs.evolve(script, units=script.units[:2]), (spoil,))


def _then_reset(context: Context) -> str | None:
    """What was refused, before a unit and right before the reset, does not come out after it."""
    context.need("reset")
    script = script_of(context)
    first, second = script.units[:2]

    def run(spoils: Sequence[Spoil]) -> Recording:
        session = context.port.open(script.open)
        outputs: list[UnitOutput] = []
        try:
            for unit in (first, second):
                for spoil in spoils:
                    with suppress(Refusal):
                        context.port.step(session, spoil(unit))
                if unit is first:
                    context.port.step(session, unit)
            context.port.reset(session)
            for unit in (first, second):
                outputs += map(copied, context.port.step(session, unit))
            outputs += map(copied, context.port.finish(session))
        finally:
            context.port.close(session)
        return tuple(outputs)

    bad = tuple(BAD_UNITS.values())
    when = "after refusals and a reset"
    return as_undisturbed(context, script, lambda: run(()), lambda: run(bad), when)


def undisturbed(context: Context, script: Script, spoils: Iterable[Spoil]) -> str | None:
    """A session in which bad units are refused before each unit is as one without (class A)."""
    bad = tuple(spoils)

    def refusals(session: str, unit: UnitInput) -> None:
        for spoil in bad:
            with suppress(Refusal):
                context.port.step(session, spoil(unit))

    alone = partial(context.run.stream, script)
    spoiled = partial(streamed, context.port, script, refusals)
    return as_undisturbed(context, script, alone, spoiled, "after refusals")


CHECKS = (
    Check(
        id="session/refusals",
        clauses=("WS-CONFORMANCE-4", "WS-SESSION-3"),
        profile="session",
        tolerance="A",
        cases=refusals,
    ),
)
