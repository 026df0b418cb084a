"""The agent's words, drawn by numbers from the suite (the feature sampling).

A word must be the one that the port's own logits and the number of its slot draw, so that rounding
accuses nobody; the logits are held to the oracle's, which says the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs
import numpy as np

from conformance.case import Case, Check, Context
from conformance.checks.isolation import TEXT
from conformance.closeness import judge_all_close
from conformance.formulas.text import chosen
from conformance.inputs import BARE, Content, in_dtype, script_of, sealed, with_text_of
from conformance.pairing import all_same, compared, settled
from conformance.protocol import OpenRequest, SamplingInput, UnitInput, UnitOutput
from conformance.recording import TENSORS, Form, Recording, Script, copied, streamed
from conformance.relations import close, same
from conformance.spread import SessionSpread
from conformance.sure_words import range_of
from conformance.tolerance import EPS
from spec.layout import Modalities
from spec.presets import preset_named
from spec.sizes import Schedule

UNITS: Final = 2
HIGHEST: Final = 1 - 2.0**-53
NUMBERS: Final = (None, HIGHEST, 0.0, None, None, None, 0.5)
"""Of the slots in turn; None for one that is drawn."""

RULES: Final[dict[str, SamplingInput]] = {
    "warm": SamplingInput(temperature=1.0),
    "cold": SamplingInput(temperature=0.3),
    "hot": SamplingInput(temperature=4.0),
    "nearly-frozen": SamplingInput(temperature=1e-3),
    "nearly-uniform": SamplingInput(temperature=1e18, top_k=40),
    "top-5": SamplingInput(temperature=6.0, top_k=5),
    "top-1": SamplingInput(temperature=6.0, top_k=1),
    "top-everything": SamplingInput(temperature=2.0, top_k=10**6),
    "nucleus": SamplingInput(temperature=3.0, top_p=0.5),
    "smallest-nucleus": SamplingInput(temperature=3.0, top_p=1e-6),
    "top-12-then-nucleus": SamplingInput(temperature=6.0, top_k=12, top_p=0.6),
    "greedy-whatever-the-rest": SamplingInput(temperature=0.0, top_k=3, top_p=0.2),
}
AT_ONCE: Final = ("top-1", "top-everything", "smallest-nucleus", "greedy-whatever-the-rest")
"""One unit tells all there is to tell."""

DRAWN: Final = ("WS-TEXT-1", "WS-TEXT-2", "WS-TEXT-3")
WARM: Final = SamplingInput(temperature=2.0)


def sampled(
    context: Context,
    rule: SamplingInput,
    preset: str = BARE,
    schedule: Schedule = "overlapped",
    modalities: Modalities = TEXT,
    contents: Sequence[Content] = (Content(text=(97,)),) * UNITS,
) -> Script:
    """A session whose words are drawn, with `NUMBERS`."""
    request = OpenRequest(
        preset=preset,
        schedule=schedule,
        dtype=context.dtype,
        modalities=modalities,
        prompt=(72, 105),
        sampling=rule,
    )
    script = script_of(request, contents)
    units = tuple(attrs.evolve(u, uniform=_numbered(u)) for u in script.units)
    return attrs.evolve(script, units=units)


def _numbered(unit: UnitInput) -> Any:
    if unit.uniform is None:
        return None
    slots = len(unit.uniform)
    chosen = [NUMBERS[(unit.unit * slots + i) % len(NUMBERS)] for i in range(slots)]
    return sealed(
        np.array([d if c is None else c for c, d in zip(chosen, unit.uniform, strict=True)])
    )


def words(context: Context) -> Iterator[Case]:
    """Every rule, on both presets, alone and with sound and video (WS-TEXT-1 to WS-TEXT-3)."""
    for name, rule in RULES.items():
        script = partial(sampled, context, rule)
        if name in AT_ONCE:
            script = partial(script, contents=(Content(text=(97,)),))
        yield Case(name=name, clauses=DRAWN, judge=partial(_words, context, script))
    every = Modalities()
    combined: tuple[tuple[str, Schedule, Modalities], ...] = (
        ("tiny", "overlapped", TEXT),
        (BARE, "sequential", every),
        # The response before, too, says what the first word is drawn from.
        ("tiny", "sequential", every),
    )
    for preset, schedule, has in combined:
        script = partial(sampled, context, WARM, preset, schedule, has)
        yield Case(
            name=f"{preset}-{schedule}",
            clauses=(*DRAWN, "WS-LAYOUT-4"),
            further=(preset, schedule) == ("tiny", "sequential"),
            judge=partial(_words, context, script),
        )
    for preset, slot in ((BARE, 0), (BARE, 1), ("tiny", 0), ("tiny", 1)):
        yield Case(
            name=f"{preset}-end-in-slot-{slot}",
            clauses=("WS-TEXT-6", "WS-TEXT-7"),
            judge=partial(_words, context, partial(_ending, context, preset, slot)),
        )

    for name, make in {
        "offline-end-in-slot-0": partial(_ending, context, BARE, 0),
        "offline-some-prescribed": partial(_some_prescribed, context),
    }.items():
        yield Case(
            name=name,
            clauses=("WS-TEXT-6", "WS-TEXT-3"),
            judge=partial(_words, context, make, "offline"),
        )
    yield Case(
        name="beside-another-rule",
        clauses=("WS-TEXT-2",),
        judge=partial(_beside_another, context),
    )


def _beside_another(context: Context) -> str | None:
    """Each of two sessions in turn draws by its own rule, the wide and the narrow one."""
    context.need("sampling")
    wide, narrow = (sampled(context, RULES[name]) for name in ("hot", "top-5"))
    other = context.port.open(narrow.open)
    said: list[UnitOutput] = []

    def in_turn(_session: str, unit: UnitInput) -> None:
        said.extend(map(copied, context.port.step(other, narrow.units[unit.unit])))

    try:
        heard = streamed(context.port, wide, in_turn)
        said.extend(map(copied, context.port.finish(other)))
    finally:
        context.port.close(other)
    for script, outputs in ((wide, heard), (narrow, said)):
        if [output.unit for output in outputs] != [unit.unit for unit in script.units]:
            return f"{len(outputs)} units were answered, not {len(script.units)}"
        for unit, output in zip(script.units, outputs, strict=True):
            reason = wrong_word(script.open, unit, output)
            if reason is not None:
                return f"beside a session with another rule: {reason}"
    return None


def _some_prescribed(context: Context) -> Script:
    """Words of unit 0 are prescribed; its numbers say nothing then (WS-TEXT-3)."""
    script = sampled(context, WARM)
    letters = tuple(65 + i for i in range(preset_named(BARE).agent_text_slots))
    first = attrs.evolve(script.units[0], agent_text=letters)
    return attrs.evolve(script, units=(first, *script.units[1:]))


def _words(context: Context, make: Callable[[], Script], form: Form = "stream") -> str | None:
    context.need("sampling")
    if form == "offline":
        context.need("offline")
    script = make()
    actual = context.run(script, form)
    for unit, output in zip(script.units, actual, strict=True):
        reason = wrong_word(script.open, unit, output)
        if reason is not None:
            return reason
    # What was said went back in: all that follows is the oracle's, saying the same.
    said = with_text_of(script, tuple(output.text for output in actual))
    truth = context.oracle.truth(said, "stream", context.dtype)
    reasons = (close(actual, truth.outputs, truth.naive, context.dtype, t) for t in TENSORS)
    return next((reason for reason in reasons if reason is not None), None)


def wrong_word(request: OpenRequest, unit: UnitInput, output: UnitOutput) -> str | None:
    """The first slot of ``output`` with a word that its logits and its number do not draw
    (WS-TEXT-2, WS-TEXT-3, WS-TEXT-6); where rounding decides, any word will do."""
    assert request.sampling is not None, "a session that samples"
    if unit.agent_text is not None:
        wrong = output.text != unit.agent_text
        return f"unit {unit.unit}: {list(output.text)}, not as prescribed" if wrong else None
    tokens = preset_named(request.preset).tokenizer
    ended = False
    for slot, (word, row) in enumerate(zip(output.text, output.logits, strict=True)):
        where = f"unit {unit.unit}, slot {slot}: token {word}"
        if ended:
            if word != tokens.wait:
                return f"{where} after the end of the turn, not <wait>"
            continue
        ended = word == tokens.eos
        u = 0.0 if unit.uniform is None else float(unit.uniform[slot])
        wanted = drawn(row.astype(np.float64), request, u)
        if wanted is not None and wanted != word:
            return f"{where} by the number {u:.6g}, not {wanted}"
    return None


def drawn(logits: Any, request: OpenRequest, u: float) -> int | None:
    """The token that ``u`` draws from logits that a port answered; None where rounding decides, for
    what was answered may have been rounded to the wire form on its way."""
    rule = request.sampling
    assert rule is not None, "a session that samples"
    off = EPS["float64" if request.dtype == "float64" else "float32"] * float(np.abs(logits).max())
    token = int(np.argmax(logits))
    if rule.temperature:
        ids, p = chosen(attrs.asdict(rule), logits)
        total = np.cumsum(p)
        token = int(ids[np.argmax(total > u * total[-1])])
    low, high = range_of(logits, off, rule, token)
    return token if low <= u < high else None


def _ending(context: Context, preset: str, slot: int) -> Script:
    """In unit 0 the number of ``slot`` is one that draws `<eos>`; the unit after goes on."""
    hot = SamplingInput(temperature=8.0)
    script = sampled(context, hot, preset=preset)
    unit, *others = script.units
    (first,) = context.oracle.record(
        in_dtype(attrs.evolve(script, units=(unit,)), "float64"), "stream"
    )
    low, high = range_of(first.logits[slot], 0.0, hot, preset_named(preset).tokenizer.eos)
    assert unit.uniform is not None, "a session with text"
    numbers = unit.uniform.copy()
    numbers[slot] = (low + high) / 2
    return attrs.evolve(script, units=(attrs.evolve(unit, uniform=sealed(numbers)), *others))


def depends(context: Context) -> Iterator[Case]:
    """On what words depend: the same numbers give the same words, and a number that is not needed
    changes nothing (WS-TEXT-1, WS-TEXT-3)."""
    for name, relation in {
        "same-numbers-same-words": _repeated,
        "number-of-a-later-slot": _later_slot,
        "numbers-of-forced-words": _forced,
        "numbers-of-greedy-words": _greedy,
    }.items():
        yield Case(name=name, judge=partial(relation, context))
    yield Case(name="forced-without-numbers", judge=partial(_forced_alone, context))
    yield Case(name="greedy-without-numbers", judge=partial(_greedy_alone, context))


def _repeated(context: Context) -> str | None:
    context.need("sampling")
    script = sampled(context, WARM)

    def run() -> Recording:
        return context.run.stream(script)

    spread = SessionSpread(context=context, script=script)
    return settled(context, run, run, all_same, all_same, spread)


def _with_numbers(script: Script, k: int, change: Callable[[Any], Any]) -> Script:
    """``script`` with other numbers in unit ``k``."""

    def other(unit: UnitInput) -> UnitInput:
        assert unit.uniform is not None, "a session that samples"
        return attrs.evolve(unit, uniform=change(unit.uniform)) if unit.unit == k else unit

    return attrs.evolve(script, units=tuple(map(other, script.units)))


def _turned(numbers: Any) -> Any:
    return sealed((numbers + 0.37) % 1.0)


def _later_slot(context: Context) -> str | None:
    """The number of the last slot of unit 1 reaches neither unit 0 nor the slots before it."""
    context.need("sampling")
    script = sampled(context, WARM, preset="tiny")

    def change(numbers: Any) -> Any:
        return sealed(np.append(numbers[:-1], _turned(numbers[-1:])))

    def judge(a: Recording, b: Recording) -> str | None:
        if a[1].text[:-1] != b[1].text[:-1]:
            return f"unit 1, text: {list(a[1].text)} against {list(b[1].text)}"
        return same(a, b, (0,)) or same(a, b, (1,), ("logits",))

    return compared(context, script, _with_numbers(script, 1, change), judge)


def _forced(context: Context) -> str | None:
    """Numbers of words that are prescribed are neither used nor kept for the unit after."""
    context.need("sampling")
    contents = [Content(text=(97,), agent_text=(65, 66) if k == 1 else None) for k in range(3)]
    script = sampled(context, WARM, contents=contents)
    return compared(context, script, _with_numbers(script, 1, _turned), all_same)


def _greedy(context: Context) -> str | None:
    context.need("sampling")
    script = sampled(context, SamplingInput())
    return compared(context, script, _with_numbers(script, 1, _turned), all_same)


def _forced_alone(context: Context) -> str | None:
    """Where all words are prescribed, a session that samples needs no number."""
    context.need("sampling")
    contents = [Content(text=(97,), agent_text=(65 + k, 66)) for k in range(2)]
    script = sampled(context, WARM, contents=contents)
    units = tuple(attrs.evolve(unit, uniform=None) for unit in script.units)
    return judge_all_close(context, attrs.evolve(script, units=units), context.dtype, "stream")


def _greedy_alone(context: Context) -> str | None:
    context.need("sampling")
    script = sampled(context, SamplingInput(top_k=2))
    units = tuple(attrs.evolve(unit, uniform=None) for unit in script.units)
    return _words(context, lambda: attrs.evolve(script, units=units))


CHECKS = (
    Check(
        id="sampling/words",
        clauses=("WS-TEXT-1", "WS-TEXT-2", "WS-TEXT-3", "WS-TEXT-6", "WS-TEXT-7", "WS-LAYOUT-4"),
        profile="session",
        tolerance="C",
        cases=words,
    ),
    Check(
        id="sampling/depends",
        clauses=("WS-TEXT-1", "WS-TEXT-3"),
        profile="session",
        tolerance="A",
        cases=depends,
    ),
)
