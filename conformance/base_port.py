"""A port that does nothing yet: every command answers "unsupported" (WS-CONFORMANCE-3).

A Python port derives from it and overrides what it can do; the features are those of its `hello`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
    Unsupported,
)

# ruff: noqa: ARG002 - the names of arguments are the protocol's


class BasePort(ABC):
    """See `conformance.protocol.Port` for the commands."""

    @abstractmethod
    def hello(self) -> Hello:
        """Who the port is and what it claims; the one command that no port can do without."""

    def supports(self, feature: str) -> bool:
        """What `hello` names, and nothing else."""
        hello = self.hello()
        return feature in hello.features or feature in hello.dtypes

    def load(self, request: LoadRequest) -> str:
        raise Unsupported("load")

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        raise Unsupported("math")

    def codec(self, request: CodecRequest, data: Array) -> Array:
        raise Unsupported("codec")

    def open(self, request: OpenRequest) -> str:
        raise Unsupported("session")

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        raise Unsupported("session")

    def finish(self, session: str) -> Sequence[UnitOutput]:
        raise Unsupported("session")

    def reset(self, session: str) -> None:
        raise Unsupported("reset")

    def close(self, session: str) -> None:
        raise Unsupported("session")

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        raise Unsupported("offline")

    def probe(self, session: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        raise Unsupported("probe")

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        raise Unsupported("exchange")

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        raise Unsupported("kv_digest")

    def export_kv(self, session: str) -> KvExport:
        raise Unsupported("kv_transfer")

    def import_kv(self, session: str, state: KvExport) -> None:
        raise Unsupported("kv_transfer")
