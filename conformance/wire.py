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

SIMPLE: Final = frozenset({str, int, float, bool, type(None)})
"""What JSON has as it is; most of what is encoded."""


class Named(dict[str, str]):
    """``{"tensor": NAME}`` as `encode` makes it: a type of its own, so that nobody takes an
    object that happens to look like it for an array."""


def encode(value: Any, name: str = "") -> tuple[Any, dict[str, Array]]:
    """``value`` as JSON data, and the arrays in it by their path ("units.0.audio")."""
    arrays: dict[str, Array] = {}
    return _plain(value, name, arrays), arrays


def _plain(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """``value`` as JSON data; its arrays go into ``arrays``."""
    kind = type(value)
    if kind in SIMPLE:
        return value
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return Named(tensor=name)
    under = f"{name}." if name else ""
    if kind is not dict and kind is not list and attrs.has(kind):
        fields = attrs.fields(kind)
        given = {a.name: getattr(value, a.name) for a in fields}
        for a in fields:
            if given[a.name] is None and a.metadata.get("absent_when_none"):
                del given[a.name]
        value = given
    if isinstance(value, Mapping):
        return {k: _plain(v, f"{under}{k}", arrays) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v, f"{under}{i}", arrays) for i, v in enumerate(value)]
    return value


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
