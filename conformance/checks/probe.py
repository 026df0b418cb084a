"""Named intermediate tensors: they exist, they are right, and asking for them leaves no trace."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks.isolation import TEXT
from conformance.checks.sampling import WARM, sampled
from conformance.guard import PortFault
from conformance.inputs import BARE, base, in_dtype, sealed, with_text_of
from conformance.oracle import naive_dtype
from conformance.pairing import as_undisturbed
from conformance.probing import Points, points_after, without_padding
from conformance.protocol import DType, Refusal, UnitInput, Unsupported
from conformance.recording import Script, streamed
from conformance.tolerance import MANY, budget, exceeds, same_bits
from spec.layout import Modalities
from spec.sizes import LAG_OF_SCHEDULE, Schedule

UNITS: Final = 3
"""The last of them is probed."""

POINT: Final = re.compile(
    r"(O|L\.\d+|Z\.step\.\d+|Z\.clean)\.(embeddings|hidden|layer\.\d+|velocity_(audio|video))"
    r"|(audio|video)_features"
)
"""What a point of the clause is called; what has another name is the port's own."""


SEEN: Final = ("WS-CONFORMANCE-18",)
FINAL: Final = ("WS-CONFORMANCE-6",)

OTHERS: Final = {
    "speaker": Modalities(user_text=False, user_audio=False, user_video=False),
    "listener": Modalities(agent_text=False, agent_audio=False, agent_video=False),
    "words-alone": TEXT,
}
"""Sessions in which some passes have no token, and so no points."""


def probe(context: Context) -> Iterator[Case]:
    """Every point that the port has, against the oracle, in class C (WS-CONFORMANCE-18)."""
    for preset in (BARE, "tiny"):
        for schedule in LAG_OF_SCHEDULE:
            script = base(preset, schedule, context.dtype, units=UNITS, forced=True)
            yield Case(
                name=f"{preset}-{schedule}",
                clauses=SEEN,
                further=(preset, schedule) == ("tiny", "sequential"),
                judge=partial(_numbers, context, script),
            )
    for name, has in OTHERS.items():
        script = base(BARE, "sequential", context.dtype, units=2, modalities=has, forced=True)
        yield Case(name=name, clauses=SEEN, judge=partial(_numbers, context, script))
    yield Case(name="own-words", clauses=SEEN, judge=partial(_own_words, context))
    yield Case(name="drawn-words", clauses=SEEN, judge=partial(_drawn_words, context))
    yield Case(name="answers-are-final", clauses=FINAL, judge=partial(_final, context))
    script = base(BARE, "overlapped", context.dtype, units=UNITS, forced=True)
    yield Case(name="first-unit", clauses=SEEN, judge=partial(_numbers, context, first_of(script)))
    yield Case(name="probed-twice", clauses=SEEN, judge=partial(_twice, context, first_of(script)))
    yield Case(name="only-what-is-asked", clauses=SEEN, judge=partial(_asked, context, script))
    yield Case(name="unknown-point", clauses=SEEN, judge=partial(_unknown, context, script))
    yield Case(
        name="leaves-no-trace", clauses=SEEN, judge=partial(_no_trace, context, "overlapped")
    )
    yield Case(
        name="leaves-no-trace-sequential",
        clauses=SEEN,
        further=True,
        judge=partial(_no_trace, context, "sequential"),
    )
    yield Case(
        name="unknown-among-known", clauses=SEEN, judge=partial(_among_known, context, script)
    )
    for name, spoil in {"unit-out-of-turn": _later, "not-a-number": _not_a_number}.items():
        yield Case(
            name=name,
            clauses=("WS-CONFORMANCE-4",),
            judge=partial(_refused, context, script, spoil),
        )
    yield Case(
        name="unknown-session", clauses=("WS-CONFORMANCE-4",), judge=partial(_stranger, context)
    )


def first_of(script: Script) -> Script:
    """Unit 0 alone."""
    return Script(open=script.open, units=script.units[:1])


def _points(context: Context, script: Script) -> Points:
    context.need("probe")
    return points_after(context.port, script)


def _numbers(context: Context, script: Script) -> str | None:
    return _off(context, script, _points(context, script))


def _twice(context: Context, script: Script) -> str | None:
    """What an earlier probe of the unit was shown is gone."""
    context.need("probe")
    other = base(BARE, "overlapped", context.dtype, units=1, forced=True, seed=4)
    session = context.port.open(script.open)
    try:
        for unit in (other.units[0], script.units[0]):
            found = context.port.probe(session, unit)
    finally:
        context.port.close(session)
    return _off(context, script, without_padding(script, found))


def _own_words(context: Context) -> str | None:
    return _as_said(context, base(BARE, "overlapped", context.dtype, units=2))


def _drawn_words(context: Context) -> str | None:
    context.need("sampling")
    return _as_said(context, sampled(context, WARM))


def _as_said(context: Context, script: Script) -> str | None:
    """The words in a probe are those that the step says."""
    context.need("probe")
    said = with_text_of(script, tuple(unit.text for unit in context.run(script)))
    return _off(context, said, points_after(context.port, script))


def _final(context: Context) -> str | None:
    """What a probe has answered is not what the next step works with."""
    context.need("probe")
    script = base(BARE, "overlapped", context.dtype, units=1, forced=True)
    other = base(BARE, "overlapped", context.dtype, units=1, forced=True, seed=4)
    session = context.port.open(script.open)
    try:
        found = context.port.probe(session, script.units[0])
        kept = {name: array.copy() for name, array in found.items()}
        context.port.step(session, other.units[0])
    finally:
        context.port.close(session)
    moved = [name for name, array in kept.items() if not same_bits(array, found[name])]
    return f"{moved[0]} is another one after the next step" if moved else None


def _off(context: Context, script: Script, found: Points) -> str | None:
    """The first point of ``found`` that is none of the step, or off in class C."""
    found = {name: array for name, array in found.items() if array.size}
    dtype: DType = script.open.dtype
    truth, naive = (
        points_after(context.oracle.record.port, in_dtype(script, each))
        for each in ("float64", naive_dtype(dtype))
    )
    named = {name for name in found if POINT.fullmatch(name)}
    if not named:
        return "no point at all, though probe is claimed"
    unknown = sorted(named - set(truth))
    if unknown:
        return f"{unknown[0]} is no point of this step"
    for name, expected in truth.items():
        if name not in found:
            continue
        if found[name].shape != expected.shape:
            return f"{name} has shape {list(found[name].shape)}, not {list(expected.shape)}"
        allowed = budget(expected, [naive[name]], dtype).wider(MANY)
        reason = exceeds(found[name], expected, allowed, name, dtype)
        if reason is not None:
            return f"unit {script.units[-1].unit}, {name} {reason}"
    return None


def _asked(context: Context, script: Script) -> str | None:
    names = sorted(_points(context, script))
    some = tuple(names[:: max(1, len(names) // 3)])
    got = sorted(points_after(context.port, script, some))
    return None if got == sorted(some) else f"asked for {list(some)}, got {got}"


def _unknown(context: Context, script: Script) -> str | None:
    _points(context, script)
    point = context.unknown_feature
    try:
        points_after(context.port, script, (point,))
    except Unsupported:
        return None
    return f"answered for {point}, which does not exist"


def _among_known(context: Context, script: Script) -> str | None:
    known = next(iter(_points(context, script)))
    asked = (known, context.unknown_feature)
    try:
        points_after(context.port, script, asked)
    except Unsupported:
        return None
    except PortFault as fault:
        return f"asked for {list(asked)}: {fault}"
    return f"answered for {asked[1]}, which does not exist, beside {known}"


def _later(unit: UnitInput) -> UnitInput:
    return attrs.evolve(unit, unit=unit.unit + 1)


def _bad_noise(unit: UnitInput) -> UnitInput:
    assert unit.noise_video is not None
    return attrs.evolve(unit, noise_video=sealed(unit.noise_video[:-1].copy()))


def _not_a_number(unit: UnitInput) -> UnitInput:
    assert unit.audio is not None
    audio = unit.audio.copy()
    audio[-1] = np.nan
    return attrs.evolve(unit, audio=sealed(audio))


def _refused(
    context: Context, script: Script, spoil: Callable[[UnitInput], UnitInput]
) -> str | None:
    """What no step would take, no probe looks into."""
    context.need("probe")
    units = (*script.units[:-1], spoil(script.units[-1]))
    try:
        points_after(context.port, attrs.evolve(script, units=units))
    except Refusal:
        return None
    return "a bad unit was probed"


def _stranger(context: Context) -> str | None:
    context.need("probe")
    unit = base(BARE, "overlapped", context.dtype, units=1).units[0]
    try:
        context.port.probe("no-such-session", unit)
    except Refusal:
        return None
    return "probed a session that was never opened"


def _no_trace(context: Context, schedule: Schedule) -> str | None:
    """A session that is probed before every unit, with other values, before or after its own, and
    for what nobody has, gives the bits of one that never is."""
    script = base(BARE, schedule, context.dtype, units=UNITS, forced=True)
    other = base(BARE, schedule, context.dtype, units=UNITS, forced=True, seed=4)
    _points(context, script)

    def probes(session: str, unit: UnitInput) -> None:
        both = (other.units[unit.unit], unit)
        for each in both if unit.unit % 2 else reversed(both):
            context.port.probe(session, each)
        # The first point alone, what nobody has, and what the step would refuse at its end.
        for points in (("audio_features",), ("O.nothing",)):
            with suppress(Unsupported):
                context.port.probe(session, other.units[unit.unit], points)
        with suppress(Refusal):
            context.port.probe(session, _bad_noise(other.units[unit.unit]))

    probed = partial(streamed, context.port, script, probes)
    alone = partial(context.run.stream, script)
    return as_undisturbed(context, script, alone, probed, "after probes")


CHECKS = (
    Check(
        id="session/probe",
        clauses=("WS-CONFORMANCE-18", "WS-CONFORMANCE-4", "WS-CONFORMANCE-6"),
        profile="session",
        tolerance="C",
        cases=probe,
    ),
)
