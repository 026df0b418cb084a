"""Terms, headers and messages: what is well formed, and the arithmetic of slices."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.world.small import BY_LAYER_AND_HEAD, UNSHARDED, parts_of, terms
from spec.errors import ExchangeError
from spec.exchange_headers import slice_header
from spec.exchange_json import from_json, to_json
from spec.exchange_message import Close, Header, Hello, Open, SliceAck
from spec.exchange_terms import (
    Part,
    kv_len_after,
    overlap,
    sealed,
    slice_digest,
    slice_segments,
    stream_tokens,
    terms_of,
)
from spec.layout import (
    Modalities,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.presets import PRESETS
from spec.session import SessionConfig
from spec.sizes import Schedule

DIGEST = "0123456789abcdef" * 4


def header(unit: int = 0, **changes: Any) -> Header:
    part = parts_of(UNSHARDED, unit, snapshot=False)[0]
    return attrs.evolve(slice_header(terms(), 0, unit, False, part), **changes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session", ""), ("session", "a b"), ("session", "x" * 65), ("schedule", "eager"),
        ("window", 1), ("layers", 0), ("kv_heads", 0), ("head_dim", 0), ("dtype", "int8"),
        ("prefill_tokens", 0), ("observation_tokens", -1), ("language_tokens", -1),
        ("response_tokens", -1), ("latent_values", -1),
    ],
)  # fmt: skip
def test_terms_outside_their_domain(field: str, value: Any) -> None:
    """WS-EXCHANGE-1."""
    with pytest.raises(ExchangeError, match=field):
        attrs.evolve(terms(), **{field: value})


def test_a_sequential_window_is_one() -> None:
    """WS-EXCHANGE-11: slice k+1 holds Z_k, so nothing can be ahead."""
    with pytest.raises(ExchangeError, match="window"):
        terms("sequential", window=2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2), ("session", "ü"), ("epoch", -1), ("unit", -2), ("token_count", 8),
        ("layers", (1, 1)), ("layers", (-1, 1)), ("heads", (2, 1)), ("kv_len_before", -1),
        ("kv_len_after", 2), ("dtype", "float31"), ("byte_count", -1), ("digest", "A" * 64),
        ("digest", "0" * 63), ("segments", (("Q", 7),)), ("segments", (("O", 8), ("L", -1))),
    ],
)  # fmt: skip
def test_headers_outside_their_domain(field: str, value: Any) -> None:
    """WS-EXCHANGE-3."""
    with pytest.raises(ExchangeError):
        header(**{field: value})


def test_messages_outside_their_domain() -> None:
    """WS-EXCHANGE-2."""
    with pytest.raises(ExchangeError, match="incarnation"):
        Hello(session="s", incarnation=-1)
    with pytest.raises(ExchangeError, match="session of the terms"):
        Open(session="t", epoch=0, incarnation=0, unit=-1, terms=terms())
    with pytest.raises(ExchangeError, match="reason"):
        Close(session="s", epoch=0, reason="x" * 201)
    with pytest.raises(ExchangeError, match="digest"):
        SliceAck(session="s", epoch=0, unit=0, digest="", kv_len=0)


@pytest.mark.parametrize(
    "broken",
    [
        None, [], "hello", {}, {"kind": "hello"}, {"kind": ["hello"]}, {"kind": "goodbye"},
        {"kind": "hello", "version": 1, "session": "s", "incarnation": 1, "more": 0},
        {"kind": "hello", "version": 1, "session": "s", "incarnation": True},
        {"kind": "hello", "version": 1, "session": "s", "incarnation": 1.0},
        {"kind": "hello", "version": 1, "session": 5, "incarnation": 1},
        {**to_json(header()), "layers": [0]},
        {**to_json(header()), "layers": [0, 1, 2]},
        {**to_json(header()), "layers": [0, "1"]},
        {**to_json(header()), "layers": "01"},
        {**to_json(header()), "segments": [["O", 5, 1]]},
        {**to_json(header()), "segments": {"O": 7}},
        {**to_json(header()), "segments": [[7, "O"]]},
        {"kind": "open", "version": 1, "session": "s", "epoch": 0, "incarnation": 0, "unit": -1,
         "terms": {"session": "s"}},
        {"kind": "open", "version": 1, "session": "s", "epoch": 0, "incarnation": 0, "unit": -1,
         "terms": []},
    ],
)  # fmt: skip
def test_json_that_is_no_message(broken: object) -> None:
    """WS-EXCHANGE-2."""
    with pytest.raises(ExchangeError):
        from_json(broken)


def test_an_open_survives_json() -> None:
    """WS-EXCHANGE-2: terms and all."""
    message = Open(session="s", epoch=3, incarnation=2, unit=-1, terms=terms())
    assert from_json(json.loads(json.dumps(to_json(message)))) == message
    assert json.loads(json.dumps(to_json(header()))) == to_json(header())
    assert from_json(to_json(header())) == header()


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_segments_by_schedule(schedule: Schedule) -> None:
    """WS-EXCHANGE-3: [Z, O, L] or [O, L]; slice 0 has no response before it."""
    agreed = terms(schedule)
    assert slice_segments(agreed, -1, snapshot=True) == (("P", 3),)
    assert slice_segments(agreed, 0, snapshot=False) == (("O", 5), ("L", 2))
    later: tuple[tuple[str, int], ...] = (("O", 5), ("L", 2))
    if schedule == "sequential":
        later = (("Z", 4), *later)
    assert slice_segments(agreed, 7, snapshot=False) == later


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_lengths_add_up(schedule: Schedule) -> None:
    """WS-EXCHANGE-3: slices are contiguous, and a snapshot is as long as what it stands for."""
    agreed, length, responses = terms(schedule), 0, 0
    part = parts_of(UNSHARDED, 0, snapshot=False)[0]
    for unit in range(-1, 20):
        whole = slice_header(agreed, 0, unit, unit == -1, part)
        snapshot = slice_header(agreed, 1, unit, True, part)
        assert (whole.kv_len_before, snapshot.kv_len_before) == (length, 0)
        length += stream_tokens(agreed, whole.segments)
        assert whole.kv_len_after == snapshot.kv_len_after == kv_len_after(agreed, unit) == length
        # What a snapshot has beyond the stream: the responses an overlapped performer committed.
        responses += 4 if unit >= 0 else 0
        beyond = responses if schedule == "overlapped" else 0
        assert snapshot.token_count == length + beyond


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("agent_video", [True, False])
def test_terms_count_the_slots_of_the_layout(preset: str, agent_video: bool) -> None:
    """WS-EXCHANGE-1: token counts are those of the token table."""
    config = SessionConfig(
        preset=PRESETS[preset],
        schedule=PRESETS[preset].schedule,
        modalities=Modalities(agent_video=agent_video),
        prompt=(1, 2, 3),
    )
    agreed = terms_of(config, "s", "float64")
    assert agreed.prefill_tokens == len(prefill_rows(config.layout))
    assert agreed.observation_tokens == len(observation_rows(config.layout, 0, 0))
    assert agreed.language_tokens == len(language_rows(config.layout, 0))
    assert agreed.response_tokens == len(response_rows(config.layout, 0))
    assert agreed.window == 1 + config.lag
    audio, video = config.preset.audio_codec, config.preset.video_codec
    pixels = config.layout.agent_video_slots * video.patch**2
    assert agreed.latent_values == 4 * audio.latent_channels + pixels * video.latent_channels


def test_digest_of_a_slice() -> None:
    """WS-EXCHANGE-5: a fixed value, computed by hand with another SHA-256."""
    parts = (Part((1, 2), (0, 2), "b" * 64), Part((0, 1), (0, 2), "a" * 64))
    assert slice_digest(parts) == slice_digest(tuple(reversed(parts)))
    # printf '0 1 0 2 aaa..\n1 2 0 2 bbb..\n' | sha256sum
    assert slice_digest(parts) == "6bcaf638c2c67350e50827da864eca53312c6481594458011edbd11563ed5521"


@given(st.permutations(range(3)), st.sets(st.integers(0, 2)))
def test_sealed_means_every_layer_of_every_head(order: list[int], missing: set[int]) -> None:
    """WS-EXCHANGE-5: whatever the order, and never with a hole."""
    parts = parts_of(BY_LAYER_AND_HEAD, 0, snapshot=False)
    came = [parts[i] for i in order if i not in missing]
    assert sealed(terms(), came) == (not missing)
    assert not any(overlap(a, b) for a in came for b in came if a is not b)


def test_overlapping_parts() -> None:
    """WS-EXCHANGE-5: they share a layer of a head, not only a layer or only a head."""
    one = Part((0, 2), (0, 1), DIGEST)
    assert overlap(one, Part((1, 3), (0, 2), DIGEST))
    assert not overlap(one, Part((0, 2), (1, 2), DIGEST))
    assert not overlap(one, Part((2, 3), (0, 1), DIGEST))
