"""A session of the reference as plain arrays, and back (WS-CONFORMANCE-17)."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.ports.convert import array_of
from conformance.protocol import Array, KvEntries, KvExport
from reference import kv_cache
from reference.kv_cache import KEY_COLUMNS, KVEntries
from reference.performer import PerformerState
from reference.session import SessionState
from reference.token_table import COLUMNS, TokenTable
from reference.units import Latents
from spec.errors import PortError

PAD = COLUMNS.index("pad")
CODECS = ("video_encoder", "audio_encoder", "video_decoder", "audio_decoder")
"""The streaming states of a thinker, each a tuple of tensors."""


def exported(state: SessionState) -> KvExport:
    """All of ``state``; the arrays are copies."""
    extra: dict[str, Array] = {"last_hidden": _copy(state.thinker.last_hidden)}
    for name in CODECS:
        for i, tensor in enumerate(getattr(state.thinker, name)):
            extra[f"{name}.{i}"] = _copy(tensor)
    if state.uncommitted is not None:
        for name, latents in attrs.asdict(state.uncommitted, recurse=False).items():
            if latents is not None:
                extra[f"uncommitted.{name}"] = _copy(latents)
    roles = {
        "thinker": _entries(state.thinker.cache),
        "performer": _entries(state.performer.cache),
    }
    return KvExport(unit=state.unit, roles=roles, extra=extra)


def imported(export: KvExport, fresh: SessionState) -> SessionState:
    """The state that was exported.

    Args:
        fresh: of a session opened with the same request; it has the structure.

    Raises:
        PortError: something is missing, of another shape, not finite, or of no session.
    """
    if export.unit < 0:
        raise PortError("exported unit", export.unit, "0 or more")
    if set(export.roles) != {"thinker", "performer"}:
        raise PortError("exported roles", sorted(export.roles), "thinker and performer")
    for role, entries in export.roles.items():
        check_entries(f"{role}'s entries", entries, fresh.thinker.cache)
    check_history(export)

    def tensor(name: str, like: Tensor) -> Tensor:
        array = export.extra.get(name)
        shape = None if array is None else array.shape
        if array is None or shape != tuple(like.shape):
            raise PortError(f"exported {name}", shape, f"shape {tuple(like.shape)}")
        require_finite(f"exported {name}", array)
        return torch.tensor(array).to(like.dtype)

    codecs = {
        name: tuple(
            tensor(f"{name}.{i}", like) for i, like in enumerate(getattr(fresh.thinker, name))
        )
        for name in CODECS
    }
    dtype = fresh.thinker.last_hidden.dtype
    thinker = attrs.evolve(
        fresh.thinker,
        cache=_cache(export.roles["thinker"], dtype),
        last_hidden=tensor("last_hidden", fresh.thinker.last_hidden),
        **codecs,
    )
    performer = PerformerState(_cache(export.roles["performer"], dtype))
    latents: dict[str, Tensor | None] = {}
    for name in ("audio", "video"):
        array = export.extra.get(f"uncommitted.{name}")
        if array is not None:
            require_finite(f"exported uncommitted.{name}", array)
        latents[name] = None if array is None else torch.tensor(array).to(dtype)
    uncommitted = None if export.unit == 0 else Latents(**latents)
    return SessionState(thinker, performer, export.unit, uncommitted)


def check_entries(what: str, entries: KvEntries, like: KVEntries) -> None:
    """Raise `PortError` unless ``entries`` could stand in the cache ``like``."""
    count = len(entries.rows)
    if entries.rows.shape != (count, KEY_COLUMNS) or entries.rows.dtype.kind != "i":
        shape = f"{entries.rows.dtype} {entries.rows.shape}"
        raise PortError(f"{what}: rows", shape, f"integers of shape ({count}, {KEY_COLUMNS})")
    layers, heads, _, width = like.k.shape
    for name, array in (("keys", entries.keys), ("values", entries.values)):
        if array.shape != (layers, heads, count, width):
            raise PortError(f"{what}: {name}", array.shape, f"{(layers, heads, count, width)}")
        require_finite(f"{what}: {name}", array)


def check_history(export: KvExport) -> None:
    """Raise `PortError` unless some session could have come to these entries: each once, none of a
    unit to come, and both roles with the same ones of what both have committed (WS-STREAMING-6)."""
    common: list[set[tuple[int, ...]]] = []
    for role, entries in export.roles.items():
        rows = entries.rows
        # Unit, segment and slot name an entry (WS-LAYOUT-2).
        if len(np.unique(rows[:, [0, 1, 3]], axis=0)) != len(rows):
            raise PortError(f"{role}'s entries", "one of them twice", "each once")
        newest = int(rows[:, 0].max(initial=-1))
        if newest >= export.unit:
            raise PortError(f"{role}'s entries", f"unit {newest}", f"units before {export.unit}")
        done = (rows[:, 0] < export.unit - 1) & (rows[:, PAD] == 0)
        common.append({tuple(row) for row in rows[done].tolist()})
    if common[0] != common[1]:
        found = " and ".join(f"{len(rows)}" for rows in common)
        raise PortError("exported roles", f"{found} entries of their own", "equal ones")


def require_finite(what: str, array: Array) -> None:
    """Raise `PortError` if a NaN or an infinity is in ``array``."""
    if not np.isfinite(array).all():
        raise PortError(what, "NaN or Inf", "finite values")


def _copy(tensor: Tensor) -> Array:
    return array_of(tensor).copy()


def _entries(cache: KVEntries) -> KvEntries:
    kept = kv_cache.take(cache, kv_cache.canonical_order(cache.table))
    rows = kept.table.cells[:, :KEY_COLUMNS]
    return KvEntries(rows=_copy(rows), keys=_copy(kept.k), values=_copy(kept.v))


def _cache(entries: KvEntries, dtype: torch.dtype) -> KVEntries:
    rows = torch.tensor(entries.rows)
    # What is in a cache is clean: not noisy, no solver step, τ = 0.
    clean = torch.zeros(len(rows), len(COLUMNS) - KEY_COLUMNS, dtype=torch.int64)
    table = TokenTable(torch.cat((rows, clean), dim=1), torch.zeros(len(rows), dtype=torch.float64))
    return KVEntries(
        table, torch.tensor(entries.keys).to(dtype), torch.tensor(entries.values).to(dtype)
    )
