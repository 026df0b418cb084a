"""Ports that are right with each of two things, and wrong with both; or with one command after
another that has nothing to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import torch
from torch import Tensor

from conformance.mutants.patching import PatchedPort, by_class, patched
from conformance.ports.convert import uniform_of, user_of
from conformance.ports.reference import Opened, ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    KvExport,
    OpenRequest,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from reference import (
    attention,
    commit,
    kv_cache,
    masks,
    performer,
    prefill,
    rotary,
    sampling,
    thinker,
)
from reference.model import WanStreamer
from reference.prefill import IdentitySignals
from reference.thinker import ThinkerState
from reference.token_table import TokenTable
from reference.units import Latents
from spec import layout as rows
from spec.errors import WanStreamerError
from spec.layout import Layout, Modality, Row, Segment
from spec.session import SessionConfig
from spec.sizes import LAG_OF_SCHEDULE

ANGLES: Final = rotary.angles
ATTEND: Final = attention.attend
MASK: Final = masks.dense_mask
OBSERVE: Final = thinker.observe
PREFILL: Final = thinker.prefill
COMMIT: Final = thinker.commit
RESPONSE: Final = rows.response_rows
FEW: Final = 16


def thinks(opened: Opened, **changes: Any) -> None:
    """Other parts of the thinker's state."""
    thinking = attrs.evolve(opened.state.thinker, **changes)
    opened.state = attrs.evolve(opened.state, thinker=thinking)


class IdleTypist(ReferencePort):
    """An agent that only reads says `<wait>` where nothing was typed, whatever its logits say."""

    name = "idle-typist-makes-wait"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        config = self.opened(session_id).config
        has, wait = config.modalities, config.preset.tokenizer.wait
        idle = has.user_text and not (has.user_audio or has.user_video or unit.text)
        if idle and unit.agent_text is None and config.layout.agent_text_slots:
            unit = attrs.evolve(unit, agent_text=(wait,) * config.layout.agent_text_slots)
        return super().step(session_id, unit)


def chunked_by_32(
    model: WanStreamer,
    config: SessionConfig,
    identity: IdentitySignals = prefill.NOBODY,
    chunks: Sequence[int] | None = None,
) -> Any:
    """A long prefill is cut every 32 tokens, through its picture too."""
    total = config.layout.prefill_tokens
    if chunks is None and total > 32:
        whole, rest = divmod(total, 32)
        chunks, check = (32,) * whole + (rest,) * (rest > 0), prefill.check_chunk
        try:
            prefill.check_chunk = lambda *_: None
            return PREFILL(model, config, identity, chunks)
        finally:
            prefill.check_chunk = check
    return PREFILL(model, config, identity, chunks)


class FewSlots(ReferencePort):
    """There are sixteen places for sessions; one more takes the place of the oldest."""

    name = "seventeenth-session"

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        if len(self.sessions) > FEW:
            self.sessions[next(iter(self.sessions))] = self.sessions[name]
        return name


class OneDecoder(ReferencePort):
    """There is one decoder: a streaming `codec` command leaves its state to the sessions."""

    name = "codec-command-clobbers-session"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        answer = super().codec(request, data)
        if request.part == "audio_codec.decode" and request.plan:
            model = self.model(request)
            with torch.inference_mode():
                z = torch.tensor(data).to(model.dtype).T[None]
                _, state = model.audio_codec.decode(z, model.audio_codec.decoder_state(1))
            for opened in self.sessions.values():
                if opened.model is model:
                    thinks(opened, audio_decoder=state)
        return answer


class SeesWhatItRefuses(ReferencePort):
    """The numbers of words are looked at when the frames are encoded already: a unit that is
    refused for them has been seen."""

    name = "refused-uniform-advances-video"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        try:
            sampling.check_uniform(opened.config, unit.unit, uniform_of(unit), unit.agent_text)
        except WanStreamerError:
            if unit.video is not None:
                with torch.inference_mode():
                    _, seen = OBSERVE(
                        opened.model, opened.config, user_of(unit), opened.state.thinker
                    )
                thinks(opened, video_encoder=seen.video_encoder)
            raise
        return super().step(session_id, unit)


class StepsWhatItProbed(ReferencePort):
    """A step takes what the last probe of its unit was shown."""

    name = "step-reuses-probed-unit"

    def __init__(self) -> None:
        super().__init__()
        self._probed: dict[tuple[str, int], UnitInput] = {}

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = super().probe(session_id, unit, points)
        self._probed[session_id, unit.unit] = unit
        return found

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        seen = self._probed.pop((session_id, unit.unit), unit)
        return super().step(session_id, attrs.evolve(unit, audio=seen.audio, video=seen.video))


class StepsIntoTheUnknown(ReferencePort):
    """A probe for a point that the port does not have has taken the unit."""

    name = "unknown-point-steps"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        try:
            return super().probe(session_id, unit, points)
        except Unsupported:
            super().step(session_id, unit)
            raise


class Busy(ReferencePort):
    """While a session is open, `hello` does not name the offline form."""

    name = "busy-hello"

    def hello(self) -> Hello:
        hello = super().hello()
        kept = tuple(f for f in hello.features if f != "offline" or not self.sessions)
        return attrs.evolve(hello, features=kept)


class TableByT(PatchedPort):
    """The table of angles grows when t comes to its end; what is beyond it in h and w only is
    clamped."""

    name = "angle-table-grows-by-t"

    def __init__(self) -> None:
        super().__init__(self.name, ((rotary, "angles", self._angles),))

    def _angles(self, table: TokenTable, backbone: Any) -> Tensor:
        size = 128
        while len(table) and int(table.t.max()) >= size:
            size *= 2
        cells = table.cells.clone()
        cells[:, 5:7] = cells[:, 5:7].clamp(max=size - 1)
        return ANGLES(TokenTable(cells, table.tau), backbone)


def joined_in_float32(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Beyond 512 keys, partial sums of float64 sessions are kept in float32."""
    y = ATTEND(q, k, v, mask)
    return y.float().to(y.dtype) if k.shape[1] > 512 else y


def without_voice(queries: TokenTable, keys: TokenTable, lag: int) -> Tensor:
    """From unit 24 on the voice of the identity is gone."""
    q, k = queries.as_queries(), keys.as_keys()
    voice = (k.segment == Segment.P) & (k.modality == Modality.AUDIO)
    return MASK(queries, keys, lag) & ~torch.from_numpy(voice & (q.unit >= 24))


def committed_narrow(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, state: ThinkerState
) -> Any:
    """What comes back to the thinker is float32 where there is no video."""
    if config.schedule == "overlapped" and z.video is None and z.audio is not None:
        z = Latents(audio=z.audio.float().to(z.audio.dtype), video=None)
    return COMMIT(model, config, unit, z, state)


def units_of_six_bits(plan: Layout, unit: int, **named: Any) -> tuple[Row, ...]:
    """Responses without video count their units in six bits with a sign."""
    made = RESPONSE(plan, unit, **named)
    if plan.agent_video_slots:
        return made
    return tuple(attrs.evolve(row, unit=(row.unit + 32) % 64 - 32) for row in made)


class OfflineByUnit0(ReferencePort):
    """Unit 0 says for the whole offline form whether words are prescribed."""

    name = "offline-forcing-by-unit-0"

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        if units[0].agent_text is None:
            units = [attrs.evolve(unit, agent_text=None) for unit in units]
        return super().offline(request, units)


class DigestWithoutPadding(ReferencePort):
    """The digest of a cache leaves out padding."""

    name = "digest-without-padding"

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        state = self.opened(session_id).state
        found = {}
        for role, cache in (("thinker", state.thinker.cache), ("performer", state.performer.cache)):
            index = torch.nonzero(cache.table.pad == 0).squeeze(-1)
            found[role] = kv_cache.digest(kv_cache.take(cache, index), up_to_unit)
        return found


class DigestOnce(ReferencePort):
    """A digest that was asked for is kept, though the unit was not committed then."""

    name = "digest-remembered"

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, int], Mapping[str, str]] = {}

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        key = session_id, up_to_unit
        if key not in self._known:
            self._known[key] = super().kv_digest(session_id, up_to_unit)
        return self._known[key]


class NewestExtra(ReferencePort):
    """What is beside the caches of a state lies in one place: that of the newest export."""

    name = "older-export-mixed"

    def __init__(self) -> None:
        super().__init__()
        self._extra: Mapping[str, Array] = {}

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        self._extra = state.extra
        return state

    def import_kv(self, session_id: str, state: KvExport) -> None:
        codecs = {name: array for name, array in self._extra.items() if "coder" in name}
        known = {name: array for name, array in codecs.items() if name in state.extra}
        super().import_kv(session_id, attrs.evolve(state, extra={**state.extra, **known}))


class ProbedOnce(ReferencePort):
    """A unit is probed once; what comes later is told the same."""

    name = "probe-remembered"

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, int], Mapping[str, Array]] = {}

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        if points:
            return super().probe(session_id, unit, points)
        key = session_id, unit.unit
        if key not in self._known:
            self._known[key] = super().probe(session_id, unit, points)
        return self._known[key]


class LagOfTheNewest(PatchedPort):
    """λ is that of the session that was opened last."""

    name = "lag-of-newest-session"

    def __init__(self) -> None:
        self._lag = 1
        super().__init__(self.name, ((SessionConfig, "lag", property(lambda _: self._lag)),))

    def open(self, request: OpenRequest) -> str:
        self._lag = LAG_OF_SCHEDULE[request.schedule]
        return super().open(request)

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        return ReferencePort.offline(self, request, units)


MUTANTS: Final = (
    by_class("WS-STREAMING-6", DigestOnce),
    by_class("WS-CONFORMANCE-17", NewestExtra),
    by_class("WS-CONFORMANCE-18", ProbedOnce),
    by_class("WS-SESSION-3", LagOfTheNewest),
    by_class("WS-STREAMING-7", IdleTypist),
    patched(
        "auto-chunk-cuts-picture", "WS-VISIBILITY-3", str(chunked_by_32.__doc__),
        (thinker, "prefill", chunked_by_32),
    ),
    by_class("WS-SESSION-3", FewSlots),
    by_class("WS-SESSION-3", OneDecoder),
    by_class("WS-TEXT-8", SeesWhatItRefuses),
    by_class("WS-CONFORMANCE-18", StepsWhatItProbed),
    by_class("WS-CONFORMANCE-18", StepsIntoTheUnknown),
    by_class("WS-CONFORMANCE-2", Busy),
    by_class("WS-POSITIONS-5", TableByT),
    patched(
        "sums-narrow-past-512-keys", "WS-BACKBONE-4", str(joined_in_float32.__doc__),
        (attention, "attend", joined_in_float32),
    ),
    patched(
        "voice-evicted-after-24", "WS-VISIBILITY-3", str(without_voice.__doc__),
        (masks, "dense_mask", without_voice),
    ),
    patched(
        "returned-narrow-without-video", "WS-LAYOUT-5", str(committed_narrow.__doc__),
        (thinker, "commit", committed_narrow),
    ),
    patched(
        "response-units-in-six-bits", "WS-STREAMING-8", str(units_of_six_bits.__doc__),
        (performer, "response_rows", units_of_six_bits),
        (commit, "response_rows", units_of_six_bits),
    ),
    by_class("WS-STREAMING-10", OfflineByUnit0),
    by_class("WS-STREAMING-6", DigestWithoutPadding),
)  # fmt: skip
