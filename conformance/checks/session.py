"""The life of a session: how it is opened, what it shares with others, where noise comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import attrs
import numpy as np

from conformance.case import Case, Check, Context, Tolerance
from conformance.closeness import judge_all_close
from conformance.inputs import base, replace
from conformance.protocol import OpenRequest, Refusal, UnitInput, UnitOutput
from conformance.recording import TENSORS, Script, copied
from conformance.relations import differ, same
from spec.layout import Modalities
from spec.presets import PRESETS
from spec.sizes import Schedule

SUBSETS: Final = {
    "text-only": Modalities(
        user_audio=False, user_video=False, agent_audio=False, agent_video=False
    ),
    "voice-only": Modalities(
        user_text=False, user_video=False, agent_text=False, agent_video=False
    ),
    "deaf-and-mute": Modalities(user_audio=False, agent_audio=False),
}
"""Sessions without some of their modalities (WS-LAYOUT-5)."""

SHORT: Final = 3


def short(context: Context, **options: Any) -> Script:
    """A session of three units under the preset's own schedule."""
    return base(context.preset.name, context.preset.schedule, context.dtype, units=SHORT, **options)


def _as_oracle(context: Context, script: Script) -> str | None:
    """Against the oracle's stream, which `streaming/equals-offline` holds to the offline form."""
    return judge_all_close(context, script, context.dtype, "stream")


def modalities(context: Context) -> Iterator[Case]:
    """Sessions with fewer modalities against the oracle's offline form (WS-LAYOUT-5)."""
    for name, subset in SUBSETS.items():
        script = short(context, modalities=subset)
        yield Case(name=name, judge=partial(judge_all_close, context, script, context.dtype))


def presets(context: Context) -> Iterator[Case]:
    """What must be refused, and every preset small enough to run (WS-SESSION-1)."""
    good = short(context).open
    for name, request in {
        "unknown-preset": attrs.evolve(good, preset="no-such-preset"),
        "unknown-schedule": attrs.evolve(good, schedule=cast("Schedule", "whenever")),
        "prompt-outside-vocabulary": attrs.evolve(good, prompt=(10**6,)),
    }.items():
        yield Case(name=name, judge=partial(_open_refused, context, request))
    for name, preset in PRESETS.items():
        if name.startswith("tiny"):
            script = base(name, preset.schedule, context.dtype, units=SHORT)
            yield Case(name=name, judge=partial(_as_oracle, context, script))


def _open_refused(context: Context, request: OpenRequest) -> str | None:
    try:
        context.port.open(request)
    except Refusal:
        return None
    return "the session was opened"


def prompt(context: Context) -> Iterator[Case]:
    """No prompt, a longer one; and all of it is seen from the first unit on (WS-SESSION-2)."""
    for name, tokens in {"empty": (), "longer": tuple(range(97, 117))}.items():
        script = short(context, prompt=tokens)
        yield Case(name=name, judge=partial(_as_oracle, context, script))
    for index in (0, 2):
        yield Case(name=f"token{index}-is-seen", judge=partial(_prompt_seen, context, index))


def _prompt_seen(context: Context, index: int) -> str | None:
    script = short(context)
    tokens = list(script.open.prompt)
    tokens[index] += 1
    other = attrs.evolve(script, open=attrs.evolve(script.open, prompt=tuple(tokens)))
    return differ(
        context.run(script), context.run(other), 0, ("logits", "audio_latents", "video_latents")
    )


def interleaved(context: Context) -> Iterator[Case]:
    """Two sessions, a unit of one and a unit of the other in turn (WS-SESSION-3)."""
    yield Case(name="two-in-turn", judge=partial(_interleaved, context))


def _interleaved(context: Context) -> str | None:
    scripts = (short(context), short(context, seed=1, prompt=(7, 8)))
    alone = [context.run(script) for script in scripts]
    sessions = [context.port.open(script.open) for script in scripts]
    outputs: dict[str, list[UnitOutput]] = {session: [] for session in sessions}
    for units in zip(*(script.units for script in scripts), strict=True):
        for session, unit in zip(sessions, units, strict=True):
            outputs[session].extend(map(copied, context.port.step(session, unit)))
    for session, expected in zip(sessions, alone, strict=True):
        outputs[session].extend(map(copied, context.port.finish(session)))
        context.port.close(session)
        answered = [output.unit for output in outputs[session]]
        if answered != list(range(SHORT)):
            return f"units {answered} were answered"
        reason = same(expected, tuple(outputs[session]), range(SHORT))
        if reason is not None:
            return f"alone against in turn with another session: {reason}"
    return None


def fresh_start(context: Context) -> Iterator[Case]:
    """The same session once more, after others have run (WS-SESSION-3)."""
    yield Case(name="after-another", judge=partial(_fresh_start, context, True))
    yield Case(name="while-another-is-open", judge=partial(_fresh_start, context, False))


def _fresh_start(context: Context, close_first: bool) -> str | None:
    script, other = short(context), short(context, seed=1)
    first = context.run(script)
    session = context.port.open(other.open)
    context.port.step(session, other.units[0])
    if close_first:
        context.port.close(session)
    again = context.run.stream(script)
    if not close_first:
        context.port.close(session)
    return same(first, again, range(SHORT))


def noise_is_input(context: Context) -> Iterator[Case]:
    """All noise comes in as a tensor: same noise, same bits; none at all is fine (WS-FLOW-7)."""
    yield Case(name="same-noise-same-bits", judge=partial(_same_noise, context))
    yield Case(
        name="zero-noise",
        judge=partial(_as_oracle, context, _silenced(short(context))),
    )


def _same_noise(context: Context) -> str | None:
    script = short(context)
    first = context.run(script)
    for _ in range(2):
        reason = same(first, context.run.stream(script), range(SHORT))
        if reason is not None:
            return f"run again with the same noise: {reason}"
    return None


def _silenced(script: Script) -> Script:
    def zero(unit: UnitInput) -> UnitInput:
        return attrs.evolve(
            unit,
            noise_audio=np.zeros_like(_of(unit.noise_audio)),
            noise_video=np.zeros_like(_of(unit.noise_video)),
        )

    for k in range(len(script.units)):
        script = replace(script, k, zero)
    return script


def outputs_are_final(context: Context) -> Iterator[Case]:
    """What a port has answered never changes afterwards (WS-CONFORMANCE-6)."""
    yield Case(name="later-steps", judge=partial(_outputs_are_final, context))


def _outputs_are_final(context: Context) -> str | None:
    script = short(context)
    session = context.port.open(script.open)
    given: list[UnitOutput] = []
    kept: list[UnitOutput] = []
    for unit in script.units:
        fresh = context.port.step(session, unit)
        given += fresh
        kept += map(copied, fresh)
    context.port.close(session)
    reason = same(tuple(kept), tuple(given), range(len(given)), TENSORS)
    return None if reason is None else f"as answered against after later steps: {reason}"


BAD_UNITS: Final[dict[str, Callable[[UnitInput], UnitInput]]] = {
    "short-audio": lambda u: attrs.evolve(u, audio=_of(u.audio)[:-1]),
    "transposed-video": lambda u: attrs.evolve(u, video=_of(u.video).swapaxes(2, 3)),
    "nan-audio": lambda u: attrs.evolve(u, audio=_of(u.audio) * np.nan),
    "missing-audio": lambda u: attrs.evolve(u, audio=None),
    "short-noise": lambda u: attrs.evolve(u, noise_audio=_of(u.noise_audio)[:-1]),
    "too-much-text": lambda u: attrs.evolve(u, text=(65,) * 9),
    "text-outside-vocabulary": lambda u: attrs.evolve(u, text=(10**6,)),
    "unit-skipped": lambda u: attrs.evolve(u, unit=u.unit + 1),
    "unit-again": lambda u: attrs.evolve(u, unit=u.unit - 1),
}


def refusals(context: Context) -> Iterator[Case]:
    """A bad unit is refused cleanly, and the session goes on as if it never came
    (WS-CONFORMANCE-4)."""
    for name, spoil in BAD_UNITS.items():
        yield Case(name=name, judge=partial(_refused, context, spoil))
    yield Case(name="session-goes-on", judge=partial(_goes_on, context))


def _of(array: Any) -> Any:
    assert array is not None
    return array


def _refused(context: Context, spoil: Callable[[UnitInput], UnitInput]) -> str | None:
    script = short(context)
    session = context.port.open(script.open)
    context.port.step(session, script.units[0])
    try:
        context.port.step(session, spoil(script.units[1]))
    except Refusal:
        return None
    finally:
        context.port.close(session)
    return "unit 1 was accepted"


def _goes_on(context: Context) -> str | None:
    """All bad units in a row before the good unit 1."""
    script = short(context)
    session = context.port.open(script.open)
    outputs = [*map(copied, context.port.step(session, script.units[0]))]
    for spoil in BAD_UNITS.values():
        with suppress(Refusal):
            context.port.step(session, spoil(script.units[1]))
    for unit in script.units[1:]:
        outputs += map(copied, context.port.step(session, unit))
    outputs += map(copied, context.port.finish(session))
    context.port.close(session)
    reason = same(context.run(script), tuple(outputs), range(SHORT))
    return None if reason is None else f"after the refusals: {reason}"


def _check(
    stem: str,
    clauses: tuple[str, ...],
    tolerance: Tolerance,
    cases: Callable[[Context], Iterator[Case]],
) -> Check:
    return Check(
        id=f"session/{stem}", clauses=clauses, profile="session", tolerance=tolerance, cases=cases
    )


CHECKS = (
    _check("modalities", ("WS-LAYOUT-5",), "C", modalities),
    _check("presets", ("WS-SESSION-1", "WS-PRESETS-1", "WS-PRESETS-3"), "C", presets),
    _check("prompt", ("WS-SESSION-2", "WS-STREAMING-1", "WS-VISIBILITY-3"), "C", prompt),
    _check("interleaved", ("WS-SESSION-3",), "A", interleaved),
    _check("fresh-start", ("WS-SESSION-3",), "A", fresh_start),
    _check("noise-is-input", ("WS-FLOW-7",), "A", noise_is_input),
    _check("outputs-are-final", ("WS-CONFORMANCE-6",), "A", outputs_are_final),
    _check("refusals", ("WS-CONFORMANCE-4",), "A", refusals),
)
