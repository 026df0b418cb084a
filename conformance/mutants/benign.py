"""Harmless variants: they differ from the reference in nothing that a clause is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from conformance.formulas.ops import OPS
from conformance.mutants.patching import Benign, Patch, PatchedPort
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    KvExport,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from reference import attention, kv_cache
from reference.kv_cache import KVEntries

CONTEXT = kv_cache.context_of
ATTEND = attention.attend


def youngest_first(
    cache: KVEntries, seen: Bool[Tensor, "q n"]
) -> tuple[KVEntries, Bool[Tensor, "q m"]]:
    context, seen = CONTEXT(cache, seen)
    return kv_cache.take(context, torch.arange(len(context)).flip(0)), seen.flip(1)


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """A running softmax over blocks of keys, as fused kernels do it."""
    groups = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    top = q.new_full((*q.shape[:2], 1), -1e30)
    total, out = torch.zeros_like(top), torch.zeros_like(q)
    for start in range(0, k.shape[1], 7):
        part = slice(start, start + 7)
        scores = (q * q.shape[-1] ** -0.5) @ k[:, part].transpose(-1, -2)
        scores = scores.masked_fill(~mask[:, part], -torch.inf)
        new_top = torch.maximum(top, scores.amax(-1, keepdim=True))
        decay, weights = torch.exp(top - new_top), torch.exp(scores - new_top)
        total = total * decay + weights.sum(-1, keepdim=True)
        out, top = out * decay + weights @ v[:, part], new_top
    return out / total


class NotExact(PatchedPort):
    """Patched, and so not bit-equal to the reference's single process."""

    def __init__(self, name: str, *patches: Patch) -> None:
        super().__init__(name, patches)

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), exact_split=False)


class Wider(ReferencePort):
    """Float32 sessions are computed in float64 inside."""

    name = "float64-inside"

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), exact_split=False)

    def open(self, request: OpenRequest) -> str:
        inner = super().open(attrs.evolve(request, dtype="float64"))
        name = f"{inner}/{request.dtype}"
        self.sessions[name] = self.sessions.pop(inner)
        return name

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        dtype = session_id.rpartition("/")[2]
        return [_rounded(o, dtype) for o in super().step(session_id, _widened(unit))]

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        dtype = session_id.rpartition("/")[2]
        found = super().probe(session_id, _widened(unit), points)
        return {name: array.astype(dtype) for name, array in found.items()}

    def export_kv(self, session_id: str) -> KvExport:
        dtype = session_id.rpartition("/")[2]
        wide = super().export_kv(session_id)
        roles, extra = {}, dict(wide.extra)
        for role, entries in wide.roles.items():
            # The digits that the session's dtype has not: an import goes on bit for bit.
            extra |= {f"{role}.keys": entries.keys, f"{role}.values": entries.values}
            roles[role] = attrs.evolve(
                entries, keys=entries.keys.astype(dtype), values=entries.values.astype(dtype)
            )
        return attrs.evolve(wide, roles=roles, extra=extra)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        # What does not fit is refused as it stands there.
        super().import_kv(session_id, state)
        roles = {
            role: attrs.evolve(
                entries, keys=state.extra[f"{role}.keys"], values=state.extra[f"{role}.values"]
            )
            for role, entries in state.roles.items()
        }
        super().import_kv(session_id, attrs.evolve(state, roles=roles))

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        wide = attrs.evolve(request, dtype="float64")
        outputs = super().offline(wide, [_widened(u) for u in units])
        return [_rounded(o, request.dtype) for o in outputs]

    def codec(self, request: CodecRequest, data: Array) -> Array:
        wide = attrs.evolve(request, dtype="float64")
        return super().codec(wide, data.astype(np.float64)).astype(request.dtype)


def _cast(array: Array | None, dtype: str) -> Array | None:
    return None if array is None else array.astype(dtype)


def _widened(unit: UnitInput) -> UnitInput:
    return attrs.evolve(
        unit,
        audio=_cast(unit.audio, "float64"),
        video=_cast(unit.video, "float64"),
        noise_audio=_cast(unit.noise_audio, "float64"),
        noise_video=_cast(unit.noise_video, "float64"),
    )


def _rounded(output: UnitOutput, dtype: str) -> UnitOutput:
    return attrs.evolve(
        output,
        logits=output.logits.astype(dtype),
        audio_latents=_cast(output.audio_latents, dtype),
        video_latents=_cast(output.video_latents, dtype),
        audio=_cast(output.audio, dtype),
        video=_cast(output.video, dtype),
    )


class OtherChunks(ReferencePort):
    """Codecs cut every plan into single units, whatever the caller's chunks were."""

    name = "other-chunking"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        return super().codec(attrs.evolve(request, plan=(1,) * sum(request.plan)), data)


class Threads(ReferencePort):
    """Two threads inside every operation."""

    name = "two-threads"

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), exact_split=False)

    @contextmanager
    def _threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        with self._threads():
            return super().step(session_id, unit)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        with self._threads():
            return super().codec(request, data)


class Minimal(ReferencePort):
    """Float32 only, without an offline form and without cache digests: all that is optional."""

    name = "no-optional-features"

    def hello(self) -> Hello:
        return attrs.evolve(
            super().hello(),
            dtypes=("float32",),
            features=("math", "codec", "session", "exchange"),
            exact_split=False,
        )

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if OPS[request.op].feature != "math":
            raise Unsupported(request.op)
        return super().math(request)

    def open(self, request: OpenRequest) -> str:
        if request.dtype != "float32":
            raise Unsupported(request.dtype)
        return super().open(request)

    def offline(self, *_: Any) -> Sequence[UnitOutput]:
        raise Unsupported("offline")

    def kv_digest(self, *_: Any) -> Mapping[str, str]:
        raise Unsupported("kv_digest")


def _variant(cls: type[ReferencePort]) -> Benign:
    assert cls.__doc__ is not None
    return Benign(name=cls.name, description=cls.__doc__, factory=cls)


VARIANTS = (
    Benign(
        name="youngest-key-first",
        description="Keys are summed in the opposite order.",
        factory=lambda: NotExact("youngest-key-first", (kv_cache, "context_of", youngest_first)),
    ),
    Benign(
        name="attention-in-blocks",
        description="A running softmax over blocks of seven keys.",
        factory=lambda: NotExact("attention-in-blocks", (attention, "attend", attend_in_blocks)),
    ),
    *map(_variant, (Wider, OtherChunks, Threads, Minimal)),
)
