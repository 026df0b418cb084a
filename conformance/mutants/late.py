"""Ports that are wrong only now and then: late, after silence, for some lengths, in some dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import by_class, patched
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, OpenRequest, UnitInput, UnitOutput
from reference import masks, offline, rotary
from reference.kv_cache import KVEntries
from reference.session import SessionState
from reference.token_table import TokenTable
from spec.layout import Segment
from spec.sizes import Backbone
from spec.visibility import visible

ANGLES = rotary.angles
OBSERVE_WHOLE = offline.observe


def window(units: int) -> Any:
    """Entries older than so many units are out of the ring."""

    def seen(q: Any, k: Any, lag: int) -> Any:
        return visible(q, k, lag) & ((k.segment == Segment.P) | (k.unit > q.unit - units))

    return seen


def ring_slot_early(q: Any, k: Any, lag: int) -> Any:
    """A ring of 32 units that writes before it reads: one unit is lost at each wrap-around."""
    lost = (q.unit % 32 == 31) & (k.unit == q.unit - 31)
    return visible(q, k, lag) & ((k.segment == Segment.P) | ~lost)


def positions_wrap(table: TokenTable, backbone: Backbone) -> Tensor:
    cells = table.cells.clone()
    cells[..., 4:7] %= 1536
    return ANGLES(attrs.evolve(table, cells=cells), backbone)


def rounded_angles(table: TokenTable, backbone: Backbone) -> Tensor:
    return ANGLES(table, backbone).to(torch.bfloat16).to(torch.float64)


class Rounded(ReferencePort):
    """From unit 100 on the caches are kept in bfloat16."""

    name = "half-precision-from-unit-100"
    start = 100

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        if unit.unit >= self.start:
            opened = self.opened(session_id)
            opened.state = rounded(opened.state, torch.bfloat16)
        return outputs


def rounded(state: SessionState, dtype: torch.dtype) -> SessionState:
    """Both caches with fewer bits."""

    def fewer(cache: KVEntries) -> KVEntries:
        k, v = (x.to(dtype).to(x.dtype) for x in (cache.k, cache.v))
        return attrs.evolve(cache, k=k, v=v)

    return attrs.evolve(
        state,
        thinker=attrs.evolve(state.thinker, cache=fewer(state.thinker.cache)),
        performer=attrs.evolve(state.performer, cache=fewer(state.performer.cache)),
    )


class Float64Rounded(ReferencePort):
    """Only in float64 sessions: the caches hold float32."""

    name = "float64-cache-in-float32"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        opened = self.opened(session_id)
        if opened.model.dtype == torch.float64:
            opened.state = rounded(opened.state, torch.float32)
        return outputs


class EveryTenth(ReferencePort):
    """Every tenth unit the thinker starts from the language state of two units before."""

    name = "stale-language-state-every-tenth-unit"

    def __init__(self) -> None:
        super().__init__()
        self._old: dict[str, Tensor] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        if unit.unit % 10 == 9 and session_id in self._old:
            stale = attrs.evolve(opened.state.thinker, last_hidden=self._old[session_id])
            opened.state = attrs.evolve(opened.state, thinker=stale)
        self._old[session_id] = opened.state.thinker.last_hidden
        return super().step(session_id, unit)


class Dozes(ReferencePort):
    """After twenty silent units the audio encoder starts anew."""

    name = "encoder-restarts-after-silence"

    def __init__(self) -> None:
        super().__init__()
        self._silent: dict[str, int] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        quiet = unit.audio is not None and not np.any(unit.audio)
        count = self._silent.get(session_id, 0) + 1 if quiet else 0
        self._silent[session_id] = count
        if count > 20:
            fresh = opened.model.audio_encoder.init_state(1)
            woken = attrs.evolve(opened.state.thinker, audio_encoder=fresh)
            opened.state = attrs.evolve(opened.state, thinker=woken)
        return super().step(session_id, unit)


class SkipsBlack(ReferencePort):
    """A black picture is not encoded: the video encoder's state stays where it was."""

    name = "black-frames-not-encoded"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        before = opened.state.thinker.video_encoder
        outputs = super().step(session_id, unit)
        if unit.video is not None and not np.any(unit.video):
            kept = attrs.evolve(opened.state.thinker, video_encoder=before)
            opened.state = attrs.evolve(opened.state, thinker=kept)
        return outputs


class RepeatsText(ReferencePort):
    """A unit without user text is given that of the unit before."""

    name = "empty-text-repeats-the-last"

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, tuple[int, ...]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        text = unit.text or self._said.get(session_id, ())
        self._said[session_id] = text
        return super().step(session_id, attrs.evolve(unit, text=text))


class DropsLast(ReferencePort):
    """When all user text slots are taken, the last token is lost."""

    name = "full-text-loses-its-last"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        slots = self.opened(session_id).config.layout.user_text_slots
        text = unit.text[:-1] if len(unit.text) == slots else unit.text
        return super().step(session_id, attrs.evolve(unit, text=text))


class FillsZeroNoise(ReferencePort):
    """Noise that is zero everywhere counts as missing, and some is made."""

    name = "zero-noise-replaced"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.noise_audio is None or np.any(unit.noise_audio):
            return super().step(session_id, unit)
        wave = np.sin(np.arange(unit.noise_audio.size)).reshape(unit.noise_audio.shape)
        made = wave.astype(unit.noise_audio.dtype)
        return super().step(session_id, attrs.evolve(unit, noise_audio=made))


class EvenPrompts(ReferencePort):
    """A prompt of odd length is filled up to an even one."""

    name = "odd-prompt-padded"

    def open(self, request: OpenRequest) -> str:
        odd = len(request.prompt) % 2
        return super().open(attrs.evolve(request, prompt=request.prompt + (32,) * odd))


class DefaultPrompt(ReferencePort):
    """A session without a prompt is given one."""

    name = "empty-prompt-replaced"

    def open(self, request: OpenRequest) -> str:
        return super().open(attrs.evolve(request, prompt=request.prompt or (72, 105)))


class FirstResponseLost(ReferencePort):
    """Only under the sequential schedule: the response of unit 0 is never committed."""

    name = "sequential-loses-first-response"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        if opened.config.schedule == "sequential" and unit.unit == 1:
            opened.state = attrs.evolve(opened.state, uncommitted=None)
        return super().step(session_id, unit)


class Clips(ReferencePort):
    """User audio beyond three quarters of full scale is clipped."""

    name = "loud-audio-clipped"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.audio is not None:
            unit = attrs.evolve(unit, audio=np.clip(unit.audio, -0.75, 0.75))
        return super().step(session_id, unit)


def nudged(logits: Array, by: float) -> Array:
    """Some moved in the last bit, which ones a number from elsewhere says."""
    moved = (np.arange(logits.size).reshape(logits.shape) + int(65_536 * abs(by))) % 101 == 0
    return np.where(moved, np.nextafter(logits, logits.dtype.type(0)), logits)


class PreFetches(ReferencePort):
    """The noise of a unit shows in the last bit of its logits."""

    name = "noise-in-the-last-bit-of-logits"
    start = 0

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if unit.noise_audio is None or unit.unit < self.start:
            return [output]
        whole = float(np.abs(unit.noise_audio).sum())
        return [attrs.evolve(output, logits=nudged(output.logits, whole))]


class PreFetchesLate(PreFetches):
    """The noise of a unit shows in the last bit of its logits, from unit 100 on."""

    name = "noise-in-the-last-bit-from-unit-100"
    start = 100


class LooksAhead(ReferencePort):
    """A forced word shows in the last bit of the logits it should be predicted from."""

    name = "word-in-the-last-bit-of-its-logits"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if not unit.agent_text:
            return [output]
        logits = output.logits.copy()
        for i, token in enumerate(unit.agent_text):
            logits[i] = nudged(logits[i], token / 256)
        return [attrs.evolve(output, logits=logits)]


def normalised_over_the_clip(*given: Any) -> list[Tensor]:
    """Offline features are moved by a ten-millionth of the clip's mean."""
    observed = OBSERVE_WHOLE(*given)
    shift = 1e-7 * torch.cat(observed).mean()
    return [x + shift for x in observed]


MUTANTS = (
    patched(
        "window-of-128-units", "WS-CONFORMANCE-9", "a ring of 128 units",
        (masks, "visible", window(128)),
    ),
    patched(
        "window-of-24-units", "WS-CONFORMANCE-9", "a ring of 24 units",
        (masks, "visible", window(24)),
    ),
    patched(
        "ring-writes-before-it-reads", "WS-CONFORMANCE-9",
        "a ring of 32 units whose oldest unit is lost at each wrap-around",
        (masks, "visible", ring_slot_early),
    ),
    patched(
        "positions-wrap-at-1536", "WS-POSITIONS-5", "positions start again after 1,536",
        (rotary, "angles", positions_wrap),
    ),
    patched(
        "angles-in-bfloat16", "WS-POSITIONS-5", "angles are rounded before the cosine",
        (rotary, "angles", rounded_angles),
    ),
    patched(
        "offline-normalised-over-the-clip", "WS-VISIBILITY-4",
        "offline, features move by 1e-7 of the whole clip's mean",
        (offline, "observe", normalised_over_the_clip),
    ),
    by_class("WS-CONFORMANCE-9", Rounded),
    by_class("WS-STREAMING-10", Float64Rounded),
    by_class("WS-LAYOUT-4", EveryTenth),
    by_class("WS-CONFORMANCE-9", Dozes),
    by_class("WS-STREAMING-2", SkipsBlack),
    by_class("WS-LAYOUT-3", RepeatsText),
    by_class("WS-LAYOUT-3", DropsLast),
    by_class("WS-FLOW-7", FillsZeroNoise),
    by_class("WS-SESSION-2", EvenPrompts),
    by_class("WS-SESSION-2", DefaultPrompt),
    by_class("WS-STREAMING-8", FirstResponseLost),
    by_class("WS-STREAMING-2", Clips),
    by_class("WS-VISIBILITY-7", PreFetches),
    by_class("WS-VISIBILITY-2", PreFetchesLate),
    by_class("WS-VISIBILITY-6", LooksAhead),
)  # fmt: skip
