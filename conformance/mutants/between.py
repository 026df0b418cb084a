"""Ports whose sessions know of each other, whose inputs linger, or whose words get lost."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch

from conformance.mutants.late import nudged
from conformance.mutants.patching import by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, OpenRequest, UnitInput, UnitOutput


class Whispers(ReferencePort):
    """With two sessions open, one shows in the last bit of the other's logits."""

    name = "sessions-whisper"
    needed = 2

    def __init__(self) -> None:
        super().__init__()
        self._heard: dict[str, float] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        others = [self._heard.get(s, 0.0) for s in self.sessions if s != session_id]
        self._heard[session_id] = float(output.logits.flat[0]) if output.logits.size else 0.0
        if len(self.sessions) < self.needed or not any(others):
            return [output]
        return [attrs.evolve(output, logits=nudged(output.logits, sum(others)))]


class WhispersAfter(ReferencePort):
    """A session shows in the last bit of the next one's logits, after it was closed."""

    name = "closed-session-lingers"

    def __init__(self) -> None:
        super().__init__()
        self._left = 0.0

    def close(self, session_id: str) -> None:
        if session_id in self.sessions:
            self._left = float(self.opened(session_id).state.thinker.last_hidden[0])
        super().close(session_id)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        return [attrs.evolve(output, logits=nudged(output.logits, self._left))]


class PrefillByLength(ReferencePort):
    """The prefill is remembered by its length, whatever its tokens are."""

    name = "prefill-remembered-by-length"

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[object, ...], tuple[int, ...]] = {}

    def open(self, request: OpenRequest) -> str:
        key = (request.preset, len(request.prompt))
        prompt = self._known.setdefault(key, request.prompt)
        return super().open(attrs.evolve(request, prompt=prompt))


class LastSchedule(ReferencePort):
    """The schedule is that of the session that was opened last."""

    name = "schedule-is-global"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        newest = list(self.sessions.values())[-1].config.schedule
        opened.config = attrs.evolve(opened.config, schedule=newest)
        return super().step(session_id, unit)


class KeepsBuffers(ReferencePort):
    """Noise is kept as it was handed in, and read at the next step."""

    name = "reads-inputs-later"

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Array] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        kept = self._kept.get(session_id)
        if kept is not None and not kept.any():
            opened = self.opened(session_id)
            latents = opened.state.uncommitted
            assert latents is not None
            assert latents.audio is not None
            spoiled = attrs.evolve(latents, audio=torch.zeros_like(latents.audio))
            opened.state = attrs.evolve(opened.state, uncommitted=spoiled)
        if unit.noise_audio is not None:
            self._kept[session_id] = unit.noise_audio
        return super().step(session_id, unit)


class Unsteady(ReferencePort):
    """Claims to be deterministic; the last bit of its sound is not."""

    name = "not-as-deterministic-as-claimed"

    def __init__(self) -> None:
        super().__init__()
        self._generator = np.random.default_rng(3)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if output.audio is None:
            return [output]
        luck = float(self._generator.integers(2)) / 256
        return [attrs.evolve(output, audio=nudged(output.audio, luck))]


class GoesOnTalking(ReferencePort):
    """After <eos> the later slots of the unit are filled by their own argmax."""

    name = "talks-past-eos"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if unit.agent_text is not None:
            return [output]
        best = tuple(int(i) for i in np.argmax(output.logits, axis=-1))
        return [attrs.evolve(output, text=best)]


class FeedsWait(ReferencePort):
    """What the agent says of itself is told, but <wait> is fed back from the second unit on."""

    name = "own-words-not-fed-back"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        layout, tokens = opened.config.layout, opened.config.preset.tokenizer
        if unit.agent_text is not None or not layout.agent_text_slots or unit.unit == 0:
            return super().step(session_id, unit)
        quiet = (tokens.wait,) * layout.agent_text_slots
        (output,) = super().step(session_id, attrs.evolve(unit, agent_text=quiet))
        best = tuple(int(i) for i in np.argmax(output.logits, axis=-1))
        return [attrs.evolve(output, text=best)]


MUTANTS = (
    by_class("WS-SESSION-3", Whispers),
    by_class("WS-SESSION-3", WhispersAfter),
    by_class("WS-SESSION-3", PrefillByLength),
    by_class("WS-SESSION-3", LastSchedule),
    by_class("WS-CONFORMANCE-6", KeepsBuffers),
    by_class("WS-CONFORMANCE-2", Unsteady),
    by_class("WS-TEXT-6", GoesOnTalking),
    by_class("WS-STREAMING-7", FeedsWait),
)
