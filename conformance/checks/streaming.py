"""Streaming equals the offline form, in every schedule and every dtype of the port."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import attrs
import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks.drift import VOICE
from conformance.closeness import judge_all_close, judge_close
from conformance.inputs import BARE, PROBED_UNITS, base, finer, in_dtype, with_text_of
from conformance.protocol import Array, UnitInput
from conformance.recording import TENSORS, Form, Script
from conformance.relations import close
from spec.layout import Modalities
from spec.presets import preset_named
from spec.sizes import LAG_OF_SCHEDULE, Tokenizer

TEXT: Final = Modalities(user_audio=False, user_video=False, agent_audio=False, agent_video=False)


STREAMED: Final = ("WS-STREAMING-10",)
"""What every schedule, dtype and form may break by itself."""

SHAPED: Final = (
    "WS-STREAMING-3",
    "WS-VISIBILITY-8",
    "WS-VISIBILITY-9",
    "WS-LAYOUT-1",
    "WS-POSITIONS-1",
    "WS-POSITIONS-2",
    "WS-POSITIONS-3",
    "WS-POSITIONS-6",
    "WS-FLOW-6",
)
"""What a session of any sizes shows."""

SIZED: Final = (
    "WS-POSITIONS-4",
    "WS-FLOW-4",
    "WS-FLOW-5",
    "WS-MODEL-2",
    "WS-MODEL-3",
    "WS-MODEL-4",
    "WS-MODEL-5",
    "WS-BACKBONE-1",
    "WS-BACKBONE-2",
    "WS-BACKBONE-3",
    "WS-BACKBONE-4",
    "WS-BACKBONE-5",
)
"""What may be right in one preset and wrong in another of other sizes and options."""

EOS_PROMPT: Final = (41, 222, 257)

SAYS: Final = {
    "greedy-text": (("WS-STREAMING-7", "WS-TEXT-7"), ("WS-STREAMING-7",)),
    f"greedy-text-{BARE}": (("WS-STREAMING-7", "WS-TEXT-7"), ("WS-LAYOUT-4",)),
    "greedy-text-long": (("WS-STREAMING-7",), ("WS-STREAMING-8",)),
    "now-and-then-prescribed": (("WS-STREAMING-7", "WS-TEXT-6"), ("WS-TEXT-6",)),
    "after-eos": (("WS-STREAMING-7", "WS-TEXT-6", "WS-TEXT-7"), ("WS-TEXT-6",)),
    "nobody-types": (("WS-STREAMING-7",), ("WS-LAYOUT-3",)),
}
"""Sessions in which the agent speaks: what the choice of its words is about, and that they are fed
back: without state slots, in many sequential units, or beside what is prescribed."""

TO_BE_SAID: Final = {"bos": (200, 47, 256), "wait": (7, 140, 120), "unused": (257, 83, 262)}
"""Prompts of the bare preset after which the agent says such an id, by a wide margin."""


def equals_offline(context: Context) -> Iterator[Case]:
    """Every tensor of a stream against the oracle's offline form (WS-STREAMING-10)."""
    for schedule in LAG_OF_SCHEDULE:
        for dtype in context.hello.dtypes:
            for tensor in TENSORS:
                script = base(context.preset.name, schedule, dtype)
                # Arithmetic shows under one schedule, in the main dtype.
                main = schedule == context.preset.schedule and dtype == context.dtype
                yield Case(
                    name=f"{schedule}-{dtype}-{tensor}",
                    clauses=(*STREAMED, *SIZED) if main else STREAMED,
                    further=schedule != context.preset.schedule,
                    judge=partial(judge_close, context, script, dtype, tensor),
                )
        for tensor in TENSORS:
            script = base(context.preset.name, schedule, context.dtype)
            yield Case(
                name=f"{schedule}-own-offline-form-{tensor}",
                clauses=STREAMED,
                further=True,
                judge=partial(judge_close, context, script, context.dtype, tensor, form="offline"),
            )
    for tensor in TENSORS:
        script = base(BARE, "overlapped", context.dtype, units=8, seed=3)
        yield Case(
            name=f"{BARE}-{tensor}",
            clauses=(*STREAMED, *SHAPED, *SIZED),
            judge=partial(judge_close, context, script, context.dtype, tensor),
        )
    # The session that causality runs in both forms.
    script = base(BARE, context.preset.schedule, context.dtype, units=PROBED_UNITS, forced=True)
    yield Case(
        name=f"{BARE}-own-offline-form",
        clauses=STREAMED,
        further=True,
        judge=partial(judge_all_close, context, script, context.dtype, "stream", "offline"),
    )
    if "float64" in context.hello.dtypes:
        script = finer(base(BARE, "sequential", "float64", units=PROBED_UNITS, forced=True))
        yield Case(
            name=f"{BARE}-float64-all-the-way",
            clauses=(*STREAMED, "WS-STREAMING-2"),
            judge=partial(judge_all_close, context, script, "float64", "stream"),
        )
        late = in_dtype(long_talk(context), "float64")
        yield Case(
            name=f"{BARE}-float64-late",
            clauses=STREAMED,
            further=True,
            judge=partial(judge_all_close, context, late, "float64", "stream"),
        )


def text(context: Context) -> Iterator[Case]:
    """How the agent's words are chosen, and that they are fed back (WS-STREAMING-7, WS-TEXT-6,
    WS-TEXT-7)."""
    schedule = context.preset.schedule
    name, dtype = context.preset.name, context.dtype
    yield Case(
        name="forced-text",
        clauses=("WS-STREAMING-7",),
        judge=partial(_forced, context, base(name, schedule, dtype, forced=True)),
    )
    free = {
        "greedy-text": base(name, schedule, dtype),
        f"greedy-text-{BARE}": base(BARE, "sequential", dtype, units=12),
        "greedy-text-long": long_talk(context),
        "now-and-then-prescribed": _now_and_then(context),
        "after-eos": _silent(context),
        "nobody-types": _unasked(context),
    }
    for case, script in free.items():
        chosen, fed = SAYS[case]
        yield Case(name=case, clauses=chosen, judge=partial(well_chosen, context, script))
        yield Case(
            name=f"{case}-is-fed-back", clauses=fed, judge=partial(fed_back, context, script)
        )
    yield Case(
        name="now-and-then-prescribed-offline",
        clauses=("WS-STREAMING-10",),
        judge=partial(_offline_words, context),
    )
    yield Case(name="eos", clauses=("WS-TEXT-6",), judge=partial(_falls_silent, context))
    for name, prompt in TO_BE_SAID.items():
        yield Case(
            name=f"says-{name}",
            clauses=("WS-STREAMING-7",),
            judge=partial(_says, context, prompt, name),
        )


LAST_PRESCRIBED: Final = 18


def long_talk(context: Context) -> Script:
    """Seven seconds of words and voice, the longest session that is sequential."""
    return base(BARE, "sequential", context.dtype, units=44, modalities=VOICE, seed=5)


def _silent(context: Context) -> Script:
    """The agent says ``<eos>`` at once, by a wide margin; its next slot would be a letter if it
    were free to speak."""
    return base(
        BARE, "overlapped", context.dtype, units=2, modalities=TEXT, seed=2, prompt=EOS_PROMPT
    )


def _unasked(context: Context) -> Script:
    """The agent speaks though nobody shows, says or types anything."""
    script = base(context.preset.name, "sequential", context.dtype, units=2, modalities=TEXT)
    return attrs.evolve(script, units=tuple(attrs.evolve(u, text=()) for u in script.units))


def _now_and_then(context: Context) -> Script:
    """Words are prescribed in every third unit only, ``<eos>`` among them; state slots, and more
    units than anywhere else with them."""
    preset = context.preset
    script = base(
        preset.name, "overlapped", context.dtype, units=22, modalities=TEXT, seed=4, forced=True
    )
    letters = tuple(65 + i for i in range(1, preset.agent_text_slots))

    def words(unit: UnitInput) -> tuple[int, ...] | None:
        if unit.unit % 3:
            return None
        if unit.unit == LAST_PRESCRIBED:
            # Words like any other, though every id is 0.
            return (0,) * preset.agent_text_slots
        return (preset.tokenizer.eos, *letters) if unit.unit % 2 else unit.agent_text

    return attrs.evolve(
        script, units=tuple(attrs.evolve(u, agent_text=words(u)) for u in script.units)
    )


def chosen(logits: Array, tokens: Tokenizer) -> tuple[int, ...]:
    """The words of a unit: the largest logit, the lowest id among equals; ``<wait>`` after
    ``<eos>``."""
    said: list[int] = []
    for row in logits:
        said.append(tokens.wait if tokens.eos in said else int(np.argmax(row)))
    return tuple(said)


def well_chosen(context: Context, script: Script, form: Form = "stream") -> str | None:
    """The words are those that the port's own logits say, or that were prescribed
    (WS-STREAMING-7)."""
    tokens = preset_named(script.open.preset).tokenizer
    for given, unit in zip(script.units, context.run(script, form), strict=True):
        best = chosen(unit.logits, tokens) if given.agent_text is None else given.agent_text
        if unit.text != best:
            why = "the logits say" if given.agent_text is None else "what is prescribed is"
            return f"unit {unit.unit}, text {list(unit.text)}, but {why} {list(best)}"
    return None


def _says(context: Context, prompt: tuple[int, ...], name: str) -> str | None:
    """No id is kept from the agent."""
    script = base(BARE, "overlapped", context.dtype, units=1, modalities=TEXT, prompt=prompt)
    tokens = preset_named(BARE).tokenizer
    wanted = {"bos": tokens.bos, "wait": tokens.wait}.get(name, prompt[-1])
    (unit,) = context.run(script)
    best = int(np.argmax(unit.logits[0]))
    if best != wanted:
        return f"unit 0, slot 0: the largest logit is that of {best}, not of {name} ({wanted})"
    return None if unit.text[0] == wanted else f"unit 0, text {list(unit.text)}, not {wanted} first"


def fed_back(
    context: Context, script: Script, form: Form = "stream", wider: float = 1.0
) -> str | None:
    """What the agent said of itself is what its later words were computed from: the oracle, made
    to say the same, gives the same numbers."""
    actual = context.run(script, form)
    said = with_text_of(script, tuple(unit.text for unit in actual))
    dtype = script.open.dtype
    truth = context.oracle.truth(said, "stream", dtype)
    reasons = (close(actual, truth.outputs, truth.naive, dtype, t, wider) for t in TENSORS)
    return next((reason for reason in reasons if reason is not None), None)


def _offline_words(context: Context) -> str | None:
    """The offline form too lets each unit say whether its words are prescribed."""
    context.need("offline")
    script = base(BARE, "overlapped", context.dtype, units=4, modalities=TEXT, forced=True)
    units = tuple(attrs.evolve(u, agent_text=None) if u.unit % 2 == 0 else u for u in script.units)
    script = attrs.evolve(script, units=units)
    return well_chosen(context, script, "offline") or fed_back(context, script, "offline")


def _falls_silent(context: Context) -> str | None:
    """``<eos>``, then ``<wait>`` in the rest of the unit, then free again."""
    tokens = preset_named(BARE).tokenizer
    first, second = context.run(_silent(context))
    if int(np.argmax(first.logits[0])) != tokens.eos:
        return f"unit 0, slot 0: the largest logit is not that of <eos> ({tokens.eos})"
    if first.text != (tokens.eos, tokens.wait):
        return f"unit 0, text {list(first.text)}, not <eos> and then <wait>"
    best = chosen(second.logits, tokens)
    return None if second.text == best else f"unit 1, text {list(second.text)}, not {list(best)}"


def _forced(context: Context, script: Script) -> str | None:
    for given, unit in zip(script.units, context.run(script), strict=True):
        if unit.text != given.agent_text:
            return f"unit {unit.unit}, text {list(unit.text)} was not the forced one"
    return None


CHECKS = (
    Check(
        id="streaming/equals-offline",
        clauses=(*STREAMED, "WS-STREAMING-2", *SHAPED, *SIZED),
        profile="session",
        tolerance="C",
        cases=equals_offline,
    ),
    Check(
        id="streaming/text",
        clauses=(
            "WS-STREAMING-7",
            "WS-TEXT-6",
            "WS-TEXT-7",
            "WS-LAYOUT-4",
            "WS-STREAMING-8",
            "WS-STREAMING-10",
            "WS-LAYOUT-3",
        ),
        profile="session",
        tolerance="C",
        cases=text,
    ),
)
