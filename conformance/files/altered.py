"""A state that a check has altered before it hands it in, in words that fit any port's own state.

Only a port itself can take back what it exported, so in files a state stands as the reply that it
came from, and what was done to it (WS-VECTORS-2). What is described here is found by comparing the
two: nothing at all (a copy), another unit, caches or extras left out, one index less along an axis,
or a NaN in the middle, in all roles alike. Source: CHOICE (design §12: one case model).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import numpy as np

from conformance.protocol import Array, Json, KvEntries, KvExport
from conformance.tolerance import same_bits

ARRAYS: Final = ("rows", "keys", "values")
NAN: Final = "nan-in-the-middle"


def described(reply: KvExport, state: KvExport) -> Json | None:
    """What makes ``state`` of ``reply``; None if these words do not reach.

    Returns:
        ``unit``: the other unit. ``without``: "roles" or "extra". An array's name: the axis along
        which it has one index less, or `NAN`.
    """
    words: Json = {} if state.unit == reply.unit else {"unit": state.unit}
    for name in ("roles", "extra"):
        if getattr(reply, name) and not getattr(state, name):
            words.setdefault("without", []).append(name)
    if state.extra and not _same_arrays(reply.extra, state.extra):
        return None
    if not state.roles:
        return words
    if set(state.roles) != set(reply.roles):
        return None
    for name in ARRAYS:
        changes = {
            _change(getattr(entries, name), getattr(state.roles[role], name))
            for role, entries in reply.roles.items()
        }
        if len(changes) != 1 or "" in changes:
            return None
        (change,) = changes
        if change is not None:
            words[name] = change
    return words


def _same_arrays(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    return set(a) == set(b) and all(same_bits(a[name], b[name]) for name in a)


def _change(before: Array, after: Array) -> int | str | None:
    """None if nothing has changed; "" if there are no words for it."""
    if same_bits(before, after):
        return None
    for axis in range(before.ndim):
        if same_bits(_less(before, axis), np.ascontiguousarray(after)):
            return axis
    if before.dtype.kind == "f" and same_bits(_with_nan(before), np.ascontiguousarray(after)):
        return NAN
    return ""


def _less(array: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.delete(array, -1, axis)) if array.shape[axis] else array


def _with_nan(array: Array) -> Array:
    changed = np.array(array, order="C")
    changed.reshape(-1)[changed.size // 2] = np.nan
    return changed


def applied(reply: KvExport, words: Json) -> KvExport:
    """``reply`` as `described` says that it was altered."""

    def entries(own: KvEntries) -> KvEntries:
        changed = {
            name: _with_nan(array) if words[name] == NAN else _less(array, words[name])
            for name in ARRAYS
            if name in words
            for array in (getattr(own, name),)
        }
        return attrs.evolve(own, **changed)

    left_out = words.get("without", ())
    return KvExport(
        unit=words.get("unit", reply.unit),
        roles={} if "roles" in left_out else {r: entries(e) for r, e in reply.roles.items()},
        extra={} if "extra" in left_out else reply.extra,
    )
