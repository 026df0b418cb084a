"""One encoder for every protocol record: a JSON object and the arrays it names (WS-CONFORMANCE-1).

An array becomes ``{"tensor": NAME}`` and travels beside the JSON under that name: in the messages
of the stdio protocol, in case folders, and as the key of the cache of recorded runs.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np

from conformance.protocol import Array


class Named(dict[str, str]):
    """``{"tensor": NAME}`` as `encode` makes it: a type of its own, so that nobody takes an
    object that happens to look like it for an array."""


def encode(value: Any, name: str = "") -> tuple[Any, dict[str, Array]]:
    """``value`` as JSON data, and the arrays in it by their path ("units.0.audio")."""
    if isinstance(value, np.ndarray):
        return Named(tensor=name), {name: value}
    if attrs.has(type(value)):
        fields = {a.name: getattr(value, a.name) for a in attrs.fields(type(value))}
        for a in attrs.fields(type(value)):
            if fields[a.name] is None and a.metadata.get("absent_when_none"):
                del fields[a.name]
        return encode(fields, name)
    if isinstance(value, Mapping):
        parts = {k: encode(v, f"{name}.{k}" if name else str(k)) for k, v in value.items()}
        return {k: v for k, (v, _) in parts.items()}, _merge(t for _, t in parts.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [encode(v, f"{name}.{i}" if name else str(i)) for i, v in enumerate(value)]
        return [v for v, _ in items], _merge(t for _, t in items)
    return value, {}


def _merge(tables: Any) -> dict[str, Array]:
    return {k: v for table in tables for k, v in table.items()}


def digest(value: Any) -> str:
    """SHA-256 over the JSON (sorted keys) and the digest of every array."""
    data, tensors = encode(value)
    h = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        h.update(f"{name}:{array_digest(array)}".encode())
    return h.hexdigest()


_KNOWN: Final[dict[int, tuple[weakref.ref[Array], str]]] = {}


def array_digest(array: Array) -> str:
    """SHA-256 over dtype, shape and bytes; remembered for arrays that nobody can write to."""
    known = _KNOWN.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    h = hashlib.sha256(f"{array.dtype.str}:{array.shape}".encode())
    h.update(np.ascontiguousarray(array).tobytes())
    if not array.flags.writeable:
        _KNOWN[id(array)] = weakref.ref(array), h.hexdigest()
    return h.hexdigest()
