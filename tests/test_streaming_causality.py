"""Causality by perturbation: change one unit's input, and nothing before it moves by a bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import attrs
import pytest
import samples
import torch

from reference.units import AgentUnit, Latents, UserUnit
from spec.session import SessionConfig
from spec.sizes import Schedule

BRISK = attrs.evolve(samples.SMALL, name="brisk", agent_text_slots=2, user_text_slots=2)
K = 4
FIRST, SECOND, MIDDLE, LAST = range(K)

USER_KINDS = ("user audio", "user video", "user text", "user text length")
NOISE_KINDS = ("audio noise", "video noise")
KINDS = (*USER_KINDS, *NOISE_KINDS, "agent text")
CASES = [
    *[("offline", "overlapped", unit) for unit in (FIRST, SECOND, MIDDLE, LAST)],
    *[("offline", "sequential", unit) for unit in (FIRST, LAST)],
    *[("session", "overlapped", unit) for unit in (FIRST, LAST)],
    *[("session", "sequential", unit) for unit in (SECOND, MIDDLE)],
]


@attrs.frozen(kw_only=True, eq=False)
class Inputs:
    """All that goes into a session."""

    users: Sequence[UserUnit]
    noises: Sequence[Latents]
    agent_texts: Sequence[tuple[int, ...]] | None


def config_of(schedule: Schedule) -> SessionConfig:
    return SessionConfig(preset=BRISK, schedule=schedule)


@cache
def inputs_of(schedule: Schedule, *, forced: bool) -> Inputs:
    config = config_of(schedule)
    return Inputs(
        users=samples.users_of(config, K, (1,)),
        noises=samples.noises_of(config, K),
        agent_texts=samples.forced_of(config, K) if forced else None,
    )


def outputs_of(form: str, schedule: Schedule, inputs: Inputs) -> list[AgentUnit]:
    config = config_of(schedule)
    if form == "offline":
        return samples.at_once(config, inputs.users, inputs.noises, inputs.agent_texts)
    return samples.stream(config, inputs.users, inputs.noises, inputs.agent_texts)[0]


@cache
def unperturbed(form: str, schedule: Schedule, *, forced: bool) -> list[AgentUnit]:
    return outputs_of(form, schedule, inputs_of(schedule, forced=forced))


def perturbed(inputs: Inputs, kind: str, unit: int, schedule: Schedule) -> Inputs:
    """The same inputs with one kind of one unit replaced; no shape changes."""
    config = config_of(schedule)
    users, noises = list(inputs.users), list(inputs.noises)
    user, other = users[unit], samples.users_of(config, K, (1,), seed=8)[unit]
    other_noise = samples.noise_of(config, unit, seed=1)
    texts = None if inputs.agent_texts is None else list(inputs.agent_texts)
    if kind == "user audio":
        users[unit] = attrs.evolve(user, audio=other.audio)
    elif kind == "user video":
        users[unit] = attrs.evolve(user, video=other.video)
    elif kind == "user text":
        users[unit] = attrs.evolve(user, text=other.text)
    elif kind == "user text length":
        users[unit] = attrs.evolve(user, text=(*user.text, 90))
    elif kind == "audio noise":
        noises[unit] = attrs.evolve(noises[unit], audio=other_noise.audio)
    elif kind == "video noise":
        noises[unit] = attrs.evolve(noises[unit], video=other_noise.video)
    else:
        assert texts is not None
        texts[unit] = (texts[unit][0] + 1, texts[unit][1])
    return Inputs(users=users, noises=noises, agent_texts=texts)


@pytest.mark.parametrize(("form", "schedule", "unit"), CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_sees_the_future(kind: str, form: str, schedule: Schedule, unit: int) -> None:
    """WS-VISIBILITY-1, WS-VISIBILITY-4, WS-VISIBILITY-5, WS-VISIBILITY-6, WS-STREAMING-10: outputs
    of earlier units are bit-identical, and the unit's own are not, in both forms."""
    forced = kind == "agent text"
    before = unperturbed(form, schedule, forced=forced)
    inputs = perturbed(inputs_of(schedule, forced=forced), kind, unit, schedule)
    after = outputs_of(form, schedule, inputs)
    for k in range(unit):
        assert samples.identical(before[k], after[k]), f"unit {k} saw unit {unit}"

    old, new = samples.tensors_of(before[unit]), samples.tensors_of(after[unit])
    for name in ("latents.audio", "latents.video", "audio", "video"):
        assert not torch.equal(old[name], new[name]), name
    if kind in NOISE_KINDS:
        # The unit's words come before its response.
        assert torch.equal(old["logits"], new["logits"])
    elif kind == "agent text":
        # Slot 0 is predicted before anything is said, slot 1 after it.
        assert torch.equal(old["logits"][0], new["logits"][0])
        assert not torch.equal(old["logits"][1], new["logits"][1])
    else:
        assert not torch.equal(old["logits"], new["logits"])


@pytest.mark.parametrize("form", ["offline", "session"])
@pytest.mark.parametrize(("schedule", "lag"), [("sequential", 0), ("overlapped", 1)])
@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_a_response_is_first_heard_after_the_lag(
    kind: str, schedule: Schedule, lag: int, form: str
) -> None:
    """WS-VISIBILITY-2, WS-VISIBILITY-7, WS-STREAMING-8, WS-STREAMING-9: the response of unit j
    moves the language of exactly j + 1 + λ on, and the next response at once."""
    before = unperturbed(form, schedule, forced=False)
    inputs = perturbed(inputs_of(schedule, forced=False), kind, FIRST, schedule)
    after = outputs_of(form, schedule, inputs)
    for k in range(K):
        same = torch.equal(before[k].logits, after[k].logits)
        assert same == (k < FIRST + 1 + lag), f"logits of unit {k}"
    for k in range(FIRST, K):
        audio = (before[k].latents.audio, after[k].latents.audio)
        assert audio[0] is not None
        assert audio[1] is not None
        assert not torch.equal(audio[0], audio[1]), f"response of unit {k}"
