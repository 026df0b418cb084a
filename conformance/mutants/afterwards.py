"""Ports that go wrong after something: a refusal, the end of a session, many units, many sessions,
or a caller that reuses its arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
import torch

from conformance.mutants.patching import by_class, patched
from conformance.ports import transfer
from conformance.ports.reference import Opened, ReferencePort
from conformance.protocol import Array, KvEntries, KvExport, OpenRequest, UnitInput, UnitOutput
from reference.kv_cache import KVEntries
from reference.thinker import ThinkerState
from spec.errors import PortError, WanStreamerError
from spec.layout import Modalities


def moved(opened: Opened, change: Callable[[ThinkerState], ThinkerState]) -> None:
    """The thinker's state of ``opened`` becomes what ``change`` makes of it."""
    opened.state = attrs.evolve(opened.state, thinker=change(opened.state.thinker))


def deafened(state: ThinkerState) -> ThinkerState:
    """What the audio encoder remembers is off by a little."""
    return attrs.evolve(state, audio_encoder=tuple(x + 0.125 for x in state.audio_encoder))


def hoarse(state: ThinkerState) -> ThinkerState:
    """What the audio decoder remembers is off by a little."""
    return attrs.evolve(state, audio_decoder=tuple(x + 0.125 for x in state.audio_decoder))


class Refuses(ReferencePort):
    """A port that has to say something about what it refused."""

    @abstractmethod
    def refused(self, session_id: str) -> None:
        """What goes wrong once a unit was refused."""

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        try:
            return super().step(session_id, unit)
        except WanStreamerError:
            if session_id in self.sessions:
                self.refused(session_id)
            raise


class FirstRefusalHeard(Refuses):
    """What a refused first unit sounded like is remembered."""

    name = "refused-first-unit-is-heard"

    def refused(self, session_id: str) -> None:
        if self.opened(session_id).state.unit == 0:
            moved(self.opened(session_id), deafened)


class PartHeard(Refuses):
    """In sessions without some modality, a unit that has it is refused after it was heard."""

    name = "unit-with-too-much-is-heard"

    def refused(self, session_id: str) -> None:
        if self.opened(session_id).config.modalities != Modalities():
            moved(self.opened(session_id), deafened)


class RefusalHitsOthers(Refuses):
    """A refused unit clears what all other sessions share a buffer in."""

    name = "refusal-disturbs-the-others"

    def refused(self, session_id: str) -> None:
        for name, other in self.sessions.items():
            if name != session_id:
                moved(other, hoarse)


class Lenient(ReferencePort):
    """A port that mends what it should refuse."""

    @abstractmethod
    def mended(self, opened: Opened, unit: UnitInput) -> UnitInput:
        """What is taken for ``unit``."""

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return super().step(session_id, self.mended(self.opened(session_id), unit))


class PaddedVocabulary(Lenient):
    """The table of embeddings is padded to a multiple of 64, and what is in the padding is read."""

    name = "ids-of-the-padded-vocabulary"

    def mended(self, opened: Opened, unit: UnitInput) -> UnitInput:
        size = opened.config.preset.tokenizer.vocab_size
        padded = -(-size // 64) * 64

        def known(ids: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(size - 1 if size <= i < padded else i for i in ids)

        words = None if unit.agent_text is None else known(unit.agent_text)
        return attrs.evolve(unit, text=known(unit.text), agent_text=words)


class CutsText(Lenient):
    """Up to four user tokens are taken; those without a slot are dropped."""

    name = "user-tokens-cut-at-the-slots"

    def mended(self, opened: Opened, unit: UnitInput) -> UnitInput:
        slots = opened.config.layout.user_text_slots
        fits = len(unit.text) <= 4 and slots > 0
        return attrs.evolve(unit, text=unit.text[:slots]) if fits else unit


class IgnoresWords(Lenient):
    """Words that are prescribed to an agent without text are ignored."""

    name = "words-for-the-mute-ignored"

    def mended(self, opened: Opened, unit: UnitInput) -> UnitInput:
        has = opened.config.modalities.agent_text
        return unit if has else attrs.evolve(unit, agent_text=None)


class TakesInfinity(Lenient):
    """Infinities of noise become zeros."""

    name = "infinite-noise-zeroed"

    def mended(self, opened: Opened, unit: UnitInput) -> UnitInput:  # noqa: ARG002
        noise = unit.noise_audio
        if noise is None:
            return unit
        finite = np.where(np.isinf(noise), 0, noise).astype(noise.dtype)
        return attrs.evolve(unit, noise_audio=finite)


class Squeezes(Lenient):
    """A batch of one is taken for what is in it."""

    name = "batch-axis-squeezed"

    def mended(self, opened: Opened, unit: UnitInput) -> UnitInput:  # noqa: ARG002
        audio = unit.audio
        return unit if audio is None else attrs.evolve(unit, audio=audio.reshape(audio.shape[-1:]))


class TakesIntoNothing(ReferencePort):
    """A state for a session that is not open is dropped without a word."""

    name = "import-into-a-closed-session"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        if session_id in self.sessions:
            super().import_kv(session_id, state)


class MakesUpExtra(ReferencePort):
    """What is missing beside the caches is that of a session that begins."""

    name = "missing-state-made-up"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        opened = self.opened(session_id)
        with torch.no_grad():
            begun: Mapping[str, Array] = transfer.exported(opened.fresh()).extra
        super().import_kv(session_id, attrs.evolve(state, extra={**begun, **state.extra}))


class EndIsForEver(ReferencePort):
    """A session that was finished takes no unit, though it was reset."""

    name = "no-reset-after-the-end"

    def __init__(self) -> None:
        super().__init__()
        self._ended: set[str] = set()

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        outputs = super().finish(session_id)
        self._ended.add(session_id)
        return outputs

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if session_id in self._ended:
            raise PortError("session", session_id, "one that has not ended")
        return super().step(session_id, unit)


class LongResetKeepsDecoder(ReferencePort):
    """After more than sixteen units a reset forgets the audio decoder."""

    name = "late-reset-keeps-the-decoder"

    def reset(self, session_id: str) -> None:
        before = self.opened(session_id).state
        super().reset(session_id)
        if before.unit > 16:
            decoder = before.thinker.audio_decoder
            moved(self.opened(session_id), lambda s: attrs.evolve(s, audio_decoder=decoder))


class MutedAgentLosesResponse(ReferencePort):
    """An import looks at the audio to see whether a response waits to be committed."""

    name = "import-forgets-a-silent-response"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        opened = self.opened(session_id)
        waits = opened.state.uncommitted
        if waits is not None and waits.audio is None:
            opened.state = attrs.evolve(opened.state, uncommitted=None)


class SwapsTheOldest(ReferencePort):
    """With more than four sessions open, the oldest is put away without its audio decoder."""

    name = "fifth-session-costs-the-first"

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        if len(self.sessions) > 4:
            oldest = next(iter(self.sessions.values()))
            begun = oldest.model.audio_codec.decoder_state(1)
            moved(oldest, lambda s: attrs.evolve(s, audio_decoder=begun))
        return name


class CapturedBuffers(ReferencePort):
    """From the ninth unit on a session decodes in buffers of its model, whoever used them last."""

    name = "captured-buffers-shared"

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[int, tuple[torch.Tensor, ...]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        buffers = self._buffers.get(id(opened.model))
        if unit.unit > 8 and buffers is not None:
            moved(opened, lambda s: attrs.evolve(s, audio_decoder=buffers))
        outputs = super().step(session_id, unit)
        if unit.unit >= 8:
            self._buffers[id(opened.model)] = opened.state.thinker.audio_decoder
        return outputs


def not_copied(entries: KvEntries, dtype: torch.dtype) -> KVEntries:
    """Keys and values stay the caller's arrays."""
    cache = COPIED(entries, dtype)
    keys, values = (torch.from_numpy(a).to(dtype) for a in (entries.keys, entries.values))
    return attrs.evolve(cache, k=keys, v=values)


COPIED = transfer._cache  # noqa: SLF001

MUTANTS = (
    by_class("WS-CONFORMANCE-4", FirstRefusalHeard),
    by_class("WS-CONFORMANCE-4", PartHeard),
    by_class("WS-SESSION-3", RefusalHitsOthers),
    by_class("WS-CONFORMANCE-4", PaddedVocabulary),
    by_class("WS-CONFORMANCE-4", CutsText),
    by_class("WS-CONFORMANCE-4", IgnoresWords),
    by_class("WS-CONFORMANCE-4", TakesInfinity),
    by_class("WS-CONFORMANCE-4", Squeezes),
    by_class("WS-CONFORMANCE-4", TakesIntoNothing),
    by_class("WS-CONFORMANCE-17", MakesUpExtra),
    by_class("WS-SESSION-4", EndIsForEver),
    by_class("WS-SESSION-4", LongResetKeepsDecoder),
    by_class("WS-CONFORMANCE-17", MutedAgentLosesResponse),
    by_class("WS-SESSION-3", SwapsTheOldest),
    by_class("WS-SESSION-3", CapturedBuffers),
    patched(
        "imported-arrays-not-copied", "WS-CONFORMANCE-17", "an import keeps the caller's arrays",
        (transfer, "_cache", not_copied),
    ),
)  # fmt: skip
