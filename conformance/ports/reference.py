"""The reference as a port: one process that plays both roles."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache

import attrs
import torch

from conformance.base_port import BasePort
from conformance.exchange.script import answer
from conformance.ports import math_ops
from conformance.ports.convert import (
    array_of,
    config_of,
    identity_of,
    noise_of,
    output_of,
    uniform_of,
    user_of,
)
from conformance.ports.parts import run_part
from conformance.ports.probing import probed
from conformance.ports.transfer import exported, imported
from conformance.protocol import (
    Array,
    CodecRequest,
    DType,
    Hello,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
)
from reference import kv_cache, offline, recipe, session
from reference.model import WanStreamer
from reference.prefill import IdentitySignals
from reference.session import SessionState
from reference.units import AgentUnit
from spec import exchange
from spec.errors import PortError
from spec.exchange_machine import Machine
from spec.exchange_performer import Performer
from spec.exchange_thinker import Thinker
from spec.presets import preset_named
from spec.session import SessionConfig

TORCH_DTYPE: Mapping[DType, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@cache
def model_of(preset: str, dtype: DType) -> WanStreamer:
    """A model of ``preset`` with recipe weights. Modules hold nothing but parameters, so one
    serves every session and every port of this process."""
    model = WanStreamer(preset_named(preset), TORCH_DTYPE[dtype])
    recipe.fill(model)
    return model.requires_grad_(False)


@attrs.define(eq=False)
class Opened:
    """An open session: what it was opened with, and the state between two steps."""

    model: WanStreamer
    config: SessionConfig
    identity: IdentitySignals
    chunks: Sequence[int] | None
    """Tokens of the prefill to run at a time (WS-PREFILL-5)."""
    state: SessionState

    def fresh(self) -> SessionState:
        """The state before unit 0, with its identity (WS-PREFILL-1)."""
        return session.open_session(self.model, self.config, self.identity, self.chunks)

    def stepped(self, unit: UnitInput) -> tuple[AgentUnit, SessionState]:
        """The response to ``unit``, and the state after it."""
        return session.step(
            self.model,
            self.config,
            self.state,
            user_of(unit),
            noise_of(unit),
            unit.agent_text,
            uniform=uniform_of(unit),
        )


class ReferencePort(BasePort):
    """See `conformance.protocol.Port` (WS-CONFORMANCE-1)."""

    name = "reference"
    performer: Machine[Performer] = exchange.PERFORMER
    thinker: Machine[Thinker] = exchange.THINKER
    """The tables of the KV exchange."""

    def __init__(self) -> None:
        # One thread, so that sums keep their order whatever the machine (WS-STREAMING-5).
        torch.set_num_threads(1)
        self.sessions: dict[str, Opened] = {}
        self._ids = itertools.count()

    def hello(self) -> Hello:
        return Hello(
            name=self.name,
            version="0.1",
            profiles=("math", "codec", "session", "split"),
            dtypes=("float32", "float64"),
            deterministic=True,
            features=(
                "math",
                "midpoint",
                "media",
                "planning",
                "training",
                "codec",
                "session",
                "load",
                "offline",
                "exchange",
                "kv_digest",
                "kv_transfer",
                "reset",
                "probe",
                "identity",
                "prefill_chunks",
                "sampling",
            ),
            exact_split=True,
        )

    def open(self, request: OpenRequest) -> str:
        model, config = self.model(request), config_of(request)
        name = f"{self.name}-{next(self._ids)}"
        with torch.inference_mode():
            identity, chunks = identity_of(request), request.prefill_chunks
            state = session.open_session(model, config, identity, chunks)
            self.sessions[name] = Opened(model, config, identity, chunks, state)
        return name

    def load(self, request: LoadRequest) -> str:
        return recipe.weights_sha256(self.model(request))

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        return math_ops.answer(request)

    def model(self, request: OpenRequest | CodecRequest | LoadRequest) -> WanStreamer:
        """The model a request is about."""
        return model_of(request.preset, request.dtype)

    def opened(self, name: str) -> Opened:
        if name not in self.sessions:
            raise PortError("session", name, ", ".join(self.sessions) or "none is open")
        return self.sessions[name]

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        with torch.inference_mode():
            agent, opened.state = opened.stepped(unit)
        return [output_of(agent)]

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        self.opened(session_id)
        return []

    def close(self, session_id: str) -> None:
        self.sessions.pop(session_id, None)

    def reset(self, session_id: str) -> None:
        opened = self.opened(session_id)
        with torch.inference_mode():
            opened.state = opened.fresh()

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        opened = self.opened(session_id)
        with torch.inference_mode(), probed(opened.model, points) as found:
            opened.stepped(unit)
        return found

    def export_kv(self, session_id: str) -> KvExport:
        return exported(self.opened(session_id).state)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        opened = self.opened(session_id)
        with torch.inference_mode():
            opened.state = imported(state, opened.fresh())

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        with torch.inference_mode():
            agents = offline.generate(
                self.model(request),
                config_of(request),
                [user_of(u) for u in units],
                [noise_of(u) for u in units],
                [u.agent_text for u in units],
                [uniform_of(u) for u in units],
                identity_of(request),
            )
        return [output_of(agent) for agent in agents]

    def codec(self, request: CodecRequest, data: Array) -> Array:
        model = self.model(request)
        with torch.inference_mode():
            return array_of(run_part(model, request, torch.tensor(data).to(model.dtype)))

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        return answer(script, self.performer, self.thinker)

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        state = self.opened(session_id).state
        return {
            "thinker": kv_cache.digest(state.thinker.cache, up_to_unit),
            "performer": kv_cache.digest(state.performer.cache, up_to_unit),
        }
