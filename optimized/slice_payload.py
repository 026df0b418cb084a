"""Payloads of slices and latents: arrays to little-endian bytes and back (WS-EXCHANGE-4).

A bfloat16 number, which numpy does not know, is handled as its 16 bits in a uint16 array.
Source: design §9 (CHOICE).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from spec.errors import ExchangeError
from spec.exchange_message import Header
from spec.exchange_terms import ROW_COLUMNS

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

NUMPY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "bfloat16": np.dtype("<u2"),
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
"""numpy's spelling of each dtype of a header."""


def payload_digest(payload: bytes) -> str:
    """SHA-256 in hex, as in `Part` and `Solved` (WS-EXCHANGE-4)."""
    return hashlib.sha256(payload).hexdigest()


def pack_slice(rows: Array, k: Array, v: Array, dtype: str) -> bytes:
    """Payload of one part of a slice (WS-EXCHANGE-4).

    Args:
        rows: [n, 8] integers, columns `ROW_COLUMNS`.
        k, v: [layers, kv_heads, n, head_dim] of ``dtype``, keys already rotated.

    Raises:
        ExchangeError: shapes or dtypes that do not belong together.
    """
    expected = (*k.shape[:2], len(rows), k.shape[-1])
    if rows.shape != (len(rows), len(ROW_COLUMNS)) or k.shape != expected or v.shape != expected:
        shapes = (rows.shape, k.shape, v.shape)
        raise ExchangeError("shapes of rows, K, V", shapes, "[n, 8] and twice [l, h, n, d]")
    return _bytes(rows, np.dtype("<i8")) + _floats(k, dtype) + _floats(v, dtype)


def unpack_slice(payload: bytes, header: Header, head_dim: int) -> tuple[Array, Array, Array]:
    """(rows, K, V) of one part, as views of ``payload``, which may not be written to.

    Returns:
        int64 [n, 8] and twice [layers, kv_heads, n, head_dim] of the header's dtype.

    Raises:
        ExchangeError: the payload has another length than the header's shapes.
    """
    n = header.token_count
    shape = (
        header.layers[1] - header.layers[0],
        header.heads[1] - header.heads[0],
        n,
        head_dim,
    )
    kind = NUMPY_DTYPES[header.dtype]
    row_bytes, half = n * len(ROW_COLUMNS) * 8, prod(shape) * kind.itemsize
    if len(payload) != row_bytes + 2 * half:
        raise ExchangeError("slice payload", len(payload), f"{row_bytes + 2 * half} bytes")
    rows = np.frombuffer(payload, "<i8", n * len(ROW_COLUMNS)).reshape(n, len(ROW_COLUMNS))
    k = np.frombuffer(payload, kind, prod(shape), row_bytes).reshape(shape)
    v = np.frombuffer(payload, kind, prod(shape), row_bytes + half).reshape(shape)
    return rows, k, v


def pack_latents(audio: Array | None, video: Array | None, dtype: str) -> bytes:
    """Payload of z_k: audio [4, C_a], then video [C_v, h, w]; an absent modality has no bytes
    (WS-EXCHANGE-4)."""
    return b"".join(_floats(array, dtype) for array in (audio, video) if array is not None)


def unpack_latents(
    payload: bytes, audio: Shape | None, video: Shape | None, dtype: str
) -> tuple[Array | None, Array | None]:
    """z_k of the given shapes, None where the session has no such modality.

    Raises:
        ExchangeError: the payload has another length than the shapes.
    """
    kind = NUMPY_DTYPES[dtype]
    counts = [0 if shape is None else prod(shape) for shape in (audio, video)]
    if len(payload) != sum(counts) * kind.itemsize:
        allowed = f"{sum(counts) * kind.itemsize} bytes"
        raise ExchangeError("latents payload", len(payload), allowed)
    numbers = np.frombuffer(payload, kind)
    return (
        None if audio is None else numbers[: counts[0]].reshape(audio),
        None if video is None else numbers[counts[0] :].reshape(video),
    )


def _floats(array: Array, dtype: str) -> bytes:
    kind = NUMPY_DTYPES[dtype]
    # Rounding on the way would break the equality of both caches, so no other dtype is converted.
    if array.dtype.newbyteorder("<") != kind:
        raise ExchangeError("dtype of a payload", str(array.dtype), str(kind))
    return _bytes(array, kind)


def _bytes(array: Array, kind: np.dtype[Any]) -> bytes:
    return np.ascontiguousarray(array, dtype=kind).tobytes()
