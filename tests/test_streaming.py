"""Streaming is the offline form, unit by unit; and what a role's state and cache hold."""

from __future__ import annotations

import functools
import hashlib
import struct
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
from torch.nn import functional as F

from reference import kv_cache, offline, patches, performer, recipe, session, thinker
from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.session import SessionState
from reference.token_table import TokenTable
from reference.units import AgentUnit, Latents
from spec.layout import Modalities, Segment, response_rows
from spec.presets import TINY, Preset, Schedule
from spec.session import SessionConfig

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


@SCHEDULES
def test_solving_leaves_no_trace_in_the_cache(schedule: Schedule) -> None:
    """WS-STREAMING-3: the caches hold every token at most once, and none that is noisy."""
    _, _, states = run(schedule)
    for cache in (states[-1].thinker.cache, states[-1].performer.cache):
        assert not cache.table.noisy.any()
        assert set(cache.table.step.tolist()) == {-1}
        keys = [tuple(row[[0, 1, 3]].tolist()) for row in cache.table.cells]
        assert len(set(keys)) == len(keys)


@SCHEDULES
def test_cache_holds_the_clean_offline_entries(schedule: Schedule) -> None:
    """WS-STREAMING-3, WS-STREAMING-10: every cached key and value is that of one clean pass over
    the whole sequence, responses at τ = 0 and from their final latents."""
    config, outputs, states = run(schedule)
    model, users = samples.model_of(SMALL), samples.users_of(config, 3)
    clip = offline.Clip(
        users=users,
        prefill=model.embed_prefill(config.prefill),
        observations=offline.observe(model, config, users),
        text=[list(agent.text) for agent in outputs],
        z=[agent.latents for agent in outputs],
    )
    x, table = offline.sequence(model, config, clip)
    nothing = kv_cache.empty(SMALL.backbone, samples.F64)
    _, whole = model.run(x, table, nothing, config.lag)
    row_of = {tuple(row[[0, 1, 3]].tolist()): i for i, row in enumerate(whole.table.cells)}
    for cache in (states[-1].thinker.cache, states[-1].performer.cache):
        index = torch.tensor([row_of[tuple(row[[0, 1, 3]].tolist())] for row in cache.table.cells])
        expected = kv_cache.take(whole, index)
        assert torch.equal(cache.table.cells, expected.table.cells)
        torch.testing.assert_close(cache.k, expected.k, rtol=0, atol=1e-11)
        torch.testing.assert_close(cache.v, expected.v, rtol=0, atol=1e-11)


def shuffled(cache: KVEntries, seed: int) -> KVEntries:
    generator = torch.Generator().manual_seed(seed)
    return kv_cache.take(cache, torch.randperm(len(cache), generator=generator))


@SCHEDULES
def test_append_order_has_no_meaning(schedule: Schedule) -> None:
    """WS-STREAMING-4, WS-STREAMING-5: with both caches shuffled the session goes on bit by bit."""
    config, _, states = run(schedule)
    state, model = states[2], samples.model_of(SMALL)
    user, noise = samples.users_of(config, 3)[2], samples.noise_of(config, 2)
    expected, after = session.step(model, config, state, user, noise)
    other = attrs.evolve(
        state,
        thinker=attrs.evolve(state.thinker, cache=shuffled(state.thinker.cache, 1)),
        performer=attrs.evolve(state.performer, cache=shuffled(state.performer.cache, 2)),
    )
    agent, other_after = session.step(model, config, other, user, noise)
    assert samples.identical(agent, expected)
    for role in ("thinker", "performer"):
        caches = [getattr(s, role).cache for s in (after, other_after)]
        assert not torch.equal(caches[0].table.cells, caches[1].table.cells)
        assert kv_cache.digest(caches[0], 2) == kv_cache.digest(caches[1], 2)


@SCHEDULES
def test_context_is_the_visible_entries_in_order(schedule: Schedule) -> None:
    """WS-STREAMING-5: hidden entries are left out, the rest comes by unit, segment, slot."""
    config, _, states = run(schedule)
    cache = shuffled(states[-1].performer.cache, 3)
    query = TokenTable.of(response_rows(config.layout, 2, noisy=True, step=0, tau=1.0))
    context = kv_cache.context_of(cache, query, config.lag)
    rows = [tuple(row.tolist()) for row in cache.table.cells]
    # Z_2 sees all of the past and its own O and L; not its own committed copy, and no padding.
    wanted = sorted(
        (row for row in rows if not row[7] and (row[0] < 2 or row[1] != Segment.Z)),
        key=lambda row: (row[0], row[1], row[3]),
    )
    assert [tuple(row.tolist()) for row in context.table.cells] == wanted
    index = torch.tensor([rows.index(row) for row in wanted])
    assert torch.equal(context.k, cache.k[:, :, index])
    assert torch.equal(context.v, cache.v[:, :, index])


def naive_digest(cache: KVEntries, up_to_unit: int) -> str:
    """The clause, number by number."""
    order = sorted(
        (i for i in range(len(cache)) if int(cache.table.unit[i]) <= up_to_unit),
        key=lambda i: tuple(cache.table.cells[i, [0, 1, 3]].tolist()),
    )
    numbers = [cell for i in order for cell in cache.table.cells[i, :8].tolist()]
    packed = struct.pack(f"<{len(numbers)}q", *numbers)
    letter = "f" if cache.k.dtype == torch.float32 else "d"
    for tensor in (cache.k, cache.v):
        for layer in tensor:
            for head in layer:
                values = [x for i in order for x in head[i].tolist()]
                packed += struct.pack(f"<{len(values)}{letter}", *values)
    return hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize("up_to_unit", [-1, 0, 2])
def test_digest_is_the_bytes_of_the_clause(up_to_unit: int) -> None:
    """WS-STREAMING-6: rows as int64, keys, values, little-endian and row-major, float64 and
    float32, whatever the order of the entries."""
    _, _, states = run("overlapped")
    cache = shuffled(states[-1].performer.cache, 4)
    narrow = KVEntries(cache.table, cache.k.float(), cache.v.float())
    for entries in (cache, narrow):
        assert kv_cache.digest(entries, up_to_unit) == naive_digest(entries, up_to_unit)


def test_digest_sees_every_field() -> None:
    """WS-STREAMING-6: any column of any row, any key or value by one ulp, a missing entry; but
    nothing of later units."""
    _, _, states = run("overlapped")
    cache = states[-1].performer.cache
    last = int(torch.nonzero(cache.table.unit == 1)[-1])
    changed = []
    for column in range(8):
        cells = cache.table.cells.clone()
        # Downwards, so that a changed unit is still within the digest.
        cells[last, column] -= 1
        changed.append(attrs.evolve(cache, table=TokenTable(cells, cache.table.tau)))
    for name in ("k", "v"):
        for layer, head in ((0, 0), (1, 1)):
            tensor = getattr(cache, name).clone()
            tensor[layer, head, last, 13].nextafter_(torch.tensor(9.0, dtype=samples.F64))
            changed.append(attrs.evolve(cache, **{name: tensor}))
    changed.append(kv_cache.take(cache, torch.tensor([i for i in range(len(cache)) if i != last])))
    digests = [kv_cache.digest(entries, 1) for entries in (cache, *changed)]
    assert len(set(digests)) == len(digests)

    later = attrs.evolve(cache, k=cache.k + (cache.table.unit == 2)[:, None])
    assert kv_cache.digest(later, 1) == kv_cache.digest(cache, 1)
    assert kv_cache.digest(later, 2) != kv_cache.digest(cache, 2)


@SCHEDULES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_caches_agree_once_both_have_committed(schedule: Schedule, dtype: torch.dtype) -> None:
    """WS-STREAMING-6: equal digests up to every unit that both have; equal as a whole once the
    last response is committed on both sides."""
    config = SessionConfig(preset=SMALL, schedule=schedule)
    noises = [samples.noise_of(config, k, dtype=dtype) for k in range(3)]
    _, states = samples.stream(config, samples.users_of(config, 3), noises, dtype=dtype)
    for state in states[1:]:
        # Both roles have committed all but the newest response.
        common = state.unit - 2
        ours, theirs = state.thinker.cache, state.performer.cache
        assert kv_cache.digest(ours, common) == kv_cache.digest(theirs, common)
        assert kv_cache.digest(ours, common) != kv_cache.digest(ours, common - 1)
    model, end = samples.model_of(SMALL, dtype), states[-1]
    assert end.uncommitted is not None
    entries, thinks = thinker.commit(model, config, 2, end.uncommitted, end.thinker)
    performs = end.performer
    if schedule == "sequential":
        # The thinker alone commits; its entries travel with the next slice.
        performs = performer.receive(entries, performs)
    assert len(thinks.cache) == len(performs.cache)
    assert kv_cache.digest(thinks.cache, 2) == kv_cache.digest(performs.cache, 2)


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


def test_parts_and_names_of_the_model() -> None:
    """WS-MODEL-1: two user encoders, two codecs, one Transformer, three heads, and the ways in."""
    model = samples.model_of(SMALL)
    parts = {name.partition(".")[0] for name in model.state_dict()}
    assert parts == {
        *("video_encoder", "audio_encoder", "video_codec", "audio_codec"),
        *("embed_tokens", "segment_embedding", "identity_segment_embedding"),
        *("state_embedding", "tau_embedding"),
        *("user_video_proj", "user_audio_proj", "audio_latent_proj", "video_latent_proj"),
        *("backbone", "lm_head", "audio_velocity_head", "video_velocity_head"),
    }
    layers = {name.split(".")[2] for name in model.state_dict() if name.startswith("backbone.l")}
    assert layers == {"0", "1"}


def test_every_part_takes_part() -> None:
    """WS-MODEL-1: each parameter moves the outputs of a session, but for those of an identity: its
    embedding and the codecs' encoders."""
    model = WanStreamer(SMALL, dtype=samples.F64)
    recipe.fill(model)
    model.requires_grad_()
    config = SessionConfig(preset=SMALL, schedule="overlapped")
    state, total = session.open_session(model, config), torch.zeros((), dtype=samples.F64)
    for k, user in enumerate(samples.users_of(config, 2, (2, 3))):
        agent, state = session.step(model, config, state, user, samples.noise_of(config, k))
        for tensor in samples.tensors_of(agent).values():
            total = total + tensor.square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    identity = {"identity_segment_embedding"}
    assert {name for name in idle if "codec.encoder." not in name} == identity


def row(model: WanStreamer, index: int) -> Tensor:
    embedding: Tensor = model.state_dict()["segment_embedding"]
    return embedding[index]


def test_tokens_enter_as_projection_plus_segment() -> None:
    """WS-MODEL-2: rows of the segment embedding in the order P text, O video, O audio, O text,
    L state, L text, Z audio, Z video; written out from the named parameters."""
    model = samples.model_of(SMALL)
    w = model.state_dict()
    assert w["segment_embedding"].shape == (8, SMALL.backbone.d_model)
    words = (65, 258, 3)
    table = w["embed_tokens.weight"][list(words)]
    assert torch.equal(model.embed_prefill(words), table + row(model, 0))
    assert torch.equal(model.embed_agent_text(words), table + row(model, 5))
    assert torch.equal(model.embed_state(), w["state_embedding"] + row(model, 4))
    video = samples.signal(1, 0, "video", (2, w["user_video_proj.weight"].shape[1]))
    audio = samples.signal(1, 0, "audio", (4, w["user_audio_proj.weight"].shape[1]))
    expected = torch.cat(
        (
            F.linear(video, w["user_video_proj.weight"], w["user_video_proj.bias"]) + row(model, 1),
            F.linear(audio, w["user_audio_proj.weight"], w["user_audio_proj.bias"]) + row(model, 2),
            table + row(model, 3),
        )
    )
    assert torch.equal(model.embed_observation(video, audio, words), expected)
    assert torch.equal(model.embed_observation(None, None, words), expected[6:])


def latents() -> Latents:
    config = SessionConfig(preset=SMALL, schedule="overlapped")
    return samples.noise_of(config, 0)


def test_response_tokens_add_the_flow_time() -> None:
    """WS-MODEL-3: projection + segment + τ, audio then video; a clean token has τ = 0, which adds
    the embedding of 0 and not nothing."""
    model, z = samples.model_of(SMALL), latents()
    assert z.audio is not None
    assert z.video is not None
    w = model.state_dict()
    for tau in (0.0, 0.5, 1.0):
        taus = torch.full((6,), tau, dtype=samples.F64)
        audio = F.linear(z.audio, w["audio_latent_proj.weight"], w["audio_latent_proj.bias"])
        # Two 2 x 2 patches side by side; inside one the channel is slowest.
        tokens = torch.stack([z.video[:, :, i : i + 2].reshape(-1) for i in (0, 2)])
        video = F.linear(tokens, w["video_latent_proj.weight"], w["video_latent_proj.bias"])
        expected = torch.cat((audio + row(model, 6), video + row(model, 7)))
        time = model.tau_embedding(taus[:1])
        assert time.abs().max() > 0.01
        torch.testing.assert_close(
            model.embed_response(z, taus), expected + time, rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("preset", [SMALL, OTHER], ids=lambda p: p.name)
def test_logits_are_the_language_head(preset: Preset) -> None:
    """WS-MODEL-4: an own matrix, or with tied embeddings the token embedding itself."""
    model = samples.model_of(preset)
    hidden = samples.signal(2, 0, "hidden", (3, preset.backbone.d_model))
    tied = preset.backbone.tied_embeddings
    head = model.state_dict()["embed_tokens.weight" if tied else "lm_head.weight"]
    torch.testing.assert_close(model.logits(hidden), hidden @ head.T, rtol=0, atol=1e-12)
    assert (model.lm_head.weight is model.embed_tokens.weight) == tied


def test_velocity_is_read_by_two_heads() -> None:
    """WS-MODEL-5: audio tokens first through the audio head, then video tokens through the video
    head, back to latent pixels; the two do not mix."""
    model, z = samples.model_of(SMALL), latents()
    hidden = samples.signal(3, 0, "hidden", (6, SMALL.backbone.d_model))
    v = model.velocity(hidden, z)
    assert v.audio is not None
    assert v.video is not None
    w = model.state_dict()
    audio = F.linear(hidden[:4], w["audio_velocity_head.weight"], w["audio_velocity_head.bias"])
    torch.testing.assert_close(v.audio, audio, rtol=0, atol=1e-13)
    video = F.linear(hidden[4:], w["video_velocity_head.weight"], w["video_velocity_head.bias"])
    torch.testing.assert_close(patches.patchify(v.video, 2), video, rtol=0, atol=1e-13)
    left = video[0].reshape(SMALL.video_codec.latent_channels, 2, 2)
    torch.testing.assert_close(v.video[:, :, :2], left, rtol=0, atol=1e-13)
