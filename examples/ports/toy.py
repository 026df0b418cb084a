"""A port that only speaks the protocol: replies of the right form, with made-up numbers in them.

It claims no profile; it is there to be read beside ``docs/protocol_transcript.md``, in which it
talks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from conformance.base_port import BasePort
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    Json,
    KvEntries,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Refusal,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from conformance.shapes import codec_shapes, output_shapes
from spec.presets import preset_named


@attrs.define
class Opened:
    """A session: how it was opened, and the unit that comes next."""

    request: OpenRequest
    unit: int = 0


class Port(BasePort):
    """See `conformance.protocol.Port`."""

    def __init__(self) -> None:
        self._sessions: dict[str, Opened] = {}
        self._opened = 0

    def hello(self) -> Hello:
        return Hello(
            name="toy",
            version="1.0",
            profiles=(),
            dtypes=("float32",),
            deterministic=True,
            features=("math", "codec", "session", "exchange", "reset", "probe", "kv_transfer"),
        )

    def load(self, request: LoadRequest) -> str:
        return hashlib.sha256(request.preset.encode()).hexdigest()

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if request.op != "double":
            raise Unsupported(request.op)
        return {"y": 2 * request.tensors["x"]}

    def codec(self, request: CodecRequest, data: Array) -> Array:  # noqa: ARG002 - made up
        units = sum(request.plan)
        return np.zeros(codec_shapes(preset_named(request.preset), request.part, units)[1], "f4")

    def open(self, request: OpenRequest) -> str:
        preset_named(request.preset)
        name = f"toy-{self._opened}"
        self._opened += 1
        self._sessions[name] = Opened(request)
        return name

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self._of(session)
        if unit.unit != opened.unit:
            raise Refusal("unit", unit.unit, str(opened.unit))
        if 13 in unit.text:
            raise RuntimeError("thirteen is more than this port can take")
        opened.unit += 1
        shapes = output_shapes(opened.request)
        made: dict[str, Any] = {
            name: None if shape is None else np.zeros(shape, "f4") for name, shape in shapes.items()
        }
        return [UnitOutput(unit=unit.unit, text=(0,) * len(made["logits"]), **made)]

    def finish(self, session: str) -> Sequence[UnitOutput]:
        self._of(session)
        return []

    def reset(self, session: str) -> None:
        self._of(session).unit = 0

    def close(self, session: str) -> None:
        self._of(session)
        del self._sessions[session]

    def probe(self, session: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        self._of(session)
        return {point: np.full((1, 2), unit.unit, "f4") for point in points}

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        nothing: Json = {"sent": [], "commit": [], "closed": False, "failed": False}
        empty = hashlib.sha256(b"").hexdigest()
        return [
            {**nothing, "appended": [], "solve": [], "kv_len": 0, "cache": empty} for _ in script
        ]

    def export_kv(self, session: str) -> KvExport:
        opened = self._of(session)
        sizes = preset_named(opened.request.preset).backbone
        none = np.zeros((sizes.n_layers, sizes.n_kv_heads, 0, sizes.head_dim), "f4")
        entries = KvEntries(rows=np.zeros((0, 8), np.int64), keys=none, values=none)
        return KvExport(unit=opened.unit, roles={"thinker": entries}, extra={})

    def import_kv(self, session: str, state: KvExport) -> None:
        self._of(session).unit = state.unit

    def _of(self, session: str) -> Opened:
        if session not in self._sessions:
            raise Refusal("session", session, ", ".join(self._sessions) or "none is open")
        return self._sessions[session]
