"""Ports whose sessions lose something when they move, are closed, probed or refused a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import torch

from conformance.mutants.combined import thinks
from conformance.mutants.exchange import Reads
from conformance.mutants.patching import Mutant, by_class
from conformance.ports.reference import Opened, ReferencePort
from conformance.protocol import (
    Array,
    Json,
    KvExport,
    OpenRequest,
    UnitInput,
    UnitOutput,
)
from reference import kv_cache, sampling, thinker
from reference.prefill import IdentitySignals
from reference.token_table import TokenTable
from spec.errors import WanStreamerError


class MarkedAsSorted(ReferencePort):
    """What comes after an import stays behind it: an imported cache counts as sorted for good."""

    name = "imported-is-sorted"

    def __init__(self) -> None:
        super().__init__()
        self._marked: set[str] = set()

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        self._marked.add(session_id)

    def export_kv(self, session_id: str) -> KvExport:
        if session_id not in self._marked:
            return super().export_kv(session_id)
        sort, kv_cache.canonical_order = kv_cache.canonical_order, as_they_came
        try:
            return super().export_kv(session_id)
        finally:
            kv_cache.canonical_order = sort


def as_they_came(table: TokenTable) -> torch.Tensor:
    return torch.arange(len(table))


class WholeNucleus(ReferencePort):
    """An export knows temperature and top_k; top_p is 1 in the session that takes it."""

    name = "import-forgets-top-p"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        opened = self.opened(session_id)
        rule = attrs.evolve(opened.config.sampling, top_p=1.0)
        opened.config = attrs.evolve(opened.config, sampling=rule)


class GreyAfterAMove(ReferencePort):
    """A session that took a state knows how long its identity is, and begins anew without it."""

    name = "import-forgets-the-identity"

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        opened = self.opened(session_id)
        blank = {
            name: None if signal is None else torch.zeros_like(signal)
            for name, signal in (("image", opened.identity.image), ("voice", opened.identity.voice))
        }
        opened.identity = IdentitySignals(**blank)


class FreedTwice(ReferencePort):
    """A session that is closed twice gives its place back twice, and two others share it."""

    name = "closed-twice-freed-twice"

    def __init__(self) -> None:
        super().__init__()
        self._place: dict[str, int] = {}
        self._free: list[int] = []
        self._held: list[Opened] = []

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        if not self._free:
            self._free.append(len(self._held))
            self._held.append(self.sessions[name])
        self._place[name] = self._free.pop()
        self._held[self._place[name]] = self.sessions[name]
        return name

    def opened(self, session_id: str) -> Opened:
        super().opened(session_id)
        return self._held[self._place[session_id]]

    def close(self, session_id: str) -> None:
        super().close(session_id)
        if session_id in self._place:
            self._free.append(self._place[session_id])


class LastOfThePage(ReferencePort):
    """Where a prompt that came before fills its pages, its last token is in the cache twice."""

    name = "shared-page-ends-twice"
    page = 8

    def __init__(self) -> None:
        super().__init__()
        self._known: set[object] = set()

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        opened = self.sessions[name]
        cache = opened.state.thinker.cache
        key = request.preset, request.dtype, request.prompt
        if key in self._known and len(cache) % self.page == 0:
            last = kv_cache.take(cache, torch.tensor([len(cache) - 1]))
            thinks(opened, cache=kv_cache.concat([cache, last]))
        self._known.add(key)
        return name


class CommitsBeforeItLooks(ReferencePort):
    """A sequential session commits the response before, looks at the unit, refuses it, and commits
    that response once more with the next."""

    name = "refused-unit-commits-twice"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        opened = self.opened(session_id)
        before = opened.state
        try:
            return super().step(session_id, unit)
        except WanStreamerError:
            waits = before.uncommitted
            if opened.config.schedule == "sequential" and waits is not None:
                with torch.inference_mode():
                    _, thinking = thinker.commit(
                        opened.model, opened.config, before.unit - 1, waits, before.thinker
                    )
                thinks(opened, cache=thinking.cache)
            raise


class SameIsNothing(ReferencePort):
    """To import what was imported last does nothing, also after a reset."""

    name = "same-import-skipped"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, KvExport] = {}

    def import_kv(self, session_id: str, state: KvExport) -> None:
        if self._last.get(session_id) is not state:
            super().import_kv(session_id, state)
        self._last[session_id] = state

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        self._last.pop(session_id, None)
        return super().step(session_id, unit)


class NothingToReset(ReferencePort):
    """A reset before unit 0 has nothing to undo, not even that the session was finished."""

    name = "reset-before-unit-0-skipped"

    def __init__(self) -> None:
        super().__init__()
        self._finished: set[str] = set()

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        self._finished.add(session_id)
        return super().finish(session_id)

    def reset(self, session_id: str) -> None:
        if self.opened(session_id).state.unit:
            self._finished.discard(session_id)
            super().reset(session_id)

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if session_id in self._finished:
            raise WanStreamerError("session", session_id, "one that was not finished")
        return super().step(session_id, unit)


class ZerosAreNone(ReferencePort):
    """Prescribed words that are all of id 0 count as none."""

    name = "words-of-id-0-not-prescribed"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.agent_text and not any(unit.agent_text):
            unit = attrs.evolve(unit, agent_text=None)
        return super().step(session_id, unit)


class SpeaksTooSoon(ReferencePort):
    """The first word of a unit is drawn by the logits of the word before it."""

    name = "first-word-by-older-logits"

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[str, Array] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        rule = self.opened(session_id).config.sampling
        older = self._before.get(session_id)
        (output,) = super().step(session_id, unit)
        drawn = unit.agent_text is None and unit.uniform is not None and len(output.text) > 0
        if len(output.logits):
            self._before[session_id] = output.logits[-1]
        if not drawn or older is None or rule.temperature == 0:
            return [output]
        word = sampling.draw(torch.tensor(older), rule, float(unit.uniform[0]))  # type: ignore[index]
        return [attrs.evolve(output, text=(word, *output.text[1:]))]


class NothingIsNoPayload(Reads):
    """Latents of no byte, from an agent of words alone, are taken for a message that is broken."""

    name = "latents-of-no-byte-lost"

    def read(self, message: Json) -> Json:
        return {} if message.get("byte_count") == 0 else message


MUTANTS: Final[tuple[Mutant, ...]] = (
    by_class("WS-CONFORMANCE-17", MarkedAsSorted),
    by_class("WS-CONFORMANCE-17", WholeNucleus),
    by_class("WS-CONFORMANCE-17", GreyAfterAMove),
    by_class("WS-SESSION-3", FreedTwice),
    by_class("WS-SESSION-3", LastOfThePage),
    by_class("WS-CONFORMANCE-4", CommitsBeforeItLooks),
    by_class("WS-CONFORMANCE-17", SameIsNothing),
    by_class("WS-SESSION-4", NothingToReset),
    by_class("WS-TEXT-6", ZerosAreNone),
    by_class("WS-TEXT-1", SpeaksTooSoon),
    by_class("WS-EXCHANGE-9", NothingIsNoPayload),
)
