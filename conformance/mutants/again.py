"""Ports that are right once: the second import, the fourth reset, names that are nearly right, and
states that no session comes to."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from conformance.mutants.afterwards import Refuses, hoarse, moved
from conformance.mutants.patching import by_class
from conformance.ports import transfer
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    KvEntries,
    KvExport,
    UnitInput,
    UnitOutput,
    Unsupported,
)


class SecondImportMixes(ReferencePort):
    """From its second import on a session keeps its own audio decoder."""

    name = "second-import-keeps-the-decoder"

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[str] = set()

    def import_kv(self, session_id: str, state: KvExport) -> None:
        opened = self.opened(session_id)
        decoder = opened.state.thinker.audio_decoder
        super().import_kv(session_id, state)
        if session_id in self._taken:
            moved(opened, lambda thinker: attrs.evolve(thinker, audio_decoder=decoder))
        self._taken.add(session_id)


class FourthReset(ReferencePort):
    """The fourth reset of a session leaves something behind."""

    name = "fourth-reset-leaves-a-trace"

    def __init__(self) -> None:
        super().__init__()
        self._resets: Counter[str] = Counter()

    def reset(self, session_id: str) -> None:
        super().reset(session_id)
        self._resets[session_id] += 1
        if self._resets[session_id] > 3:
            moved(self.opened(session_id), hoarse)


class RefusalComesBack(Refuses):
    """What was refused lies in a buffer that a reset does not clear."""

    name = "refusal-heard-after-a-reset"

    def __init__(self) -> None:
        super().__init__()
        self._spoiled: set[str] = set()

    def refused(self, session_id: str) -> None:
        self._spoiled.add(session_id)

    def reset(self, session_id: str) -> None:
        super().reset(session_id)
        if session_id in self._spoiled:
            moved(self.opened(session_id), hoarse)


class Mends(ReferencePort):
    """A port that takes for good what it can make of a state."""

    @abstractmethod
    def mended(self, state: KvExport) -> KvExport:
        """What it makes of ``state``."""

    def import_kv(self, session_id: str, state: KvExport) -> None:
        mended = self.mended(state)
        super().import_kv(session_id, mended if mended.roles else state)


class MendsInfinity(Mends):
    """Infinite values become zeros."""

    name = "infinite-cache-values-zeroed"

    def mended(self, state: KvExport) -> KvExport:
        def finite(entries: KvEntries) -> KvEntries:
            values = np.where(np.isinf(entries.values), 0, entries.values)
            return attrs.evolve(entries, values=values.astype(entries.values.dtype))

        return attrs.evolve(state, roles={role: finite(e) for role, e in state.roles.items()})


class OneForBoth(Mends):
    """Where one role is missing, the other's cache stands for both."""

    name = "one-role-taken-for-both"

    def mended(self, state: KvExport) -> KvExport:
        roles = [state.roles.get(role) for role in ("thinker", "performer")]
        there = [entries for entries in roles if entries is not None]
        if len(there) != 1:
            return state
        return attrs.evolve(state, roles={"thinker": there[0], "performer": there[0]})


class DropsCopies(Mends):
    """Of entries that are there twice one is dropped."""

    name = "double-entries-dropped"

    def mended(self, state: KvExport) -> KvExport:
        def once(entries: KvEntries) -> KvEntries:
            _, first = np.unique(entries.rows, axis=0, return_index=True)
            kept = np.sort(first)
            return KvEntries(
                rows=entries.rows[kept],
                keys=entries.keys[:, :, kept],
                values=entries.values[:, :, kept],
            )

        fits = all(len(e.rows) == e.keys.shape[2] for e in state.roles.values())
        if not fits:
            return state
        return attrs.evolve(state, roles={role: once(e) for role, e in state.roles.items()})


class HistoryUnseen(ReferencePort):
    """Shapes and numbers of a state are looked at, what it says of its tokens is not."""

    name = "imported-history-unseen"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        check, transfer.check_history = transfer.check_history, lambda export: None  # noqa: ARG005
        try:
            super().import_kv(session_id, state)
        finally:
            transfer.check_history = check


class LooseNames(ReferencePort):
    """Names of features are trimmed and put in small letters."""

    name = "features-in-any-letter-case"

    def supports(self, feature: str) -> bool:
        return super().supports(feature.strip().lower())


class Abbreviates(ReferencePort):
    """The beginning of a name will do."""

    name = "features-may-be-cut-short"

    def supports(self, feature: str) -> bool:
        hello = self.hello()
        return any(name.startswith(feature) for name in (*hello.features, *hello.dtypes))


class NarrowCodec(ReferencePort):
    """The codec is there only in float64, and float32 is the main dtype."""

    name = "codec-lacks-the-main-dtype"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        if request.dtype == "float32":
            raise Unsupported("float32")
        return super().codec(request, data)


class NarrowVoice(ReferencePort):
    """In float64 sessions whose agent has no words, its sound is float32."""

    name = "wordless-float64-voice-in-float32"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        if self.opened(session_id).config.modalities.agent_text:
            return outputs
        return [attrs.evolve(output, audio=_narrow(output.audio)) for output in outputs]


def _narrow(audio: Array | None) -> Array | None:
    return None if audio is None else audio.astype(np.float32).astype(audio.dtype)


class ShortDigest(ReferencePort):
    """The digest of a cache is cut to half."""

    name = "cache-digest-cut"

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        found = super().kv_digest(session_id, up_to_unit)
        return {role: digest[:32] for role, digest in found.items()}


MUTANTS = (
    by_class("WS-CONFORMANCE-17", SecondImportMixes),
    by_class("WS-SESSION-4", FourthReset),
    by_class("WS-CONFORMANCE-4", RefusalComesBack),
    by_class("WS-CONFORMANCE-17", MendsInfinity),
    by_class("WS-CONFORMANCE-17", OneForBoth),
    by_class("WS-CONFORMANCE-17", DropsCopies),
    by_class("WS-CONFORMANCE-17", HistoryUnseen),
    by_class("WS-CONFORMANCE-3", LooseNames),
    by_class("WS-CONFORMANCE-3", Abbreviates),
    by_class("WS-CONFORMANCE-2", NarrowCodec),
    by_class("WS-LAYOUT-5", NarrowVoice),
    by_class("WS-STREAMING-6", ShortDigest),
)
