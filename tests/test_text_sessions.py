"""Sampled words and the end of a turn in whole sessions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import attrs
import pytest
import samples
import torch
from samples import SMALL, STATELESS
from torch import Tensor

from reference import offline, recipe, sampling, session, thinker
from reference.noise import unit_uniform
from reference.session import SessionState
from reference.units import AgentUnit
from spec.errors import TensorError
from spec.session import SessionConfig
from spec.sizes import Preset, Schedule
from spec.text import Sampling

SCHEDULES = pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
RULE = Sampling(temperature=1.5, top_k=50, top_p=0.95)
SAMPLED = SessionConfig(preset=SMALL, schedule="overlapped", sampling=RULE, prompt=(72, 105))
GREEDY = attrs.evolve(SAMPLED, sampling=Sampling())
K = 3


def uniforms_of(config: SessionConfig, count: int = K, seed: int = 0) -> list[Tensor]:
    return [unit_uniform(config, seed, k) for k in range(count)]


@cache
def sampled(schedule: Schedule) -> tuple[list[AgentUnit], list[SessionState]]:
    """A session with sampling that several tests only look at."""
    config = attrs.evolve(SAMPLED, schedule=schedule)
    users, noises = samples.users_of(config, K), samples.noises_of(config, K)
    return samples.stream(config, users, noises, uniforms=uniforms_of(config))


def words(config: SessionConfig, uniforms: Sequence[Tensor] | None) -> list[tuple[int, ...]]:
    users, noises = samples.users_of(config, K), samples.noises_of(config, K)
    outputs, _ = samples.stream(config, users, noises, uniforms=uniforms)
    return [agent.text for agent in outputs]


@SCHEDULES
@pytest.mark.parametrize("preset", [SMALL, STATELESS], ids=lambda p: p.name)
def test_streaming_equals_offline_with_sampling(preset: Preset, schedule: Schedule) -> None:
    """WS-TEXT-1, WS-TEXT-3: the same tokens and numbers, and not those of greedy decoding."""
    config = attrs.evolve(SAMPLED, preset=preset, schedule=schedule)
    users, noises, u = (
        samples.users_of(config, K),
        samples.noises_of(config, K),
        uniforms_of(config),
    )
    streamed, _ = samples.stream(config, users, noises, uniforms=u)
    whole = samples.at_once(config, users, noises, uniforms=u)
    for ours, expected in zip(streamed, whole, strict=True):
        samples.assert_close(ours, expected)
    greedy = words(attrs.evolve(config, sampling=Sampling()), None)
    assert [agent.text for agent in streamed] != greedy


def test_a_token_follows_from_its_own_logits_and_number() -> None:
    """WS-TEXT-1, WS-TEXT-3, WS-TEXT-7: slot i takes number i of its unit; nothing else decides;
    every unit says as many tokens as it has slots."""
    u, (outputs, _) = uniforms_of(SAMPLED), sampled("overlapped")
    for k, agent in enumerate(outputs):
        assert SAMPLED.preset.tokenizer.eos not in agent.text
        assert len(agent.text) == SAMPLED.preset.agent_text_slots
        expected = [
            sampling.draw(logits, RULE, float(number))
            for logits, number in zip(agent.logits, u[k], strict=True)
        ]
        assert list(agent.text) == expected


def test_temperature_zero_is_greedy_whatever_else_is_given() -> None:
    """WS-TEXT-1: bit by bit the session without numbers; top_k and top_p do not matter."""
    config = attrs.evolve(GREEDY, sampling=Sampling(temperature=0.0, top_k=3, top_p=0.2))
    users, noises = samples.users_of(config, K), samples.noises_of(config, K)
    with_numbers, _ = samples.stream(config, users, noises, uniforms=uniforms_of(config))
    plain, _ = samples.stream(GREEDY, users, noises)
    for ours, expected in zip(with_numbers, plain, strict=True):
        assert samples.identical(ours, expected)
        assert ours.text == tuple(map(thinker.greedy, expected.logits))


@pytest.mark.parametrize("form", ["session", "offline"])
@pytest.mark.parametrize("slot", [0, 2])
def test_a_number_moves_its_own_slot_and_nothing_before_it(form: str, slot: int) -> None:
    """WS-TEXT-3: with another number in one slot of unit 1, all up to that slot's logits is the
    same bit by bit, and its token is another."""
    users, noises = samples.users_of(SAMPLED, K), samples.noises_of(SAMPLED, K)
    u = uniforms_of(SAMPLED)
    other = [*u]
    other[1] = u[1].clone()
    other[1][slot] = (u[1][slot] + 0.5) % 1
    run = samples.at_once if form == "offline" else lambda *a, **b: samples.stream(*a, **b)[0]
    before = (
        run(SAMPLED, users, noises, uniforms=u) if form == "offline" else sampled("overlapped")[0]
    )
    after = run(SAMPLED, users, noises, uniforms=other)
    assert samples.identical(before[0], after[0])
    assert before[1].text[:slot] == after[1].text[:slot]
    assert before[1].text[slot] != after[1].text[slot]
    assert torch.equal(before[1].logits[: slot + 1], after[1].logits[: slot + 1])
    assert not torch.equal(before[1].logits[slot + 1 :], after[1].logits[slot + 1 :]) or slot == 2
    latents = before[1].latents.audio, after[1].latents.audio
    assert latents[0] is not None
    assert latents[1] is not None
    assert not torch.equal(latents[0], latents[1])


def ending(config: SessionConfig, unit: int, slot: int) -> SessionConfig:
    """The session whose ``<eos>`` is what it would have said in that slot."""
    said = words(config, uniforms_of(config))[unit][slot]
    tokens = attrs.evolve(config.preset.tokenizer, eos=said)
    return attrs.evolve(config, preset=attrs.evolve(config.preset, tokenizer=tokens))


@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("slot", [0, 1])
def test_the_rest_of_a_unit_waits_after_the_end(config: SessionConfig, slot: int) -> None:
    """WS-TEXT-6: `<wait>` in all later slots of the unit, in both forms; the next unit is free
    again, and its tokens are those of its own logits."""
    config = ending(config, 1, slot)
    tokens = config.preset.tokenizer
    users, noises, u = (
        samples.users_of(config, K),
        samples.noises_of(config, K),
        uniforms_of(config),
    )
    streamed, _ = samples.stream(config, users, noises, uniforms=u)
    whole = samples.at_once(config, users, noises, uniforms=u)
    ended = [k for k, agent in enumerate(streamed) if tokens.eos in agent.text]
    assert ended
    for k, agent in enumerate(streamed):
        samples.assert_close(agent, whole[k])
        end = agent.text.index(tokens.eos) if k in ended else len(agent.text)
        free = [
            sampling.draw(logits, config.sampling, float(number))
            if config.sampling.temperature
            else thinker.greedy(logits)
            for logits, number in zip(agent.logits, u[k], strict=True)
        ]
        assert list(agent.text[: end + 1]) == free[: end + 1]
        assert set(agent.text[end + 1 :]) <= {tokens.wait}
        assert len(agent.logits) == len(agent.text) == 3
    assert min(ended) < K - 1, "a unit follows"
    assert set(streamed[min(ended) + 1].text) != {tokens.wait}


def test_what_is_forced_is_said_after_the_end() -> None:
    """WS-TEXT-6: a caller's tokens are not held, and need no numbers."""
    eos, wait = SAMPLED.preset.tokenizer.eos, SAMPLED.preset.tokenizer.wait
    forced = [(eos, 65, 66), (eos, eos, wait), (1, eos, 2)]
    users, noises = samples.users_of(SAMPLED, K), samples.noises_of(SAMPLED, K)
    outputs, _ = samples.stream(SAMPLED, users, noises, forced)
    assert [agent.text for agent in outputs] == forced
    for ours, expected in zip(
        outputs, samples.at_once(SAMPLED, users, noises, forced), strict=True
    ):
        samples.assert_close(ours, expected)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


REFUSED: dict[str, tuple[Tensor | None, object, str]] = {
    "missing": (None, None, "shape (3,)"),
    "short": (numbers(0.1, 0.2), (2,), "shape (3,)"),
    "long": (numbers(0.1, 0.2, 0.3, 0.4), (4,), "shape (3,)"),
    "square": (torch.zeros(3, 1), (3, 1), "shape (3,)"),
    "one": (numbers(0.1, 1.0, 0.2), 1.0, "numbers from 0 up, below 1"),
    "negative": (numbers(0.1, 0.2, -1e-9), -1e-9, "numbers from 0 up, below 1"),
    "infinite": (numbers(torch.inf, 0.2, 0.3), torch.inf, "numbers from 0 up, below 1"),
    "not-a-number": (numbers(0.1, torch.nan, 0.3), "nan", "numbers from 0 up, below 1"),
}


@SCHEDULES
@pytest.mark.parametrize("name", REFUSED)
def test_numbers_that_do_not_fit_are_refused(name: str, schedule: Schedule) -> None:
    """WS-TEXT-8: what, which value, what is allowed; the state is untouched; offline the same."""
    config = attrs.evolve(SAMPLED, schedule=schedule)
    wrong, value, allowed = REFUSED[name]
    model = samples.model_of(SMALL)
    users, noises, u = (
        samples.users_of(config, 2),
        samples.noises_of(config, 2),
        uniforms_of(config),
    )
    outputs, states = sampled(schedule)
    with pytest.raises(TensorError) as caught:
        session.step(model, config, states[1], users[1], noises[1], uniform=wrong)
    assert caught.value.what == "uniform numbers of unit 1"
    assert caught.value.value == value or str(caught.value.value) == value
    assert caught.value.allowed == allowed
    again, _ = session.step(model, config, states[1], users[1], noises[1], uniform=u[1])
    assert samples.identical(again, outputs[1])
    if wrong is not None:
        with pytest.raises(TensorError, match="uniform numbers of unit 1"):
            offline.generate(model, config, users, noises, None, [u[0], wrong])


def test_numbers_are_checked_also_when_nothing_is_drawn() -> None:
    """WS-TEXT-8: a greedy session refuses the same numbers; without numbers it runs."""
    model = samples.model_of(SMALL)
    user, noise = samples.users_of(GREEDY, 1)[0], samples.noise_of(GREEDY, 0)
    state = session.open_session(model, GREEDY)
    with pytest.raises(TensorError, match=r"uniform numbers of unit 0: got 1\.0"):
        session.step(model, GREEDY, state, user, noise, uniform=numbers(0.0, 0.0, 1.0))
    session.step(model, GREEDY, state, user, noise)
    with pytest.raises(TensorError, match="uniform numbers of unit 0: got None"):
        offline.generate(samples.model_of(SMALL), SAMPLED, [user], [noise])


def test_a_seeded_session_has_the_numbers_of_the_recipe() -> None:
    """WS-TEXT-3: one number a slot; none in a session without agent text."""
    assert torch.equal(unit_uniform(SAMPLED, 4, 9), recipe.text_numbers(4, 9, 3))
    wordless = attrs.evolve(SAMPLED, modalities=samples.WORDLESS)
    assert unit_uniform(wordless, 4, 9).shape == (0,)
    user, noise = samples.users_of(wordless, 1)[0], samples.noise_of(wordless, 0)
    agent, _ = session.step(
        samples.model_of(SMALL), wordless, session.open_session(samples.model_of(SMALL), wordless),
        user, noise,
    )  # fmt: skip
    assert agent.text == ()
