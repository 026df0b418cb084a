"""What a session refuses, in which words, and that it can go on afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import attrs
import pytest
import samples
import torch

from reference import offline, session
from reference.session import SessionState
from reference.units import AgentUnit, Latents, UserUnit
from spec.errors import TensorError
from spec.layout import Modalities
from spec.session import SessionConfig

CONFIG = SessionConfig(preset=samples.SMALL, schedule="overlapped")
NAN = float("nan")


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """What is handed to the session at unit 1."""

    user: UserUnit
    noise: Latents
    agent_text: tuple[int, ...] | None = None


@cache
def good() -> tuple[SessionState, Step, AgentUnit]:
    """The state before unit 1, inputs that fit it, and what they give."""
    users, noises = samples.users_of(CONFIG, 2, (2,)), samples.noises_of(CONFIG, 2)
    outputs, states = samples.stream(CONFIG, users, noises)
    return states[1], Step(user=users[1], noise=noises[1]), outputs[1]


def spoiled(tensor: torch.Tensor | None, value: float) -> torch.Tensor:
    assert tensor is not None
    copy = tensor.clone()
    copy.reshape(-1)[-1] = value
    return copy


def user(**changes: Any) -> Callable[[Step], Step]:
    return lambda step: attrs.evolve(step, user=attrs.evolve(step.user, **changes))


def noise(**changes: Any) -> Callable[[Step], Step]:
    return lambda step: attrs.evolve(step, noise=attrs.evolve(step.noise, **changes))


def say(*text: int) -> Callable[[Step], Step]:
    return lambda step: attrs.evolve(step, agent_text=text)


def bad_value(which: str, value: float) -> Callable[[Step], Step]:
    def change(step: Step) -> Step:
        side, name = which.split(".")
        tensor = spoiled(getattr(getattr(step, side), name), value)
        return (user if side == "user" else noise)(**{name: tensor})(step)

    return change


FRAMES = (4, 3, 32, 64)
REFUSED: dict[str, tuple[Callable[[Step], Step], str, object, str]] = {
    "unit-again": (user(unit=0), "user unit", 0, "unit 1, the next one"),
    "unit-skipped": (user(unit=2), "user unit", 2, "unit 1, the next one"),
    "no-audio": (user(audio=None), "user audio of unit 1", "none", "shape (2560,)"),
    "no-video": (user(video=None), "user video of unit 1", "none", f"shape {FRAMES}"),
    "short-audio": (
        user(audio=torch.zeros(2559)), "user audio of unit 1", (2559,), "shape (2560,)",
    ),
    "stereo": (
        user(audio=torch.zeros(2, 2560)), "user audio of unit 1", (2, 2560), "shape (2560,)",
    ),
    "five-frames": (
        user(video=torch.zeros(5, 3, 32, 64)), "user video of unit 1", (5, 3, 32, 64),
        f"shape {FRAMES}",
    ),
    "other-size": (
        user(video=torch.zeros(4, 3, 64, 32)), "user video of unit 1", (4, 3, 64, 32),
        f"shape {FRAMES}",
    ),
    "nan-audio": (
        bad_value("user.audio", NAN), "user audio of unit 1", "NaN or Inf", "finite values",
    ),
    "inf-video": (
        bad_value("user.video", -torch.inf), "user video of unit 1", "NaN or Inf", "finite values",
    ),
    "long-text": (
        user(text=(1, 2, 3, 4)), "user text of unit 1", "4 tokens", "at most 3",
    ),
    "text-over": (user(text=(65, 263)), "user text of unit 1", 263, "token ids 0 to 262"),
    "text-under": (user(text=(-1,)), "user text of unit 1", -1, "token ids 0 to 262"),
    "say-too-much": (say(1, 2, 3, 4), "agent text of unit 1", "4 tokens", "at most 3"),
    "say-too-little": (say(1, 2), "agent text of unit 1", "2 tokens", "3"),
    "say-over": (say(1, 263, 2), "agent text of unit 1", 263, "token ids 0 to 262"),
    "noise-shape": (
        noise(audio=torch.zeros(7, 4)), "audio noise of unit 1", (7, 4), "(4, 7)",
    ),
    "noise-size": (
        noise(video=torch.zeros(5, 4, 2)), "video noise of unit 1", (5, 4, 2),
        "(5, 2, 4)",
    ),
    "noise-absent": (noise(video=None), "video noise of unit 1", None, "(5, 2, 4)"),
    "nan-noise": (
        bad_value("noise.audio", NAN), "audio noise of unit 1", "NaN or Inf", "finite values",
    ),
    "inf-noise": (
        bad_value("noise.video", torch.inf), "video noise of unit 1", "NaN or Inf",
        "finite values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    """WS-STREAMING-2: the error names what is wrong, which value came and what is allowed, in one
    line."""
    change, what, value, allowed = REFUSED[name]
    state, step, _ = good()
    wrong = change(step)
    model = samples.model_of(samples.SMALL)
    with pytest.raises(TensorError) as caught:
        session.step(model, CONFIG, state, wrong.user, wrong.noise, wrong.agent_text)
    assert (caught.value.what, caught.value.value) == (what, value)
    assert caught.value.allowed == allowed
    assert "\n" not in str(caught.value)


def test_the_session_goes_on_after_every_refusal() -> None:
    """WS-STREAMING-2: the caller's state is untouched, so the right input gives the same unit as
    if nothing had happened."""
    state, step, expected = good()
    model = samples.model_of(samples.SMALL)
    for change, *_ in REFUSED.values():
        wrong = change(step)
        with pytest.raises(TensorError):
            session.step(model, CONFIG, state, wrong.user, wrong.noise, wrong.agent_text)
    agent, _ = session.step(model, CONFIG, state, step.user, step.noise)
    assert samples.identical(agent, expected)


@pytest.mark.parametrize("side", ["user", "agent"])
@pytest.mark.parametrize("modality", ["audio", "video"])
def test_what_the_session_does_not_have_is_refused(side: str, modality: str) -> None:
    """WS-LAYOUT-5: a modality that was switched off cannot come in after all."""
    modalities = attrs.evolve(Modalities(), **{f"{side}_{modality}": False})
    config = attrs.evolve(CONFIG, modalities=modalities)
    model = samples.model_of(samples.SMALL)
    state = session.open_session(model, config)
    full = samples.users_of(CONFIG, 1)[0], samples.noise_of(CONFIG, 0)
    fits = samples.users_of(config, 1)[0], samples.noise_of(config, 0)
    which = "user" if side == "user" else f"{modality} noise"
    with pytest.raises(TensorError, match=f"{which}.* of unit 0: got"):
        session.step(model, config, state, *full)
    session.step(model, config, state, *fits)


@pytest.mark.parametrize(
    "name", ["short-audio", "inf-video", "long-text", "say-too-little", "noise-shape", "nan-noise"]
)
def test_the_offline_form_refuses_the_same(name: str) -> None:
    """WS-STREAMING-10: the form that defines the numbers takes no input that streaming refuses."""
    change, what, value, allowed = REFUSED[name]
    users, noises = samples.users_of(CONFIG, 2, (2,)), samples.noises_of(CONFIG, 2)
    texts = samples.forced_of(CONFIG, 2)
    wrong = change(Step(user=users[1], noise=noises[1], agent_text=texts[1]))
    assert wrong.agent_text is not None
    model = samples.model_of(samples.SMALL)
    with pytest.raises(TensorError) as caught:
        offline.generate(
            model,
            CONFIG,
            [users[0], wrong.user],
            [noises[0], wrong.noise],
            [texts[0], wrong.agent_text],
        )
    assert (caught.value.what, caught.value.value) == (what, value)
    assert caught.value.allowed == allowed


def test_inputs_of_another_precision_are_cast() -> None:
    """WS-STREAMING-10: float32 signals and noise into a float64 session, in both forms."""
    users, noises = samples.users_of(CONFIG, 2), samples.noises_of(CONFIG, 2)
    narrow = [attrs.evolve(u, audio=_narrow(u.audio), video=_narrow(u.video)) for u in users]
    # The noise is exact in float32, so nothing but its dtype changes.
    narrow_noises = [Latents(audio=_narrow(z.audio), video=_narrow(z.video)) for z in noises]
    streamed, _ = samples.stream(CONFIG, narrow, narrow_noises)
    whole = samples.at_once(CONFIG, narrow, narrow_noises)
    for ours, expected in zip(streamed, whole, strict=True):
        samples.assert_close(ours, expected)
        assert {t.dtype for t in samples.tensors_of(ours).values()} == {samples.F64}


def _narrow(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.float()
