"""A prefill in pieces is the prefill in one, for every plan."""

from __future__ import annotations

from itertools import combinations

import attrs
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SMALL, STATELESS
from test_prefill_identity import BOTH, config_of, signals_of

from reference import kv_cache, prefill, session, thinker
from reference.kv_cache import KVEntries
from spec.errors import ConfigError
from spec.prefill import Identity
from spec.session import SessionConfig

LONG = SessionConfig(
    preset=STATELESS, schedule="sequential", prompt=tuple(range(40, 60)), identity=BOTH
)
TEXT = attrs.evolve(LONG, identity=Identity())


def plans(total: int, whole: range) -> list[tuple[int, ...]]:
    """Every way to cut 0 ... total, never inside ``whole``."""
    ends = [i for i in range(1, total) if i not in whole]
    return [
        tuple(b - a for a, b in zip((0, *cut), (*cut, total), strict=True))
        for count in range(len(ends) + 1)
        for cut in combinations(ends, count)
    ]


def assert_same(ours: KVEntries, expected: KVEntries) -> None:
    assert torch.equal(ours.table.cells, expected.table.cells)
    assert torch.equal(ours.table.tau, expected.table.tau)
    torch.testing.assert_close(ours.k, expected.k, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.v, expected.v, rtol=0, atol=1e-12)


def test_every_plan_with_an_identity() -> None:
    """WS-PREFILL-5: <bos> and a prompt of two, a picture of two tokens, a voice of two: all 32
    plans that leave the picture whole give the rows bit by bit and the entries of one pass."""
    config = config_of(Identity(image=True, voice_ticks=2))
    model, signals = samples.model_of(SMALL), signals_of(config)
    once, state = thinker.prefill(model, config, signals)
    every = plans(7, range(4, 5))
    assert len(every) == 32
    for plan in every:
        entries, thinks = thinker.prefill(model, config, signals, plan)
        assert_same(entries, once)
        assert_same(thinks.cache, once)
        torch.testing.assert_close(thinks.last_hidden, state.last_hidden, rtol=0, atol=1e-12)


@settings(max_examples=10)
@given(st.lists(st.booleans(), min_size=20, max_size=20))
def test_any_plan_of_a_longer_text(cuts: list[bool]) -> None:
    """WS-PREFILL-5: chunks of any length, in a model without state slots."""
    ends = [i + 1 for i, cut in enumerate(cuts) if cut]
    plan = tuple(b - a for a, b in zip((0, *ends), (*ends, 21), strict=True))
    model = samples.model_of(STATELESS)
    once, state = thinker.prefill(model, TEXT)
    entries, thinks = thinker.prefill(model, TEXT, chunks=plan)
    assert_same(entries, once)
    torch.testing.assert_close(thinks.last_hidden, state.last_hidden, rtol=0, atol=1e-12)


@pytest.mark.parametrize("plan", [(21, 2, 5), (1,) * 21 + (2,) + (1,) * 5, (10, 14, 4)], ids=str)
def test_a_session_does_not_notice_the_chunks(plan: tuple[int, ...]) -> None:
    """WS-PREFILL-5: both roles and all that follows, a first word from the prompt included."""
    model, signals = samples.model_of(STATELESS), signals_of(LONG)
    one = session.open_session(model, LONG, signals)
    pieces = session.open_session(model, LONG, signals, plan)
    for user, noise in zip(samples.users_of(LONG, 2), samples.noises_of(LONG, 2), strict=True):
        expected, one = session.step(model, LONG, one, user, noise)
        agent, pieces = session.step(model, LONG, pieces, user, noise)
        samples.assert_close(agent, expected)
    digests = {
        kv_cache.digest(cache, 0) for cache in (pieces.thinker.cache, pieces.performer.cache)
    }
    assert len(digests) == 1


def test_chunks_are_slices_to_be_sent() -> None:
    """WS-PREFILL-5: each chunk gives its own entries, which add up to P, and the state that was
    handed in can be used again."""
    config = config_of(BOTH)
    model, state = (
        samples.model_of(SMALL),
        prefill.begin(samples.model_of(SMALL), config, signals_of(config)),
    )
    parts = []
    for tokens in (2, 3, 1, 4):
        entries, after = prefill.run_chunk(model, config, tokens, state)
        again, _ = prefill.run_chunk(model, config, tokens, state)
        assert torch.equal(entries.k, again.k)
        assert len(entries) == tokens
        assert state.done + tokens == after.done
        assert (after.last_hidden is None) == (after.done < 3)
        parts.append(entries)
        state = after
    assert_same(kv_cache.concat(parts), state.cache)
    assert_same(state.cache, thinker.prefill(model, config, signals_of(config))[0])


@pytest.mark.parametrize(
    ("plan", "what", "value", "allowed"),
    [
        ((3, 1, 6), "prefill chunk", 1, "an end outside the picture, tokens 3 to 4"),
        ((4, 6), "prefill chunk", 4, "an end outside the picture, tokens 3 to 4"),
        ((3, 0, 7), "prefill chunk", 0, "1 to 7 tokens"),
        ((-1, 11), "prefill chunk", -1, "1 to 10 tokens"),
        ((5, 6), "prefill chunk", 6, "1 to 5 tokens"),
        ((5, 4), "prefill chunks", "9 tokens", "10 in all"),
        ((), "prefill chunks", "0 tokens", "10 in all"),
        ((10, 1), "prefill chunk", 1, "1 to 0 tokens"),
    ],
)
def test_what_is_not_a_plan_is_refused(
    plan: tuple[int, ...], what: str, value: object, allowed: str
) -> None:
    """WS-PREFILL-5, WS-PREFILL-6: a cut picture, an empty chunk, too much, too little."""
    config = config_of(BOTH)
    with pytest.raises(ConfigError) as caught:
        session.open_session(samples.model_of(SMALL), config, signals_of(config), plan)
    assert (caught.value.what, caught.value.value, caught.value.allowed) == (what, value, allowed)
