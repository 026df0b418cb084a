"""Ports with what no output of one short session shows: a refused state that stays, old digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from conformance.mutants.afterwards import moved
from conformance.mutants.patching import by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, CodecRequest, KvExport, OpenRequest, UnitInput, UnitOutput
from reference.performer import PerformerState
from spec.errors import WanStreamerError


class ThinkerTaken(ReferencePort):
    """Of a state that is refused for the performer's entries the thinker's stay."""

    name = "refused-state-half-taken"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        try:
            super().import_kv(session_id, state)
        except WanStreamerError:
            opened = self.opened(session_id)
            roles = state.roles
            if set(roles) == {"thinker", "performer"} and _sound(roles["thinker"].keys):
                own = super().export_kv(session_id)
                taken = attrs.evolve(own, roles=dict.fromkeys(roles, roles["thinker"]))
                try:
                    before = opened.state
                    super().import_kv(session_id, taken)
                except WanStreamerError:
                    pass
                else:
                    cache = opened.state.thinker.cache
                    opened.state = before
                    moved(opened, lambda thinker: attrs.evolve(thinker, cache=cache))
            raise


def _sound(keys: Array) -> bool:
    return bool(np.isfinite(keys).all())


class NinthShares(ReferencePort):
    """The ninth session that is open writes to the audio encoder's state of the first."""

    name = "ninth-session-shares"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        names = list(self.sessions)
        if len(names) > 8 and session_id == names[8]:
            first, ninth = self.sessions[names[0]], self.opened(session_id)
            heard = ninth.state.thinker.audio_encoder
            if first.model is ninth.model:
                moved(first, lambda thinker: attrs.evolve(thinker, audio_encoder=heard))
        return outputs


class ThirdSharesPerformer(ReferencePort):
    """The slices of the third session that is open go to the performer of the first."""

    name = "third-session-shares-performer"

    def __init__(self) -> None:
        super().__init__()
        self._of_first: dict[int, PerformerState] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened, at = self.opened(session_id), list(self.sessions).index(session_id)
        if at == 0:
            self._of_first[unit.unit] = opened.state.performer
        theirs = self._of_first.get(unit.unit)
        if at == 2 and theirs and len(theirs.cache) == len(opened.state.performer.cache):
            opened.state = attrs.evolve(opened.state, performer=theirs)
        return super().step(session_id, unit)


class OldDigests(ReferencePort):
    """Of more than three units back the digest is that of three units back."""

    name = "digests-of-three-units"

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        return super().kv_digest(
            session_id, max(up_to_unit, self.opened(session_id).state.unit - 3)
        )


class RemembersDigests(ReferencePort):
    """What was digested once is not digested again, and a reset does not forget it."""

    name = "digests-survive-a-reset"

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, int], Mapping[str, str]] = {}

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        if up_to_unit >= self.opened(session_id).state.unit - 1:
            return super().kv_digest(session_id, up_to_unit)
        key = session_id, up_to_unit
        if key not in self._known:
            self._known[key] = super().kv_digest(session_id, up_to_unit)
        return self._known[key]


class AnswersAgain(ReferencePort):
    """The unit that came last, sent once more, is answered once more."""

    name = "same-unit-answered-again"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[UnitInput, Sequence[UnitOutput]]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        last = self._last.get(session_id)
        if last and last[0] is unit:
            return last[1]
        outputs = super().step(session_id, unit)
        self._last[session_id] = unit, outputs
        return outputs


class EmptyIsNone(ReferencePort):
    """Prescribed words that are none at all count as not prescribed."""

    name = "no-words-not-prescribed"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.agent_text == ():
            unit = attrs.evolve(unit, agent_text=None)
        return super().step(session_id, unit)


class NarrowDecoder(ReferencePort):
    """The video decoder's state is exported in float32."""

    name = "video-decoder-exported-in-float32"

    def export_kv(self, session_id: str) -> KvExport:
        state = super().export_kv(session_id)
        extra = {
            name: array.astype(np.float32).astype(array.dtype)
            if name.startswith("video_decoder")
            else array
            for name, array in state.extra.items()
        }
        return attrs.evolve(state, extra=extra)


class Sequential(ReferencePort):
    """A preset's schedule counts, not the session's."""

    name = "lag0-always-sequential"

    def open(self, request: OpenRequest) -> str:
        if request.preset == "tiny-lag0":
            request = attrs.evolve(request, schedule="sequential")
        return super().open(request)


class LatentsClippedFarOut(ReferencePort):
    """Decoders clip latents at ±10."""

    name = "latents-clipped-far-out"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        decodes = request.part.endswith("decode") and bool(np.isfinite(data).all())
        return super().codec(request, np.clip(data, -10, 10) if decodes else data)


class AnyCapital(ReferencePort):
    """The first letter of a feature may be a capital."""

    name = "features-with-a-capital"

    def supports(self, feature: str) -> bool:
        return super().supports(feature[:1].lower() + feature[1:])


MUTANTS = (
    by_class("WS-CONFORMANCE-17", ThinkerTaken),
    by_class("WS-SESSION-3", NinthShares),
    by_class("WS-STREAMING-11", ThirdSharesPerformer),
    by_class("WS-STREAMING-6", OldDigests),
    by_class("WS-STREAMING-6", RemembersDigests),
    by_class("WS-CONFORMANCE-4", AnswersAgain),
    by_class("WS-CONFORMANCE-4", EmptyIsNone),
    by_class("WS-CONFORMANCE-17", NarrowDecoder),
    by_class("WS-PRESETS-3", Sequential),
    by_class("WS-CODEC-5", LatentsClippedFarOut),
    by_class("WS-CONFORMANCE-3", AnyCapital),
)
