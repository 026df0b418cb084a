"""Ports that go wrong between sessions: reset, export, import, probe and close."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from conformance.mutants.late import nudged
from conformance.mutants.patching import by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    KvEntries,
    KvExport,
    LoadRequest,
    UnitInput,
    UnitOutput,
)


class OtherDigest(ReferencePort):
    """The digest of the weights is taken after rounding them to bfloat16."""

    name = "digest-of-rounded-weights"

    def load(self, request: LoadRequest) -> str:
        return super().load(attrs.evolve(request, dtype="bfloat16"))


class DigestOfName(ReferencePort):
    """The digest depends on the preset's name, not on its weights."""

    name = "digest-of-the-name"

    def load(self, request: LoadRequest) -> str:
        super().load(request)
        return hashlib.sha256(request.preset.encode()).hexdigest()


class ResetKeepsDecoder(ReferencePort):
    """Reset leaves the audio decoder where it was."""

    name = "reset-keeps-the-decoder"

    def reset(self, session_id: str) -> None:
        opened = self.opened(session_id)
        decoder = opened.state.thinker.audio_decoder
        super().reset(session_id)
        kept = attrs.evolve(opened.state.thinker, audio_decoder=decoder)
        opened.state = attrs.evolve(opened.state, thinker=kept)


class ResetKeepsAnUlp(ReferencePort):
    """After a reset the first logits remember, in their last bit, what was before."""

    name = "reset-remembers-in-the-last-bit"

    def __init__(self) -> None:
        super().__init__()
        self._memory: dict[str, float] = {}

    def reset(self, session_id: str) -> None:
        self._memory[session_id] = float(self.opened(session_id).state.thinker.last_hidden[0])
        super().reset(session_id)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        memory = self._memory.pop(session_id, 0.0)
        return [attrs.evolve(output, logits=nudged(output.logits, memory))]


class ResetForgetsPrompt(ReferencePort):
    """A session that was reset has no prompt any more."""

    name = "reset-forgets-the-prompt"

    def reset(self, session_id: str) -> None:
        opened = self.opened(session_id)
        opened.config = attrs.evolve(opened.config, prompt=())
        super().reset(session_id)


class ResetsAll(ReferencePort):
    """Reset of one session empties the encoders of all."""

    name = "reset-touches-other-sessions"

    def reset(self, session_id: str) -> None:
        super().reset(session_id)
        for opened in self.sessions.values():
            fresh = opened.model.audio_encoder.init_state(1)
            emptied = attrs.evolve(opened.state.thinker, audio_encoder=fresh)
            opened.state = attrs.evolve(opened.state, thinker=emptied)


class AliasedExport(ReferencePort):
    """What was exported is a view of a buffer that the next step fills."""

    name = "export-aliases-a-buffer"

    def __init__(self) -> None:
        super().__init__()
        self._lent: dict[str, Array] = {}

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        self._lent[session_id] = state.roles["performer"].keys
        return state

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        if session_id in self._lent:
            self._lent[session_id][..., 0] = 0
        return outputs


class ExportAdvances(ReferencePort):
    """Exporting commits the last response early, so it is committed twice."""

    name = "export-leaves-a-trace"

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        opened = self.opened(session_id)
        decoder = tuple(x * 0 for x in opened.state.thinker.video_decoder)
        flushed = attrs.evolve(opened.state.thinker, video_decoder=decoder)
        opened.state = attrs.evolve(opened.state, thinker=flushed)
        return state


class ImportKeepsDecoder(ReferencePort):
    """An import takes over the caches, but not the audio decoder's state."""

    name = "import-keeps-own-decoder"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        opened = self.opened(session_id)
        decoder = opened.state.thinker.audio_decoder
        super().import_kv(session_id, state)
        kept = attrs.evolve(opened.state.thinker, audio_decoder=decoder)
        opened.state = attrs.evolve(opened.state, thinker=kept)


class ImportForgetsResponse(ReferencePort):
    """The response that was not committed yet is lost on the way."""

    name = "import-forgets-the-uncommitted"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        opened = self.opened(session_id)
        opened.state = attrs.evolve(opened.state, uncommitted=None)


class ImportRounds(ReferencePort):
    """Imported values have lost their last bits."""

    name = "import-rounds"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        def fewer(array: Array) -> Array:
            return np.asarray(array.astype(np.float32) * (1 + 2**-20)).astype(array.dtype)

        roles = {
            role: attrs.evolve(entries, values=fewer(entries.values))
            for role, entries in state.roles.items()
        }
        super().import_kv(session_id, attrs.evolve(state, roles=roles))


class ImportTiesSessions(ReferencePort):
    """A session and the one that took its state share the audio encoder from then on."""

    name = "import-ties-two-sessions"

    def __init__(self) -> None:
        super().__init__()
        self._source = ""

    def export_kv(self, session_id: str) -> KvExport:
        self._source = session_id
        return super().export_kv(session_id)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        source = self.sessions.get(self._source)
        if source is not None and source is not self.opened(session_id):
            opened = self.opened(session_id)
            tied = attrs.evolve(
                opened.state.thinker, audio_encoder=source.state.thinker.audio_encoder
            )
            opened.state = attrs.evolve(opened.state, thinker=tied)


class ImportsAnything(ReferencePort):
    """A state that does not fit is taken for none, silently."""

    name = "bad-state-ignored"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        try:
            super().import_kv(session_id, state)
        except ValueError:
            return


class RefusesTooLate(ReferencePort):
    """A bad state is refused only after the session was emptied for it."""

    name = "bad-state-harms"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        opened = self.opened(session_id)
        try:
            super().import_kv(session_id, state)
        except ValueError:
            emptied = attrs.evolve(
                opened.state.thinker,
                audio_decoder=tuple(x * 0 for x in opened.state.thinker.audio_decoder),
            )
            opened.state = attrs.evolve(opened.state, thinker=emptied)
            raise


class ForgetsToExport(ReferencePort):
    """What it exports is changed by `exported`."""

    @abstractmethod
    def exported(self, entries: KvEntries) -> KvEntries:
        """What it makes of the entries of one role."""

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        roles = {role: self.exported(entries) for role, entries in state.roles.items()}
        return attrs.evolve(state, roles=roles)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        roles = {role: self.exported(entries) for role, entries in state.roles.items()}
        super().import_kv(session_id, attrs.evolve(state, roles=roles))


class LayersReversed(ForgetsToExport):
    """Exported entries have their layers upside down, and are read so too."""

    name = "layers-upside-down"

    def exported(self, entries: KvEntries) -> KvEntries:
        keys, values = (np.ascontiguousarray(x[::-1]) for x in (entries.keys, entries.values))
        return attrs.evolve(entries, keys=keys, values=values)


class HeadsReversed(ForgetsToExport):
    """Exported values have their heads in the opposite order, and are read so too."""

    name = "value-heads-reversed"

    def exported(self, entries: KvEntries) -> KvEntries:
        return attrs.evolve(entries, values=np.ascontiguousarray(entries.values[:, ::-1]))


class KeysNegated(ForgetsToExport):
    """Exported keys are turned by half a turn, and turned back when read."""

    name = "exported-keys-turned"

    def exported(self, entries: KvEntries) -> KvEntries:
        return attrs.evolve(entries, keys=-entries.keys)


class RowsOfSlots(ReferencePort):
    """The rows of exported video tokens count columns from one."""

    name = "exported-rows-off-by-one"

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        for entries in state.roles.values():
            entries.rows[entries.rows[:, 2] == 3, 6] += 1
        return state


class UnitOffByOne(ReferencePort):
    """An export names the last unit instead of the next one."""

    name = "exported-unit-off-by-one"

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        return attrs.evolve(state, unit=state.unit - 1)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, attrs.evolve(state, unit=state.unit + 1))


class NeverCloses(ReferencePort):
    """A closed session goes on answering."""

    name = "closed-session-answers"

    def close(self, session_id: str) -> None:
        self.opened(session_id)


class FinishesTwice(ReferencePort):
    """Every finish answers the last unit again but the first one."""

    name = "finish-repeats-the-last-unit"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, list[UnitOutput]] = {}
        self._finished: set[str] = set()

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        self._last[session_id] = list(super().step(session_id, unit))
        return self._last[session_id]

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        super().finish(session_id)
        if session_id in self._finished:
            return self._last.get(session_id, [])
        self._finished.add(session_id)
        return []


class ProbeSteps(ReferencePort):
    """A probe leaves the audio encoder's state of the probed unit behind."""

    name = "probe-leaves-a-trace"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = super().probe(session_id, unit, points)
        opened = self.opened(session_id)
        encoder = tuple(x * 0 for x in opened.state.thinker.audio_encoder)
        moved = attrs.evolve(opened.state.thinker, audio_encoder=encoder)
        opened.state = attrs.evolve(opened.state, thinker=moved)
        return found


class ProbeOffByOne(ReferencePort):
    """Layer n of a probe is what goes into it, not what comes out."""

    name = "probe-one-layer-early"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = dict(super().probe(session_id, unit, ()))
        moved = {
            name: found[name.replace("layer.0", "embeddings")]
            for name in found
            if name.endswith("layer.0")
        }
        found |= moved
        return {name: found[name] for name in points or found}


class ProbeAnswersAll(ReferencePort):
    """A point that nobody knows is answered with the first one there is."""

    name = "probe-invents-points"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = super().probe(session_id, unit, ())
        first = next(iter(found.values()))
        return {name: found.get(name, first) for name in points or found}


MUTANTS = (
    by_class("WS-RECIPE-7", OtherDigest),
    by_class("WS-RECIPE-7", DigestOfName),
    by_class("WS-SESSION-4", ResetKeepsDecoder),
    by_class("WS-SESSION-4", ResetKeepsAnUlp),
    by_class("WS-SESSION-4", ResetForgetsPrompt),
    by_class("WS-SESSION-4", ResetsAll),
    by_class("WS-CONFORMANCE-17", AliasedExport),
    by_class("WS-CONFORMANCE-17", ExportAdvances),
    by_class("WS-CONFORMANCE-17", ImportKeepsDecoder),
    by_class("WS-CONFORMANCE-17", ImportForgetsResponse),
    by_class("WS-CONFORMANCE-17", ImportRounds),
    by_class("WS-CONFORMANCE-17", ImportTiesSessions),
    by_class("WS-CONFORMANCE-17", ImportsAnything),
    by_class("WS-CONFORMANCE-17", RefusesTooLate),
    by_class("WS-CONFORMANCE-17", LayersReversed),
    by_class("WS-CONFORMANCE-17", HeadsReversed),
    by_class("WS-POSITIONS-6", KeysNegated),
    by_class("WS-LAYOUT-2", RowsOfSlots),
    by_class("WS-CONFORMANCE-17", UnitOffByOne),
    by_class("WS-CONFORMANCE-4", NeverCloses),
    by_class("WS-CONFORMANCE-6", FinishesTwice),
    by_class("WS-CONFORMANCE-18", ProbeSteps),
    by_class("WS-CONFORMANCE-18", ProbeOffByOne),
    by_class("WS-CONFORMANCE-18", ProbeAnswersAll),
)
