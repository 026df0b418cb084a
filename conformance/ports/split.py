"""The split engine as a port: thinker and performer as two processes.

It claims the profile ``split`` alone, because every session starts a process; what it shares with
the reference, codecs and the offline form, is judged there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch

from conformance.base_port import BasePort
from conformance.exchange.script import answer
from conformance.ports.convert import (
    config_of,
    identity_of,
    noise_of,
    output_of,
    uniform_of,
    user_of,
)
from conformance.protocol import (
    Hello,
    Json,
    OpenRequest,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from optimized.split import SplitEngine
from spec import exchange
from spec.errors import PortError


class SplitPort(BasePort):
    """See `conformance.protocol.Port` (WS-CONFORMANCE-1, WS-STREAMING-11)."""

    name = "split"

    def __init__(self) -> None:
        self._engines: dict[str, SplitEngine] = {}
        self._ids = itertools.count()

    def hello(self) -> Hello:
        return Hello(
            name=self.name,
            version="0.1",
            profiles=("split",),
            dtypes=("float32", "float64"),
            deterministic=True,
            features=("session", "exchange", "kv_digest", "identity", "sampling"),
            exact_split=True,
        )

    def open(self, request: OpenRequest) -> str:
        if request.prefill_chunks is not None:
            raise Unsupported("prefill_chunks")
        name = f"{self.name}-{next(self._ids)}"
        engine = SplitEngine(config_of(request), request.dtype, identity=identity_of(request))
        self._engines[name] = engine.__enter__()
        return name

    def _engine(self, name: str) -> SplitEngine:
        if name not in self._engines:
            raise PortError("session", name, ", ".join(self._engines) or "none is open")
        return self._engines[name]

    def step(self, session: str, unit: UnitInput) -> Sequence[UnitOutput]:
        engine = self._engine(session)
        with torch.no_grad():
            agents = engine.step(user_of(unit), noise_of(unit), unit.agent_text, uniform_of(unit))
        return [output_of(agent) for agent in agents]

    def finish(self, session: str) -> Sequence[UnitOutput]:
        engine = self._engine(session)
        with torch.no_grad():
            return [output_of(agent) for agent in engine.finish()]

    def close(self, session: str) -> None:
        engine = self._engines.pop(session, None)
        if engine is not None:
            engine.__exit__(None, None, None)

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        """By the very tables that the two drivers run (WS-EXCHANGE-6)."""
        return answer(script, exchange.PERFORMER, exchange.THINKER)

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        with torch.no_grad():
            return self._engine(session).digests(up_to_unit)
