"""Payloads: arrays to bytes and back, bit for bit (WS-EXCHANGE-4)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from exchange_scripts import sends
from hypothesis import given
from hypothesis import strategies as st

from optimized.slice_payload import (
    NUMPY_DTYPES,
    pack_latents,
    pack_slice,
    payload_digest,
    unpack_latents,
    unpack_slice,
)
from simulator.world.small import terms
from spec.errors import ExchangeError
from spec.exchange_headers import slice_header
from spec.exchange_terms import DTYPE_BYTES, Part, Terms, latents_bytes, whole

DTYPES = sorted(DTYPE_BYTES)


def arrays(layers: int, heads: int, n: int, dim: int, dtype: str) -> tuple[Any, Any, Any]:
    kind = NUMPY_DTYPES[dtype]
    rng = np.random.default_rng(n)
    rows = rng.integers(-(2**63), 2**63 - 1, (n, 8), np.int64)
    bits = rng.integers(0, 256, 2 * layers * heads * n * dim * kind.itemsize, np.uint8)
    k, v = np.frombuffer(bits.tobytes(), kind).reshape(2, layers, heads, n, dim)
    return rows, k, v


def of_size(layers: int, heads: int, n: int, dim: int, dtype: str) -> Terms:
    return Terms(
        session="s", schedule="overlapped", window=2, layers=layers, kv_heads=heads, head_dim=dim,
        dtype=dtype, prefill_tokens=n, observation_tokens=0, language_tokens=0,
        response_tokens=0, latent_values=0,
    )  # fmt: skip


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4),
    st.sampled_from(DTYPES),
)  # fmt: skip
def test_slices_come_back_bit_for_bit(
    layers: int, heads: int, n: int, dim: int, dtype: str
) -> None:
    """WS-EXCHANGE-4: every bit pattern, NaNs too, in every dtype."""
    rows, k, v = arrays(layers, heads, n, dim, dtype)
    payload = pack_slice(rows, k, v, dtype)
    agreed = of_size(layers, heads, n, dim, dtype)
    header = slice_header(agreed, 0, -1, True, whole(agreed, payload_digest(payload))[0])
    assert header.byte_count == len(payload)
    for before, after in zip((rows, k, v), unpack_slice(payload, header, dim), strict=True):
        assert before.tobytes() == after.tobytes()
        assert (before.shape, before.dtype) == (after.shape, after.dtype)


def test_the_bytes_are_where_the_clause_says() -> None:
    """WS-EXCHANGE-4: rows, K, V; row-major, little-endian; spelled with struct."""
    rows = np.arange(16).reshape(2, 8)
    k = np.arange(100, 112, dtype=np.float32).reshape(1, 3, 2, 2)
    payload = pack_slice(rows, k, -k, "float32")
    expected = struct.pack("<16q", *range(16))
    expected += struct.pack("<12f", *range(100, 112))
    expected += struct.pack("<12f", *(-x for x in range(100, 112)))
    assert payload == expected


def test_strides_and_byte_order_do_not_matter() -> None:
    """WS-EXCHANGE-4: the same numbers give the same bytes."""
    rows, k, v = arrays(2, 2, 3, 4, "float64")
    same = pack_slice(rows, k, v, "float64")
    assert pack_slice(np.asfortranarray(rows), np.asfortranarray(k), v, "float64") == same
    assert pack_slice(rows.astype(">i8"), k.astype(">f8"), v, "float64") == same


def test_a_part_holds_its_own_layers_and_heads() -> None:
    """WS-EXCHANGE-5: shapes follow the header's ranges."""
    agreed = of_size(3, 2, 4, 2, "float32")
    rows, k, v = arrays(1, 2, 4, 2, "float32")
    payload = pack_slice(rows, k, v, "float32")
    part = Part((1, 2), (0, 2), payload_digest(payload))
    header = slice_header(agreed, 0, -1, True, part)
    assert header.byte_count == len(payload)
    assert unpack_slice(payload, header, 2)[1].tobytes() == k.tobytes()


def test_arrays_that_do_not_belong_together() -> None:
    """WS-EXCHANGE-4: nothing is reshaped, broadcast or rounded to make it fit."""
    rows, k, v = arrays(2, 2, 3, 4, "float32")
    for wrong in ((rows[:2], k, v), (rows[:, :7], k, v), (rows, k[:1], v), (rows, k, v[..., :2])):
        with pytest.raises(ExchangeError, match="shapes"):
            pack_slice(*wrong, "float32")
    with pytest.raises(ExchangeError, match="dtype"):
        pack_slice(rows, k, v, "float64")
    with pytest.raises(ExchangeError, match="slice payload"):
        unpack_slice(b"", sends(0), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("audio", "video"), [((4, 2), (3, 2, 2)), ((4, 2), None), (None, (1, 2, 3))]
)
def test_latents_come_back(
    dtype: str, audio: tuple[int, ...] | None, video: tuple[int, ...] | None
) -> None:
    """WS-EXCHANGE-4: audio, then video; an absent modality has no bytes."""
    rng = np.random.default_rng(0)
    z = [None if s is None else rng.normal(size=s).astype(dtype) for s in (audio, video)]
    payload = pack_latents(z[0], z[1], dtype)
    assert payload == b"".join(x.tobytes() for x in z if x is not None)
    for before, after in zip(z, unpack_latents(payload, audio, video, dtype), strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ExchangeError, match="latents payload"):
        unpack_latents(payload + b"\0", audio, video, dtype)


def test_latents_size_is_that_of_the_terms() -> None:
    """WS-EXCHANGE-9: 6 float32 numbers."""
    assert latents_bytes(terms()) == len(pack_latents(np.zeros(6, np.float32), None, "float32"))
