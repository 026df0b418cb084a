"""Ports that keep for speed what belongs to another session, or to another life of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from torch import Tensor

from conformance.mutants.patching import Mutant, by_class
from conformance.ports.reference import Opened, ReferencePort
from conformance.protocol import KvExport, OpenRequest, UnitInput, UnitOutput
from reference.performer import PerformerState


class BlocksByOwnTokens(ReferencePort):
    """Blocks of the prompt's entries are shared by place and own tokens, whatever came before."""

    name = "prompt-blocks-without-parent"
    block = 4

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[object, tuple[Tensor, Tensor]] = {}

    def _shared(self, opened: Opened) -> None:
        cache, prompt = opened.state.thinker.cache, opened.config.prefill
        keys, values = cache.k.clone(), cache.v.clone()
        for start in range(0, len(prompt) - self.block + 1, self.block):
            own = slice(start, start + self.block)
            key = opened.config.preset.name, keys.dtype, start, prompt[own]
            known = self._blocks.setdefault(
                key, (keys[:, :, own].clone(), values[:, :, own].clone())
            )
            keys[:, :, own], values[:, :, own] = known
        cache = attrs.evolve(cache, k=keys, v=values)
        opened.state = attrs.evolve(
            opened.state,
            thinker=attrs.evolve(opened.state.thinker, cache=cache),
            performer=PerformerState(cache),
        )

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        self._shared(self.sessions[name])
        return name

    def reset(self, session_id: str) -> None:
        super().reset(session_id)
        self._shared(self.sessions[session_id])


class OneTopKForAll(ReferencePort):
    """Sessions that draw are drawn together, with the widest top_k of any of them."""

    name = "widest-top-k-for-all"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        own = opened.config
        if not own.sampling.temperature:
            return super().step(session_id, unit)
        everything = own.preset.tokenizer.vocab_size
        widest = max(
            other.config.sampling.top_k or everything
            for other in self.sessions.values()
            if other.config.sampling.temperature
        )
        opened.config = attrs.evolve(own, sampling=attrs.evolve(own.sampling, top_k=widest))
        try:
            return super().step(session_id, unit)
        finally:
            opened.config = own


class DigestOfAnotherLife(ReferencePort):
    """A digest that can change no more is worked out once a session, and outlives its reset."""

    name = "digest-outlives-the-reset"

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, int], Mapping[str, str]] = {}

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        found = self._known.get((session_id, up_to_unit))
        if found is None:
            found = super().kv_digest(session_id, up_to_unit)
            if 0 <= up_to_unit < self.opened(session_id).state.unit - 1:
                self._known[session_id, up_to_unit] = found
        return found

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        self._known = {key: d for key, d in self._known.items() if key[0] != session_id}


MUTANTS: Final[tuple[Mutant, ...]] = (
    by_class("WS-SESSION-3", BlocksByOwnTokens),
    by_class("WS-TEXT-2", OneTopKForAll),
    by_class("WS-STREAMING-6", DigestOfAnotherLife),
)
