"""Text in and out, and the digest over a session's outputs."""

from __future__ import annotations

import hashlib
import struct

import attrs
import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import text
from reference.digest import OutputDigest
from reference.units import AgentUnit, Latents
from spec.presets import TINY
from spec.session import SessionConfig

TOKENS = TINY.tokenizer


def test_ids_of_the_bytes_tokenizer() -> None:
    """WS-PRESETS-4: bytes are 0-255, then `<bos>`, `<eos>`, `<wait>`."""
    assert (TOKENS.kind, TOKENS.bos, TOKENS.eos, TOKENS.wait) == ("bytes", 256, 257, 258)
    assert text.encode(TOKENS, "é!") == (0xC3, 0xA9, 0x21)
    assert text.encode(TOKENS, "") == ()


@given(st.text())
def test_any_text_comes_back(words: str) -> None:
    """WS-PRESETS-4: also when special and unused ids stand between its bytes."""
    ids = text.encode(TOKENS, words)
    assert all(0 <= i <= 255 for i in ids)
    assert text.decode(TOKENS, ids) == words
    mixed = [j for i in ids for j in (256, 257, i, 258, 262)]
    assert text.decode(TOKENS, mixed) == words


@given(st.lists(st.integers(0, 262)))
def test_any_ids_decode(ids: list[int]) -> None:
    """WS-PRESETS-4: malformed UTF-8 becomes U+FFFD, as Python's own decoder has it."""
    expected = bytes(i for i in ids if i <= 255).decode("utf-8", errors="replace")
    assert text.decode(TOKENS, ids) == expected


def test_malformed_bytes_are_replaced() -> None:
    """WS-PRESETS-4: a lone lead byte is one U+FFFD and does not swallow what follows."""
    assert text.decode(TOKENS, (0x41, 0xC3, 0x42)) == "A\ufffdB"


@given(st.lists(st.integers(0, 255), max_size=20), st.integers(1, 4))
def test_user_text_fills_units_from_the_first(ids: list[int], slots: int) -> None:
    """WS-LAYOUT-3: as many a unit as there are slots, in order, the last unit with the rest."""
    units = list(text.by_unit(ids, slots))
    assert [i for unit in units for i in unit] == ids
    assert all(len(unit) == slots for unit in units[:-1])
    assert all(1 <= len(unit) <= slots for unit in units[-1:])


def digest(units: list[AgentUnit]) -> str:
    sha = OutputDigest()
    for unit in units:
        sha.update(unit)
    return sha.hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_digest_is_the_bytes_of_the_clause(dtype: torch.dtype) -> None:
    """WS-STREAMING-12: ids as int64, then audio, then video in the session's dtype, little-endian
    and row-major, unit after unit; packed here number by number."""
    config = SessionConfig(preset=samples.SMALL, schedule="overlapped")
    users = samples.users_of(config, 2)
    noises = [samples.noise_of(config, k, dtype=dtype) for k in range(2)]
    units, _ = samples.stream(config, users, noises, dtype=dtype)
    letter = "f" if dtype == torch.float32 else "d"
    packed = b""
    for unit in units:
        packed += struct.pack(f"<{len(unit.text)}q", *unit.text)
        assert unit.audio is not None
        assert unit.video is not None
        for tensor in (unit.audio, unit.video):
            assert tensor.dtype == dtype
            packed += struct.pack(f"<{tensor.numel()}{letter}", *tensor.reshape(-1).tolist())
    assert digest(units) == hashlib.sha256(packed).hexdigest()


def small_unit() -> AgentUnit:
    return AgentUnit(
        unit=0,
        text=(65, 258),
        logits=torch.zeros(2, 263),
        latents=Latents(audio=None, video=None),
        audio=torch.linspace(-1, 1, 3840),
        video=torch.linspace(-1, 1, 4 * 3 * 32 * 64).reshape(4, 3, 32, 64),
    )


def test_output_digest_hears_and_sees_every_change() -> None:
    """WS-STREAMING-12: one id, one sample, one pixel, a lost modality, the order of units."""
    unit = small_unit()
    assert unit.audio is not None
    assert unit.video is not None
    audio, video = unit.audio.clone(), unit.video.clone()
    audio[1234] = audio[1234].nextafter(torch.tensor(2.0))
    video[3, 2, 31, 63] += 1e-6
    variants = [
        [unit],
        [attrs.evolve(unit, text=(65, 257))],
        [attrs.evolve(unit, audio=audio)],
        [attrs.evolve(unit, video=video)],
        [attrs.evolve(unit, audio=None)],
        [attrs.evolve(unit, video=None)],
        [unit, attrs.evolve(unit, text=(1, 2))],
        [attrs.evolve(unit, text=(1, 2)), unit],
    ]
    assert len({digest(units) for units in variants}) == len(variants)


def test_output_digest_does_not_depend_on_memory_layout() -> None:
    """WS-STREAMING-12: row-major whatever the strides are."""
    unit = small_unit()
    assert unit.video is not None
    strided = unit.video.transpose(0, 3).contiguous().transpose(0, 3)
    assert not strided.is_contiguous()
    assert digest([attrs.evolve(unit, video=strided)]) == digest([unit])
