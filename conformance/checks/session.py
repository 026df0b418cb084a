"""What a session is opened with, what it is fed, and that its answers are final."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final, cast

import attrs

from conformance.case import Case, Context, family
from conformance.closeness import judge_all_close
from conformance.inputs import BARE, PROMPT, Content, agent_text, base, script_of, user_text
from conformance.pairing import all_same, settled
from conformance.protocol import OpenRequest, Refusal, UnitOutput
from conformance.recording import TENSORS, Form, Recording, Script, copied
from conformance.relations import differ, same
from conformance.spread import SessionSpread
from spec.layout import Modalities
from spec.presets import PRESETS, preset_named
from spec.sizes import Schedule

SUBSETS: Final = {
    "text-only": Modalities(
        user_audio=False, user_video=False, agent_audio=False, agent_video=False
    ),
    "voice-only": Modalities(
        user_text=False, user_video=False, agent_text=False, agent_video=False
    ),
    "deaf-and-mute": Modalities(user_audio=False, agent_audio=False),
    "listener": Modalities(agent_text=False, agent_audio=False, agent_video=False),
    "speaker": Modalities(user_text=False, user_audio=False, user_video=False),
    "reader": Modalities(user_audio=False, user_video=False, agent_text=False),
    "face-only": Modalities(agent_text=False, agent_audio=False),
    "on-the-phone": Modalities(user_video=False, agent_video=False),
}
"""Sessions without some of their modalities (WS-LAYOUT-5)."""

SHORT: Final = 3

MANY: Final = (*range(97, 117), *range(64, 75))
"""Tokens of a long prompt."""


def short(context: Context, **options: Any) -> Script:
    """A session of three units under the preset's own schedule."""
    return base(context.preset.name, context.preset.schedule, context.dtype, units=SHORT, **options)


def _as_oracle(context: Context, script: Script, form: Form = "stream") -> str | None:
    """Against the oracle's stream, which `streaming/equals-offline` holds to the offline form; or
    against the oracle's offline form, and the port's own offline form too, if it has one."""
    reason = judge_all_close(context, script, context.dtype, form)
    if reason is None and form == "offline" and "offline" in context.hello.features:
        reason = judge_all_close(context, script, context.dtype, form, "offline")
        return reason and f"the port's own offline form: {reason}"
    return reason


def modalities(context: Context) -> Iterator[Case]:
    """Sessions with fewer modalities against the oracle's offline form (WS-LAYOUT-5)."""
    for i, (name, subset) in enumerate(SUBSETS.items()):
        # Both small presets and both schedules, in turn.
        preset, form = (BARE, "offline") if i % 2 else ("tiny", "stream")
        script = base(
            preset,
            "sequential" if i % 4 < 2 else "overlapped",
            context.dtype,
            units=SHORT,
            modalities=subset,
            forced=True,
        )
        # Without video the port's own offline form may be another program.
        has_video = form == "stream" or subset.user_video or subset.agent_video
        yield Case(
            name=name,
            clauses=("WS-LAYOUT-5",) if has_video else ("WS-LAYOUT-5", "WS-STREAMING-10"),
            # What each of the two lacks, others lack, too.
            further=name in ("speaker", "face-only"),
            judge=partial(_as_oracle, context, script, cast("Form", form)),
        )
    for dtype in context.hello.dtypes[1:]:
        # What a session does not have must not fall back to the main dtype.
        voice = SUBSETS["voice-only"]
        script = base(BARE, "overlapped", dtype, units=4, modalities=voice)
        yield Case(
            name=f"voice-only-{dtype}",
            clauses=("WS-LAYOUT-5",),
            judge=partial(judge_all_close, context, script, dtype, "stream"),
        )


def presets(context: Context) -> Iterator[Case]:
    """What must be refused, and every preset small enough to run (WS-SESSION-1)."""
    good = short(context).open
    for name, request in {
        "unknown-preset": attrs.evolve(good, preset="no-such-preset"),
        "unknown-schedule": attrs.evolve(good, schedule=cast("Schedule", "whenever")),
        "prompt-outside-vocabulary": attrs.evolve(good, prompt=(10**6,)),
        "prompt-one-past-vocabulary": attrs.evolve(
            good, prompt=(context.preset.tokenizer.vocab_size,)
        ),
        "negative-prompt": attrs.evolve(good, prompt=(72, -1)),
    }.items():
        yield Case(name=name, judge=partial(_open_refused, context, request))
    for name, preset in PRESETS.items():
        if name.startswith("tiny"):
            script = base(name, preset.schedule, context.dtype, units=SHORT)
            # It differs from "tiny" in its schedule only.
            further = name == "tiny-lag0"
            yield Case(name=name, further=further, judge=partial(_as_oracle, context, script))
    # The session's schedule counts, not the preset's.
    script = base("tiny-lag0", "overlapped", context.dtype, units=SHORT)
    yield Case(name="tiny-lag0-overlapped", judge=partial(_as_oracle, context, script))


def _open_refused(context: Context, request: OpenRequest) -> str | None:
    try:
        context.port.open(request)
    except Refusal:
        return None
    return "the session was opened"


PROMPTED: Final = ("WS-SESSION-2", "WS-STREAMING-1")


def prompt(context: Context) -> Iterator[Case]:
    """No prompt, others; and all of it is seen from the first unit on (WS-SESSION-2)."""
    tokens = context.preset.tokenizer
    for name, prompt in {
        "empty": (),
        "longer": tuple(range(97, 117)),
        # With <bos> 32 tokens, which begin as those of the longer one.
        "even-longer": MANY,
        "one-token": (101,),
        "even": (101, 102, 103, 104),
        "in-another-order": (104, 102, 103, 101),
        # What stands behind an end is no other document.
        "special": (
            *(tokens.bos, tokens.wait, tokens.wait, 0),
            *(tokens.eos, tokens.vocab_size - 1, tokens.eos),
        ),
    }.items():
        # Without state slots the prompt's last token speaks first, so both presets matter.
        for preset in (BARE, "tiny") if name in ("empty", "special") else (BARE,):
            script = base(
                preset, "sequential", context.dtype, units=SHORT, prompt=prompt, forced=True
            )
            yield Case(
                name=f"{name}-{preset}",
                clauses=(*PROMPTED, *(("WS-VISIBILITY-3",) if name == "special" else ())),
                further=name == "special" and preset != BARE,
                judge=partial(_as_oracle, context, script),
            )
    for index in range(3):
        yield Case(
            name=f"token{index}-is-seen", judge=partial(_prompt_seen, context, PROMPT, index)
        )
    # A prompt that is kept for the next session is known by more than how it begins.
    yield Case(name="last-of-many-is-seen", judge=partial(_prompt_seen, context, MANY, -1))


def _prompt_seen(context: Context, prompt: tuple[int, ...], index: int) -> str | None:
    script = base(BARE, "overlapped", context.dtype, units=1, prompt=prompt, forced=True)
    tokens = list(script.open.prompt)
    tokens[index] += 1
    other = attrs.evolve(script, open=attrs.evolve(script.open, prompt=tuple(tokens)))
    return differ(
        context.run(script), context.run(other), 0, ("logits", "audio_latents", "video_latents")
    )


def noise_is_input(context: Context) -> Iterator[Case]:
    """All noise comes in as a tensor: same noise, same bits; none at all is fine (WS-FLOW-7)."""
    for schedule in ("overlapped", "sequential"):
        script = base(BARE, schedule, context.dtype, units=SHORT, forced=True, seed=2)
        yield Case(name=f"same-noise-same-bits-{schedule}", judge=partial(_same, context, script))
    for name in ("zero", "constant", "loud"):
        script = fed(context, [{"noise": name}] * SHORT)
        yield Case(name=f"{name}-noise", judge=partial(_as_oracle, context, script))


def _same(context: Context, script: Script) -> str | None:
    def run() -> Recording:
        return context.run.stream(script)

    spread = SessionSpread(context=context, script=script)
    reason = settled(context, run, run, all_same, all_same, spread)
    return reason and f"run again with the same noise: {reason}"


def fed(context: Context, units: list[dict[str, Any]], schedule: Schedule = "overlapped") -> Script:
    """A session of the bare preset; each unit as usual but for what its entry says."""
    preset = preset_named(BARE)
    request = OpenRequest(preset=BARE, schedule=schedule, dtype=context.dtype, prompt=(72, 105))
    return script_of(
        request,
        [
            attrs.evolve(
                Content(text=user_text(preset, 0, k), agent_text=agent_text(preset, 0, k)), **unit
            )
            for k, unit in enumerate(units)
        ],
    )


FED: Final = {
    "no-text": ("WS-LAYOUT-3",),
    "full-text": ("WS-LAYOUT-3",),
    "text-after-none": ("WS-LAYOUT-3",),
    "special-text": ("WS-LAYOUT-3",),
    "special-words": ("WS-TEXT-6", "WS-LAYOUT-4"),
    "silence": ("WS-STREAMING-2",),
    "black": ("WS-STREAMING-2",),
    "nothing-at-all": ("WS-FLOW-7", "WS-FLOW-6"),
    "sound-after-silence": ("WS-STREAMING-2",),
    "silence-after-sound": ("WS-LAYOUT-3",),
    "full-scale": ("WS-STREAMING-2", "WS-FLOW-6", "WS-FLOW-7"),
    "still": ("WS-FLOW-7",),
    "every-unit-alike": ("WS-STREAMING-2",),
    "limits": ("WS-STREAMING-2", "WS-FLOW-6"),
}
"""What each of these is about: user text, words, sound and pictures from unit to unit, or noise."""


PART_OF_OTHERS: Final = ("silence", "every-unit-alike", "full-scale")
"""There is silence before sound, too; what is still or at full scale is also in other sessions."""


def inputs(context: Context) -> Iterator[Case]:
    """What enters may be anything: no text or full slots, silence, black, full scale, every id
    (WS-LAYOUT-3, WS-STREAMING-2)."""
    tokens = preset_named(BARE).tokenizer
    bos, eos, wait, last = tokens.bos, tokens.eos, tokens.wait, tokens.vocab_size - 1
    quiet: dict[str, Any] = {"audio": "zero", "video": "zero", "text": ()}
    scripts: dict[str, list[dict[str, Any]]] = {
        "no-text": [{"text": ()}] * 5,
        "full-text": [{"text": (97, 98)}] * 5,
        "text-after-none": [{"text": ()}] * 4 + [{"text": (97, 98)}, {"text": (99,)}],
        "special-text": [{"text": t} for t in ((wait, eos), (bos, 0), (last, wait), (eos,))],
        "special-words": [
            {"agent_text": t} for t in ((wait, wait), (eos, wait), (eos, 65), (bos, last), (0, eos))
        ],
        "silence": [{"audio": "zero"}] * 5,
        "black": [{"video": "zero"}] * 5,
        "nothing-at-all": [quiet | {"noise": "zero"}] * 5,
        "sound-after-silence": [quiet] * 9 + [{}, {}],
        "silence-after-sound": [{}, {}] + [quiet] * 5,
        "full-scale": [{"audio": "loud", "video": "loud", "noise": "loud"}] * 4,
        "still": [{"audio": "constant", "video": "constant", "noise": "constant"}] * 5,
        "every-unit-alike": [{"text": (97,), "agent_text": (65, 66), "video": "constant"}] * 6,
        "limits": [
            {"audio": "square", "video": "lowest", "text": (97, 97)},
            {"audio": "whisper", "video": "square", "agent_text": (65, 65)},
            {"audio": "lowest", "video": "whisper", "text": (98, 98)},
            {"audio": "whisper", "video": "lowest", "noise": "huge"},
            {"text": (98, 98)},
            # Blanks, line ends and bytes of no text are ids like others.
            {"noise": "lowest", "text": (32, 10)},
            {"text": (9, 255), "agent_text": (32, 32)},
            {"text": (13, 32), "video": "held"},
            {},
        ],
    }
    for i, (name, units) in enumerate(scripts.items()):
        schedule: Schedule = "sequential" if i % 2 else "overlapped"
        script = fed(context, units, schedule)
        yield Case(
            name=name,
            clauses=FED[name],
            further=name in PART_OF_OTHERS,
            judge=partial(_as_oracle, context, script),
        )


def outputs_are_final(context: Context) -> Iterator[Case]:
    """What a port has answered never changes afterwards, nor what it was given
    (WS-CONFORMANCE-6)."""
    yield Case(name="later-steps", judge=partial(_outputs_are_final, context, False))
    yield Case(name="another-session", judge=partial(_outputs_are_final, context, True))
    yield Case(name="inputs-overwritten", judge=partial(_inputs_overwritten, context))


def _outputs_are_final(context: Context, in_another: bool) -> str | None:
    # More units than a port would have buffers to take in turn.
    script = base(BARE, "overlapped", context.dtype, units=9, forced=True)
    session = context.port.open(script.open)
    given: list[UnitOutput] = []
    kept: list[UnitOutput] = []
    for unit in script.units:
        fresh = context.port.step(session, unit)
        given += fresh
        kept += map(copied, fresh)
    fresh = context.port.finish(session)
    given += fresh
    kept += map(copied, fresh)
    context.port.close(session)
    if in_another:
        context.run.stream(short(context, seed=1))
    reason = same(tuple(kept), tuple(given), range(len(given)), TENSORS)
    return None if reason is None else f"as answered against after later steps: {reason}"


def _inputs_overwritten(context: Context) -> str | None:
    """The caller may reuse its buffers as soon as a step has returned."""
    script = base(BARE, "overlapped", context.dtype, units=4, forced=True)

    def reused() -> Recording:
        session = context.port.open(script.open)
        outputs: list[UnitOutput] = []
        arrays = ("audio", "video", "noise_audio", "noise_video")
        try:
            for unit in script.units:
                mine = {name: getattr(unit, name).copy() for name in arrays}
                outputs += map(copied, context.port.step(session, attrs.evolve(unit, **mine)))
                for array in mine.values():
                    array[...] = 0
            outputs += map(copied, context.port.finish(session))
        finally:
            context.port.close(session)
        return tuple(outputs)

    def judge(a: Recording, b: Recording) -> str | None:
        reason = same(a, b, range(min(len(a), len(b))))
        return reason and f"inputs overwritten after their step: {reason}"

    spread = SessionSpread(context=context, script=script)
    return settled(context, lambda: context.run.stream(script), reused, judge, all_same, spread)


def repeatable(context: Context) -> Iterator[Case]:
    """A port that says so gives the same bits for the same commands (WS-CONFORMANCE-2), any other
    numbers that rounding explains (WS-CONFORMANCE-25)."""
    for preset in ("tiny", BARE):
        for form in ("stream", "offline"):
            script = base(preset, "overlapped", context.dtype, units=SHORT)
            yield Case(
                name=f"{preset}-{form}",
                judge=partial(_repeatable, context, script, form),
            )


def _repeatable(context: Context, script: Script, form: Form) -> str | None:
    run = partial(context.run.anew, script, form)
    if not context.hello.deterministic:
        spread = SessionSpread(context=context, script=script)
        return settled(context, run, run, all_same, all_same, spread)
    again = run()
    # The first run of all may have been rounded otherwise (compiled, tuned since).
    reason = all_same(again, run())
    return reason and f"claims to be deterministic: {reason}"


_check = family("session", "session")

CHECKS = (
    _check("modalities", ("WS-LAYOUT-5", "WS-STREAMING-10"), "C", modalities),
    _check("presets", ("WS-SESSION-1", "WS-PRESETS-1", "WS-PRESETS-3"), "C", presets),
    _check("prompt", ("WS-SESSION-2", "WS-STREAMING-1", "WS-VISIBILITY-3"), "C", prompt),
    _check(
        "inputs",
        ("WS-STREAMING-2", "WS-LAYOUT-3", "WS-LAYOUT-4", "WS-TEXT-6", "WS-FLOW-6", "WS-FLOW-7"),
        "C",
        inputs,
    ),
    _check("noise-is-input", ("WS-FLOW-7",), "A", noise_is_input),
    _check("outputs-are-final", ("WS-CONFORMANCE-6",), "A", outputs_are_final),
    _check("repeatable", ("WS-CONFORMANCE-2", "WS-CONFORMANCE-25"), "A", repeatable),
)
