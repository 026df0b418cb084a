"""Streaming is the offline form, unit by unit; and what a role's state and cache hold."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any

import attrs
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import OTHER, SMALL, STATELESS
from torch import Tensor

from reference import kv_cache, session, thinker
from reference.kv_cache import KVEntries
from reference.session import SessionState
from reference.units import AgentUnit
from spec.layout import Modalities, Segment
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import Preset, Schedule

SCHEDULES = pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
K = 5

SUBSETS = {
    "no-user-video": Modalities(user_video=False),
    "no-audio": Modalities(user_audio=False, agent_audio=False),
    "agent-text-only": Modalities(agent_audio=False, agent_video=False),
    "wordless": samples.WORDLESS,
    "text-only": samples.TEXT_ONLY,
    "agent-video-only": Modalities(
        user_text=False, user_video=False, agent_text=False, agent_audio=False
    ),
    "nothing-to-hear": Modalities(user_text=False, user_audio=False, user_video=False),
}


def compare(config: SessionConfig, *, forced: bool = False, count: int = K) -> None:
    """The session and its offline form give the same numbers."""
    users, noises = samples.users_of(config, count), samples.noises_of(config, count)
    texts = samples.forced_of(config, count) if forced else None
    streamed, _ = samples.stream(config, users, noises, texts)
    whole = samples.at_once(config, users, noises, texts)
    for ours, expected in zip(streamed, whole, strict=True):
        samples.assert_close(ours, expected)
    if texts is not None:
        assert [agent.text for agent in streamed] == texts


@SCHEDULES
@pytest.mark.parametrize(
    ("preset", "prompt"), [(TINY, (72, 105, 46)), (SMALL, ())], ids=["tiny-prompt", "small-bare"]
)
def test_streaming_equals_offline(
    preset: Preset, schedule: Schedule, prompt: tuple[int, ...]
) -> None:
    """WS-STREAMING-1, WS-STREAMING-2, WS-STREAMING-10: greedy text, user text of 0, all and some
    slots, with and without a prompt."""
    compare(SessionConfig(preset=preset, schedule=schedule, prompt=prompt))


@SCHEDULES
def test_streaming_equals_offline_with_text_to_say(schedule: Schedule) -> None:
    """WS-STREAMING-10: forced text, `<wait>` among it."""
    compare(SessionConfig(preset=SMALL, schedule=schedule, prompt=(72,)), forced=True, count=3)


@pytest.mark.parametrize(
    ("preset", "schedule"),
    [(OTHER, "overlapped"), (OTHER, "sequential"), (STATELESS, "overlapped")],
    ids=lambda value: getattr(value, "name", value),
)
def test_streaming_equals_offline_in_another_geometry(preset: Preset, schedule: Schedule) -> None:
    """WS-STREAMING-10, WS-PRESETS-1: other grids, heads, switches, slots; no state slots."""
    compare(SessionConfig(preset=preset, schedule=schedule), count=4)


@pytest.mark.parametrize("name", SUBSETS)
def test_streaming_equals_offline_with_some_modalities(name: str) -> None:
    """WS-STREAMING-10, WS-LAYOUT-5: what is absent is absent in both forms."""
    config = SessionConfig(preset=SMALL, schedule="overlapped", modalities=SUBSETS[name])
    compare(config, count=3)


def test_streaming_equals_offline_without_slots_to_predict_from() -> None:
    """WS-LAYOUT-4, WS-STREAMING-10: no state slot and little else: text alone, sequential."""
    modalities = attrs.evolve(samples.TEXT_ONLY, agent_audio=True)
    compare(SessionConfig(preset=STATELESS, schedule="sequential", modalities=modalities), count=3)


@functools.cache
def run(schedule: Schedule) -> tuple[SessionConfig, list[AgentUnit], list[SessionState]]:
    """Three units of a small session, for tests that only look at it."""
    config = SessionConfig(preset=SMALL, schedule=schedule, prompt=(72, 105))
    users, noises = samples.users_of(config, 3), samples.noises_of(config, 3)
    outputs, states = samples.stream(config, users, noises)
    return config, outputs, states


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor of a state, however deep."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    if attrs.has(type(value)):
        fields = [getattr(value, field.name) for field in attrs.fields(type(value))]
        return [tensor for item in fields for tensor in tensors_in(item)]
    return []


@SCHEDULES
def test_both_roles_start_from_the_prefill(schedule: Schedule) -> None:
    """WS-STREAMING-1: before unit 0 both caches are the prefill's entries, and only those."""
    config = SessionConfig(preset=SMALL, schedule=schedule, prompt=(72, 105))
    state = session.open_session(samples.model_of(SMALL), config)
    assert state.unit == 0
    for cache in (state.thinker.cache, state.performer.cache):
        assert cache.table.unit.tolist() == [-1] * 3
        assert cache.table.slot.tolist() == [0, 1, 2]
    digests = {kv_cache.digest(c, -1) for c in (state.thinker.cache, state.performer.cache)}
    assert len(digests) == 1


@SCHEDULES
def test_a_step_changes_nothing_it_was_given(schedule: Schedule) -> None:
    """WS-STREAMING-2, WS-STREAMING-3: all state goes in and out; no pass writes to a cache, a
    state or an input, so the same step can be taken twice."""
    config, _, states = run(schedule)
    model, users = samples.model_of(SMALL), samples.users_of(config, 3)
    noise = samples.noise_of(config, 2)
    given_tensors = tensors_in((states[2], users[2], noise, *model.parameters()))
    assert len(given_tensors) > 50
    before = [tensor.clone() for tensor in given_tensors]
    first, _ = session.step(model, config, states[2], users[2], noise)
    assert all(torch.equal(a, b) for a, b in zip(given_tensors, before, strict=True))
    second, _ = session.step(model, config, states[2], users[2], noise)
    assert samples.identical(first, second)


def test_an_output_is_not_overwritten_later() -> None:
    """WS-STREAMING-2: what was handed out stays what it was while the session goes on."""
    config = SessionConfig(preset=SMALL, schedule="overlapped")
    model, state = samples.model_of(SMALL), session.open_session(samples.model_of(SMALL), config)
    kept: list[tuple[AgentUnit, dict[str, Tensor]]] = []
    for k, user in enumerate(samples.users_of(config, 3)):
        agent, state = session.step(model, config, state, user, samples.noise_of(config, k))
        kept.append((agent, {n: t.clone() for n, t in samples.tensors_of(agent).items()}))
    for agent, copies in kept:
        assert all(torch.equal(t, copies[n]) for n, t in samples.tensors_of(agent).items())


@given(st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1.5, 3.25]), min_size=1, max_size=300))
@settings(max_examples=50)
def test_greedy_is_the_lowest_of_the_largest(logits: list[float]) -> None:
    """WS-STREAMING-7: ties go to the lowest id; -0 and 0 are equal."""
    assert thinker.greedy(torch.tensor(logits)) == logits.index(max(logits))


def test_greedy_over_a_large_vocabulary() -> None:
    """WS-STREAMING-7: also where the maximum is sought in parallel lanes."""
    logits = torch.zeros(151_936)
    for first in (0, 5, 70_001, 151_930):
        tied = logits.clone()
        tied[first::3] = 2.0
        assert thinker.greedy(tied) == first


def blocks(cache: KVEntries) -> list[tuple[str, int]]:
    """Segments and units in the order in which they were appended."""
    pairs = [
        (Segment(int(s)).name, int(u))
        for s, u in zip(cache.table.segment, cache.table.unit, strict=True)
    ]
    return [pair for i, pair in enumerate(pairs) if i == 0 or pairs[i - 1] != pair]


@SCHEDULES
def test_what_each_role_holds_and_when(schedule: Schedule) -> None:
    """WS-STREAMING-8, WS-STREAMING-9: sequential: both append [Z_{k-1}, O_k, L_k] at unit k;
    overlapped: the performer's own Z_k follows slice k at once, the thinker's Z_{k-1} follows
    its O_k and L_k."""
    _, _, states = run(schedule)
    for count, state in enumerate(states):
        thinks, performs = [("P", -1)], [("P", -1)]
        for k in range(count):
            words = [("O", k), ("L", k)]
            before = [("Z", k - 1)] if k else []
            if schedule == "sequential":
                thinks += before + words
                performs += before + words
            else:
                thinks += words + before
                performs += [*words, ("Z", k)]
        assert blocks(state.thinker.cache) == thinks
        assert blocks(state.performer.cache) == performs


@pytest.mark.parametrize(
    ("schedule", "stages"),
    [
        ("sequential", "commit-1 observe update solve decode"),
        ("overlapped", "observe update commit-1 solve commit decode"),
    ],
)
def test_stages_of_a_unit(schedule: Schedule, stages: str) -> None:
    """WS-STREAMING-2, WS-STREAMING-8, WS-STREAMING-9: their order within unit k ≥ 1; unit 0 has
    nothing of an earlier unit to commit."""
    config = SessionConfig(preset=SMALL, schedule=schedule)
    model = samples.model_of(SMALL)
    state = session.open_session(model, config)
    for k, user in enumerate(samples.users_of(config, 3)):
        seen: list[str] = []

        def span(stage: str, unit: int, now: int = k, seen: list[str] = seen) -> Any:
            seen.append(stage if unit == now else f"{stage}{unit - now}")
            return nullcontext()

        noise = samples.noise_of(config, k)
        _, state = session.step(model, config, state, user, noise, span=span)
        assert seen == [s for s in stages.split() if k or s != "commit-1"]
