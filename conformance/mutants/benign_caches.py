"""Harmless variants that keep other things in their caches, or in another order."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from conformance.mutants.benign_sessions import variant
from conformance.mutants.patching import PatchedPort
from conformance.ports.reference import ReferencePort
from conformance.protocol import UnitInput, UnitOutput
from reference import kv_cache, thinker
from reference.session import SessionState
from reference.units import UserUnit
from spec.session import SessionConfig


def padded_with_zero(config: SessionConfig, user: UserUnit) -> tuple[int, ...]:
    free = config.layout.user_text_slots - len(user.text)
    return (*user.text, *(0,) * free)


class OwnPadding(PatchedPort):
    """Text slots that are not used hold id 0, where everybody else has `<wait>`."""

    name = "padding-holds-anything"

    def __init__(self) -> None:
        super().__init__(self.name, ((thinker, "padded_text", padded_with_zero),))


class PagedCache(ReferencePort):
    """Cache entries lie in pages of seven, in an order that is nobody's."""

    name = "paged-cache"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        opened = self.opened(session_id)
        opened.state = _shuffled(opened.state)
        return outputs


def _shuffled(state: SessionState) -> SessionState:
    def pages(cache: kv_cache.KVEntries) -> kv_cache.KVEntries:
        index: Tensor = torch.arange(len(cache))
        order = torch.argsort((index // 7 * 31 + 5) % 17, stable=True)
        return kv_cache.take(cache, order)

    thinker = attrs.evolve(state.thinker, cache=pages(state.thinker.cache))
    performer = attrs.evolve(state.performer, cache=pages(state.performer.cache))
    return attrs.evolve(state, thinker=thinker, performer=performer)


VARIANTS = (variant(OwnPadding), variant(PagedCache))
