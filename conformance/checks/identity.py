"""Who the agent is: sessions with a picture, a voice or both before unit 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs
import numpy as np

from conformance.case import Case, Context, family
from conformance.checks.cache import numbers_held, rows_held
from conformance.checks.isolation import TEXT, VOICE, contents, request
from conformance.closeness import judge_all_close, judge_close
from conformance.inputs import BARE, base, identity, sealed
from conformance.pairing import settled
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
from conformance.protocol import Array, IdentityInput, OpenRequest, Refusal
from conformance.recording import TENSORS, Form, Script
from conformance.relations import differ
from conformance.spread import LifeSpread
from spec import clock
from spec.layout import PREFILL_UNIT, Modalities
from spec.presets import preset_named
from spec.sizes import Schedule

TICKS: Final = 3
LATE: Final = {"text-only": 26, "text-only-long": 100}
"""Units of sessions of four seconds, and of sixteen."""
MOVED: Final = ("logits", "audio_latents", "video_latents")
PLACES: Final = ("WS-PREFILL-1", "WS-PREFILL-2", "WS-PREFILL-3", "WS-PREFILL-4", "WS-VISIBILITY-3")
SESSIONS: Final[dict[str, dict[str, Any]]] = {
    "picture": {"ticks": 0},
    "voice": {"image": False, "schedule": "sequential"},
    "both": {"units": 3},
    "picture-behind-28": {"prompt": tuple(range(97, 125)), "ticks": 0},
    "picture-no-prompt": {"prompt": (), "ticks": 0},
    "voice-no-prompt": {"prompt": (), "image": False},
    "one-tick": {"image": False, "ticks": 1},
    "long-voice": {"ticks": 26},
    "silent-and-black": {"signal": 0.0},
    "full-scale": {"signal": 1.0},
    "text-only": {"modalities": TEXT},
    "no-video": {"modalities": VOICE, "ticks": 0},
    "silent-agent": {"modalities": Modalities(agent_audio=False), "image": False},
    "other-preset": {"preset": "tiny", "schedule": "sequential"},
}
"""How each session differs from one of the bare preset with both and a prompt."""


def who_of(context: Context, preset: str = BARE, **options: Any) -> IdentityInput:
    return identity(preset, context.dtype, **({"voice_ticks": TICKS} | options))


def script_of(
    context: Context,
    preset: str = BARE,
    schedule: Schedule = "overlapped",
    *,
    image: bool = True,
    ticks: int = TICKS,
    signal: float | None = None,
    units: int = 1,
    **options: Any,
) -> Script:
    """A session with an identity; ``signal`` fills picture and voice with one value."""
    plain = base(preset, schedule, context.dtype, units=units, forced=True, **options)
    who = who_of(context, preset, image=image, voice_ticks=ticks)
    if signal is not None:
        who = attrs.evolve(
            who,
            picture=None if who.picture is None else sealed(np.full_like(who.picture, signal)),
            voice=None if who.voice is None else sealed(np.full_like(who.voice, signal)),
        )
    return with_identity(plain, who)


def with_identity(script: Script, who: IdentityInput) -> Script:
    return attrs.evolve(script, open=attrs.evolve(script.open, identity=who))


def sessions(context: Context) -> Iterator[Case]:
    """Picture, voice, both, with whatever else a session may be without, against the oracle
    (WS-PREFILL-1 to WS-PREFILL-4)."""
    for name, options in SESSIONS.items():
        script = partial(script_of, context, **options)
        form: Form = "offline" if name == "both" else "stream"
        yield Case(name=name, judge=partial(_as_oracle, context, script, form))
    offline = partial(_offline, context)
    yield Case(name="offline-form", judge=offline)


def _as_oracle(context: Context, make: Callable[[], Script], truth: Form) -> str | None:
    context.need("identity")
    return judge_all_close(context, make(), context.dtype, truth)


def _offline(context: Context) -> str | None:
    """The port's own offline form holds the identity as its stream does (WS-STREAMING-10)."""
    context.need("identity")
    context.need("offline")
    script = script_of(context)
    reasons = (
        judge_close(context, script, context.dtype, t, "offline", "offline") for t in TENSORS
    )
    return next((reason for reason in reasons if reason is not None), None)


def late(context: Context) -> Iterator[Case]:
    """What came before unit 0 is seen as long as the session lasts (WS-VISIBILITY-3)."""
    for name, units in LATE.items():
        script = partial(script_of, context, units=units, modalities=TEXT)
        yield Case(
            name=name,
            further=name != "text-only",
            brief=name == "text-only",
            judge=partial(_as_oracle, context, script, "stream"),
        )


def entries(context: Context) -> Iterator[Case]:
    """What both caches hold of P: its rows, and the keys and values of the clean tokens
    (WS-PREFILL-1, WS-PREFILL-2, WS-PREFILL-4)."""
    for name, script in {
        "both": partial(script_of, context, units=3),
        "other-preset": partial(script_of, context, preset="tiny", units=2),
    }.items():
        for array in (None, "keys", "values"):
            yield Case(
                name=f"{name}-{array or 'rows'}",
                further=name == "other-preset",
                judge=partial(_entries, context, script, array),
            )


def _entries(context: Context, make: Callable[[], Script], array: str | None) -> str | None:
    context.need("identity")
    script = make()
    return rows_held(context, script) if array is None else numbers_held(context, script, array)


def used(context: Context) -> Iterator[Case]:
    """Every part of the picture and every tick of the voice moves the first response
    (WS-PREFILL-3, WS-VISIBILITY-3)."""
    preset = preset_named(BARE)
    side, rows, cols = clock.VIDEO_SPATIAL_STRIDE, preset.latent_height, preset.latent_width
    for row in range(rows):
        for col in range(cols):
            pixel = 1, side * row + side // 2, side * col + side // 2
            yield _touched(context, f"picture-{row}-{col}", "picture", pixel)
    for tick in range(TICKS):
        sample = clock.AGENT_SAMPLES_PER_TICK * tick + clock.AGENT_SAMPLES_PER_TICK // 2
        yield _touched(context, f"voice-tick{tick}", "voice", (sample,))
    yield Case(name="kv-digest", judge=partial(_digested, context))


def _touched(context: Context, name: str, signal: str, place: tuple[int, ...]) -> Case:
    return Case(name=name, judge=partial(_moves, context, signal, place))


def _moves(context: Context, signal: str, place: tuple[int, ...]) -> str | None:
    context.need("identity")
    script = script_of(context, units=1)
    assert script.open.identity is not None, "made with one"
    array: Array = getattr(script.open.identity, signal).copy()
    array[place] += 0.5
    changed: dict[str, Any] = {signal: sealed(array)}
    other = attrs.evolve(script.open.identity, **changed)
    reason = differ(context.run(script), context.run(with_identity(script, other)), 0, MOVED)
    return reason and f"one value of the {signal} changed: {reason}"


def _digested(context: Context) -> str | None:
    """The digest of the prefill is of picture and voice, too (WS-STREAMING-6)."""
    context.need("identity")
    context.need("kv_digest")
    script = script_of(context, units=1)
    found = []
    for seed in range(2):
        who = identity(BARE, context.dtype, voice_ticks=TICKS, seed=seed)
        session = context.port.open(with_identity(script, who).open)
        try:
            found.append(context.port.kv_digest(session, PREFILL_UNIT))
        finally:
            context.port.close(session)
    same_roles = [role for role, digest in found[0].items() if found[1].get(role) == digest]
    return f"the {same_roles[0]} digests another identity as the same" if same_roles else None


def asked(context: Context, seed: int = 0, **options: Any) -> OpenRequest:
    """A request for the bare preset with an identity of that seed."""
    return attrs.evolve(request(context), identity=who_of(context, seed=seed, **options))


def life(context: Context, session: str, seed: int | None, units: int = 2) -> list[Step]:
    """One session from beginning to end; with nobody in it if ``seed`` is None."""
    wanted = request(context) if seed is None else asked(context, seed)
    return [
        opened(session, wanted),
        *stepped(session, contents(BARE, 0, units)),
        *ended(session),
    ]


def three_in_turn(context: Context, seed: int) -> list[Step]:
    """One identity, another, and nobody, unit by unit."""
    return in_turn(life(context, "a", 0), life(context, "b", seed), life(context, "c", None))


def nobody_after_somebody(context: Context, seed: int) -> list[Step]:
    """An identity is gone with its session."""
    return [*life(context, "b", seed), *life(context, "a", None)]


def another_after(context: Context, seed: int) -> list[Step]:
    """The same prompt, the same shapes, another identity."""
    return [*life(context, "b", seed), *life(context, "a", 0)]


TOGETHER: Final = (three_in_turn, nobody_after_somebody, another_after)


def apart(context: Context) -> Iterator[Case]:
    """Each session has its own identity, and no other one's; reset, export and import keep it
    (WS-SESSION-3, WS-PREFILL-1)."""
    for plan in TOGETHER:
        name = plan.__name__.replace("_", "-")
        judge = partial(_played, context, plan(context, 1), "")
        yield Case(name=name, clauses=("WS-PREFILL-1",), judge=judge)
        if plan is not nobody_after_somebody:
            unmoved = partial(_unmoved, context, plan)
            yield Case(
                name=f"{name}-unmoved", clauses=("WS-SESSION-3",), further=True, judge=unmoved
            )
    kept = ("WS-PREFILL-1",)
    units = stepped("a", contents(BARE, 1, 2))
    reset = [
        opened("a", asked(context)),
        *units,
        Step(do="reset", session="a"),
        *life(context, "a", 0)[1:],
    ]
    yield Case(name="reset", clauses=kept, judge=partial(_played, context, reset, "reset"))
    for count in (0, 1):
        moved = [
            opened("a", asked(context)),
            *units[:count],
            Step(do="export", session="a", state="state"),
            Step(do="close", session="a"),
            opened("b", asked(context)),
            Step(do="import", session="b", state="state"),
            *stepped("b", contents(BARE, 0, 2)),
            *ended("b"),
        ]
        judge = partial(_played, context, moved, "kv_transfer")
        yield Case(name=f"moved-after-{count}-units", clauses=kept, judge=judge)


def _played(context: Context, program: list[Step], feature: str) -> str | None:
    context.need("identity")
    if feature:
        context.need(feature)
    return as_the_oracle(context, play(context.port, program))


def _unmoved(context: Context, plan: Callable[[Context, int], list[Step]]) -> str | None:
    """Not a bit of "a" depends on the values of another's identity."""
    context.need("identity")

    def lives(seed: int) -> list[Life]:
        return play(context.port, plan(context, seed))

    def judge(a: list[Life], b: list[Life]) -> str | None:
        reason = same_lives(a, b, ("a",))
        return reason and f"another identity beside it: {reason}"

    return settled(
        context, lambda: lives(1), lambda: lives(2), judge, judge, LifeSpread(context=context)
    )


def _one(array: Any, value: float) -> Array:
    changed: Array = array.copy()
    changed.reshape(-1)[changed.size // 2] = value
    return changed


Spoil = Callable[[Any], IdentityInput]
BAD: Final[dict[str, Spoil]] = {
    "transposed-picture": lambda w: attrs.evolve(w, picture=w.picture.swapaxes(1, 2)),
    "channels-last-picture": lambda w: attrs.evolve(w, picture=np.moveaxis(w.picture, 0, 2)),
    "a-row-less": lambda w: attrs.evolve(w, picture=w.picture[:, :-1]),
    "grey-picture": lambda w: attrs.evolve(w, picture=w.picture[:1]),
    "four-frames": lambda w: attrs.evolve(w, picture=np.stack([w.picture] * 4)),
    "nan-picture": lambda w: attrs.evolve(w, picture=_one(w.picture, np.nan)),
    "infinite-picture": lambda w: attrs.evolve(w, picture=_one(w.picture, np.inf)),
    "missing-picture": lambda w: attrs.evolve(w, picture=None),
    "unexpected-picture": lambda w: attrs.evolve(w, image=False),
    "a-sample-less": lambda w: attrs.evolve(w, voice=w.voice[:-1]),
    "a-tick-more": lambda w: attrs.evolve(w, voice=np.concatenate((w.voice, w.voice[:960]))),
    "voice-at-16-khz": lambda w: attrs.evolve(w, voice=w.voice[: 640 * TICKS]),
    "stereo-voice": lambda w: attrs.evolve(w, voice=np.stack((w.voice, w.voice))),
    "nan-voice": lambda w: attrs.evolve(w, voice=_one(w.voice, np.nan)),
    "infinite-voice": lambda w: attrs.evolve(w, voice=_one(w.voice, -np.inf)),
    "missing-voice": lambda w: attrs.evolve(w, voice=None),
    "unexpected-voice": lambda w: attrs.evolve(w, voice_ticks=0),
    "negative-ticks": lambda w: attrs.evolve(w, voice_ticks=-1, voice=None),
}
"""Identities that fit no session, or not their own description (WS-PREFILL-6)."""


def refused(context: Context) -> Iterator[Case]:
    """A bad identity is refused when the session is opened, and harms nobody (WS-PREFILL-6,
    WS-CONFORMANCE-4)."""
    for name, spoil in BAD.items():
        yield Case(name=name, judge=partial(_refused, context, spoil))
    yield Case(name="offline", judge=partial(_refused_offline, context))
    yield Case(name="then-a-good-one", further=True, judge=partial(_good_after_bad, context))


def _bad(context: Context, spoil: Spoil) -> OpenRequest:
    wanted = asked(context)
    return attrs.evolve(wanted, identity=spoil(wanted.identity))


def _refused(context: Context, spoil: Spoil) -> str | None:
    context.need("identity")
    try:
        session = context.port.open(_bad(context, spoil))
    except Refusal:
        return None
    context.port.close(session)
    return "the session was opened"


def _refused_offline(context: Context) -> str | None:
    context.need("identity")
    context.need("offline")
    script = script_of(context)
    try:
        context.port.offline(_bad(context, BAD["a-sample-less"]), script.units)
    except Refusal:
        return None
    return "the session was run"


def _good_after_bad(context: Context) -> str | None:
    """A session opened after all the refusals."""
    context.need("identity")
    for spoil in BAD.values():
        reason = _refused(context, spoil)
        if reason is not None:
            return reason
    return as_the_oracle(context, play(context.port, life(context, "a", 0)))


_check = family("identity", "session")

CHECKS = (
    _check("sessions", PLACES, "C", sessions),
    _check("entries", ("WS-PREFILL-1", "WS-PREFILL-2", "WS-PREFILL-4"), "C", entries),
    _check("used", ("WS-PREFILL-3", "WS-VISIBILITY-3"), "A", used),
    _check("late", ("WS-VISIBILITY-3",), "C", late),
    _check("apart", ("WS-SESSION-3", "WS-PREFILL-1"), "C", apart),
    _check("refused", ("WS-PREFILL-6", "WS-CONFORMANCE-4"), "A", refused),
)
