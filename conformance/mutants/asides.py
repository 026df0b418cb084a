"""Ports that are wrong beside the stream: probes, digests, the offline form, what they claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
import torch

from conformance.mutants.combined import thinks
from conformance.mutants.patching import Mutant, by_class
from conformance.ports.convert import user_of
from conformance.ports.reference import Opened, ReferencePort
from conformance.protocol import (
    Array,
    DType,
    Hello,
    LoadRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
)
from reference import kv_cache, thinker
from spec.errors import WanStreamerError
from spec.layout import PREFILL_UNIT, Modality
from spec.session import SessionConfig
from spec.text import Sampling

NEXT: Final = thinker.next_token


class ProbesGreedily(ReferencePort):
    """A probe has no numbers, and takes the largest logits for the words."""

    name = "probe-speaks-greedily"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        with self._greedy(self.opened(session_id)):
            return super().probe(session_id, unit, points)

    @contextmanager
    def _greedy(self, opened: Opened) -> Iterator[None]:
        config = opened.config
        opened.config = attrs.evolve(config, sampling=Sampling())
        try:
            yield
        finally:
            opened.config = config


class ProbesItsWorkspace(ReferencePort):
    """What a probe answers is where the next step writes its own tensors."""

    name = "probe-shows-its-workspace"

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Mapping[str, Array]] = {}

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        self._shown[session_id] = super().probe(session_id, unit, points)
        return self._shown[session_id]

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        for array in self._shown.pop(session_id, {}).values():
            array[...] = 0
        return super().step(session_id, unit)


class ProbesWhatThereIsNot(ReferencePort):
    """A pass without a token is a crash of the probe."""

    name = "probe-of-an-empty-pass"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = super().probe(session_id, unit, points)
        if not any(name.startswith("O.") for name in found) and not points:
            raise WanStreamerError("probe", "no observation", "a session with one")
        return found


class ProbeStopsEarly(ReferencePort):
    """A probe that wants nothing behind the encoders ends there, and leaves them moved."""

    name = "probe-of-features-moves-encoders"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = super().probe(session_id, unit, points)
        if points and all(point.endswith("features") for point in points):
            self._heard(session_id, unit)
        return found

    def _heard(self, session_id: str, unit: UnitInput) -> None:
        opened = self.opened(session_id)
        model, config, state = opened.model, opened.config, opened.state.thinker
        with torch.inference_mode():
            _, state = thinker.observe(model, config, user_of(unit), state)
        thinks(opened, audio_encoder=state.audio_encoder)


class OfflineByPlace(ReferencePort):
    """The offline form takes the units of a clip by their place, whatever number they bear."""

    name = "offline-units-by-place"

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        numbered = [attrs.evolve(unit, unit=k) for k, unit in enumerate(units)]
        return super().offline(request, numbered)


class OfflineSpeaksOn(ReferencePort):
    """The offline form draws words after an `<eos>` of the agent's own, too."""

    name = "offline-words-after-eos"

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        def unheld(config: SessionConfig, _: Any, logits: Any, uniform: Any) -> int:
            return NEXT(config, (), logits, uniform)

        thinker.next_token = unheld  # type: ignore[assignment]
        try:
            return super().offline(request, units)
        finally:
            thinker.next_token = NEXT


class DigestOfText(ReferencePort):
    """The digest of the prefill leaves out picture and voice."""

    name = "digest-of-text-alone"

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        if up_to_unit != PREFILL_UNIT:
            return super().kv_digest(session_id, up_to_unit)
        opened = self.opened(session_id)
        cache = opened.state.thinker.cache
        text = torch.nonzero(cache.table.modality == Modality.TEXT).squeeze(-1)
        digest = kv_cache.digest(kv_cache.take(cache, text), up_to_unit)
        return {"thinker": digest, "performer": digest}


class LoadsOverWhatRuns(ReferencePort):
    """Loading the weights of a session that is open begins its streams anew."""

    name = "load-clears-streams"

    def load(self, request: LoadRequest) -> str:
        digest = super().load(request)
        for opened in self.sessions.values():
            if opened.config.preset.name == request.preset:
                thinks(opened, audio_decoder=opened.model.audio_codec.decoder_state(1))
        return digest


class SaysWhatItLoaded(ReferencePort):
    """The main dtype is that of the weights that were loaded last."""

    name = "main-dtype-moves"

    def __init__(self) -> None:
        super().__init__()
        self._loaded: DType | None = None

    def load(self, request: LoadRequest) -> str:
        self._loaded = request.dtype
        return super().load(request)

    def hello(self) -> Hello:
        hello = super().hello()
        first = self._loaded or hello.dtypes[0]
        others = (dtype for dtype in hello.dtypes if dtype != first)
        return attrs.evolve(hello, dtypes=(first, *others))


class HyphensToo(ReferencePort):
    """A hyphen in the name of a feature is as good as `_`."""

    name = "features-with-hyphens"

    def supports(self, feature: str) -> bool:
        return super().supports(feature.replace("-", "_"))


MUTANTS: Final[tuple[Mutant, ...]] = (
    by_class("WS-CONFORMANCE-18", ProbesGreedily),
    by_class("WS-CONFORMANCE-6", ProbesItsWorkspace),
    by_class("WS-CONFORMANCE-18", ProbesWhatThereIsNot),
    by_class("WS-CONFORMANCE-4", OfflineByPlace),
    by_class("WS-CONFORMANCE-18", ProbeStopsEarly),
    by_class("WS-SESSION-3", LoadsOverWhatRuns),
    by_class("WS-CONFORMANCE-2", SaysWhatItLoaded),
    by_class("WS-TEXT-6", OfflineSpeaksOn),
    by_class("WS-PREFILL-3", DigestOfText),
    by_class("WS-CONFORMANCE-3", HyphensToo),
)
