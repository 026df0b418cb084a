"""The KV cache: what enters it, and that the order of its entries has no meaning."""

from __future__ import annotations

import functools
import hashlib
import struct

import attrs
import pytest
import samples
import torch
from samples import SMALL

from reference import kv_cache, masks, offline, performer, session, thinker
from reference.kv_cache import KVEntries
from reference.session import SessionState
from reference.token_table import TokenTable
from reference.units import AgentUnit
from spec.layout import Segment, response_rows
from spec.session import SessionConfig
from spec.sizes import Schedule

SCHEDULES = pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
K = 5


@functools.cache
def run(schedule: Schedule) -> tuple[SessionConfig, list[AgentUnit], list[SessionState]]:
    """Three units of a small session, for tests that only look at it."""
    config = SessionConfig(preset=SMALL, schedule=schedule, prompt=(72, 105))
    users, noises = samples.users_of(config, 3), samples.noises_of(config, 3)
    outputs, states = samples.stream(config, users, noises)
    return config, outputs, states


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
    seen = masks.dense_mask(query, cache.table, config.lag)
    context, seen = kv_cache.context_of(cache, seen)
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
    assert torch.equal(seen, masks.dense_mask(query, context.table, config.lag))
    assert bool(seen.any(dim=0).all())


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
