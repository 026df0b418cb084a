"""Ports that mix up sessions, outputs, text or honesty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import by_class, patched
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, Hello, OpenRequest, UnitInput, UnitOutput
from conformance.shapes import frames
from reference import session, thinker
from reference.model import WanStreamer
from reference.thinker import ThinkerState
from reference.units import Latents, UserUnit
from spec import clock
from spec.errors import ConfigError
from spec.layout import Modalities
from spec.presets import PRESETS
from spec.session import SessionConfig

PREFILL = thinker.prefill
GREEDY = thinker.greedy


def never_waits(logits: Tensor) -> int:
    """<wait> is suppressed, so the agent always talks."""
    return GREEDY(logits[:256])


def without_bos(
    model: WanStreamer, config: SessionConfig, *rest: Any
) -> tuple[object, ThinkerState]:
    """<bos> is replaced by the prompt's first token."""
    prompt = config.prompt or (0,)
    tokens = (prompt[0], *config.prompt)
    embed = model.embed_prefill
    object.__setattr__(model, "embed_prefill", lambda _: embed(tokens))
    try:
        return PREFILL(model, config, *rest)
    finally:
        object.__delattr__(model, "embed_prefill")


class WarmedUp(ReferencePort):
    """A warm-up unit at opening leaves its entries in both caches."""

    name = "warm-up-stays-in-cache"

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        opened = self.sessions[name]
        preset, has = opened.config.preset, opened.config.modalities
        dtype = opened.model.dtype
        channels = preset.audio_codec.latent_channels
        latents = preset.video_codec.latent_channels, preset.latent_height, preset.latent_width
        user = UserUnit(
            unit=0,
            audio=torch.zeros(clock.USER_SAMPLES_PER_UNIT, dtype=dtype) if has.user_audio else None,
            video=torch.zeros(frames(preset), dtype=dtype) if has.user_video else None,
        )
        noise = Latents(
            audio=torch.zeros(4, channels, dtype=dtype) if has.agent_audio else None,
            video=torch.zeros(latents, dtype=dtype) if has.agent_video else None,
        )
        with torch.no_grad():
            _, warm = session.step(opened.model, opened.config, opened.state, user, noise)
        opened.state = attrs.evolve(warm, unit=0, uncommitted=None)
        return name


class OneCacheForAll(ReferencePort):
    """All sessions of one configuration step the same state."""

    name = "sessions-share-a-cache"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        own = self.opened(session_id)
        for other in self.sessions.values():
            if own.state.unit <= other.state.unit and other is not own:
                merged = attrs.evolve(own.state.thinker, cache=other.state.thinker.cache)
                own.state = attrs.evolve(own.state, thinker=merged)
        return super().step(session_id, unit)


class StickyDecoder(ReferencePort):
    """The audio decoder starts where that of the session before left off."""

    name = "second-session-not-fresh"

    def __init__(self) -> None:
        super().__init__()
        self._left: dict[torch.dtype, ThinkerState] = {}

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        opened = self.sessions[name]
        left = self._left.get(opened.model.dtype)
        if left is not None:
            fresh = attrs.evolve(opened.state.thinker, audio_decoder=left.audio_decoder)
            opened.state = attrs.evolve(opened.state, thinker=fresh)
        return name

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        opened = self.opened(session_id)
        self._left[opened.model.dtype] = opened.state.thinker
        return outputs


class StaticBuffer(ReferencePort):
    """Audio is handed out in a buffer that the next step overwrites."""

    name = "output-aliases-buffer"

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[str, Array] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if output.audio is None:
            return [output]
        buffer = self._buffers.setdefault(session_id, np.empty_like(output.audio))
        buffer[:] = output.audio
        return [attrs.evolve(output, audio=buffer)]


class ReadsAhead(ReferencePort):
    """Forced text goes in one slot early: each slot holds the token of the next one."""

    name = "text-one-slot-early"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        said = unit.agent_text
        if not said:
            return super().step(session_id, unit)
        (output,) = super().step(session_id, attrs.evolve(unit, agent_text=(*said[1:], said[0])))
        return [attrs.evolve(output, text=said)]


class LogitsOneSlotOff(ReferencePort):
    """Logits are read after their slot instead of before it."""

    name = "logits-one-slot-late"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        return [attrs.evolve(output, logits=np.roll(output.logits, 1, axis=0))]


class SilenceForAbsence(ReferencePort):
    """A session without user audio is given silence to hear."""

    name = "absent-modality-as-silence"

    def open(self, request: OpenRequest) -> str:
        has: Modalities = attrs.evolve(request.modalities, user_audio=True)
        return super().open(attrs.evolve(request, modalities=has))

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.audio is None:
            dtype = (
                np.float64 if self.opened(session_id).model.dtype == torch.float64 else np.float32
            )
            unit = attrs.evolve(unit, audio=np.zeros(clock.USER_SAMPLES_PER_UNIT, dtype))
        return super().step(session_id, unit)


class AnyPreset(ReferencePort):
    """An unknown preset is silently the smallest one."""

    name = "unknown-preset-accepted"

    def open(self, request: OpenRequest) -> str:
        known = request.preset if request.preset in PRESETS else "tiny"
        return super().open(attrs.evolve(request, preset=known))


class OnePreset(ReferencePort):
    """The sizes of one preset are built in: the other is refused."""

    name = "hard-coded-preset"

    def open(self, request: OpenRequest) -> str:
        if request.preset in PRESETS and request.preset != "tiny":
            raise ConfigError("preset", request.preset, "tiny")
        return super().open(request)


class Lenient(ReferencePort):
    """Audio of another length is padded or cut instead of refused."""

    name = "wrong-shape-accepted"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.audio is not None:
            fitted = np.resize(unit.audio, clock.USER_SAMPLES_PER_UNIT)
            unit = attrs.evolve(unit, audio=fitted)
        return super().step(session_id, unit)


class Skips(ReferencePort):
    """A refused unit is counted all the same, so the session is out of step afterwards."""

    name = "refusal-leaves-a-trace"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.sessions.get(session_id)
        try:
            return super().step(session_id, unit)
        except ValueError:
            if opened is not None and unit.unit == opened.state.unit:
                doubled = attrs.evolve(
                    opened.state.thinker, last_hidden=opened.state.thinker.last_hidden * 2
                )
                decoder = tuple(state * 0 for state in doubled.audio_decoder)
                thinks = attrs.evolve(doubled, audio_decoder=decoder)
                opened.state = attrs.evolve(opened.state, thinker=thinks)
            raise


class Braggart(ReferencePort):
    """Supports everything it is asked about."""

    name = "claims-everything"

    def supports(self, feature: str) -> bool:  # noqa: ARG002 - the port protocol's name
        return True


class Nameless(ReferencePort):
    """Says hello without a name and without what its profiles need."""

    name = "nameless"

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), name="", features=("session",))


MUTANTS = (
    patched(
        "never-waits", "WS-STREAMING-7", "<wait> is never chosen", (thinker, "greedy", never_waits)
    ),
    patched(
        "no-bos", "WS-SESSION-2", "the prefill does not begin with <bos>",
        (thinker, "prefill", without_bos),
    ),
    by_class("WS-STREAMING-1", WarmedUp),
    by_class("WS-SESSION-3", OneCacheForAll),
    by_class("WS-SESSION-3", StickyDecoder),
    by_class("WS-CONFORMANCE-6", StaticBuffer),
    by_class("WS-VISIBILITY-6", ReadsAhead),
    by_class("WS-LAYOUT-4", LogitsOneSlotOff),
    by_class("WS-LAYOUT-5", SilenceForAbsence),
    by_class("WS-SESSION-1", AnyPreset),
    by_class("WS-PRESETS-1", OnePreset),
    by_class("WS-CONFORMANCE-4", Lenient),
    by_class("WS-CONFORMANCE-4", Skips),
    by_class("WS-CONFORMANCE-3", Braggart),
    by_class("WS-CONFORMANCE-2", Nameless),
)  # fmt: skip
