"""Harmless variants that serve sessions in another way: later, together, jittered."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import attrs
import numpy as np
import torch

from conformance.mutants.benign import youngest_first
from conformance.mutants.patching import Benign, PatchedPort
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    Hello,
    KvExport,
    OpenRequest,
    UnitInput,
    UnitOutput,
)
from reference import kv_cache


class Late(ReferencePort):
    """Each response is handed out ``delay`` steps later, the last ones by finish."""

    delay: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, list[UnitOutput]] = {}

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        self._waiting[name] = []
        return name

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        fresh = super().step(session_id, unit)
        queue = self._waiting[session_id]
        queue += fresh
        return [queue.pop(0)] if len(queue) > self.delay else []

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        super().finish(session_id)
        queue, self._waiting[session_id] = self._waiting[session_id], []
        return queue

    def reset(self, session_id: str) -> None:
        super().reset(session_id)
        self._waiting[session_id] = []

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        self._waiting[session_id] = []


class OneUnitLate(Late):
    """Each response is handed out one step later, the last one by finish."""

    name = "answers-a-step-later"
    delay = 1


class AtTheEnd(Late):
    """Every response is handed out by finish."""

    name = "answers-at-the-end"
    delay = 10**9


class TwoUnitsLate(Late):
    """Each response is handed out two steps later, the last ones by finish."""

    name = "answers-two-steps-later"
    delay = 2


class Reordering(PatchedPort):
    """Adds up keys in the opposite order whenever `otherwise` says so."""

    def __init__(self) -> None:
        super().__init__(type(self).name, ((kv_cache, "context_of", youngest_first),))

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), exact_split=False)

    @abstractmethod
    def otherwise(self) -> bool:
        """Is it the opposite order now?"""

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        if self.otherwise():
            with super()._at_work():
                yield
        else:
            yield


class Batched(Reordering):
    """Sessions that are open together are computed together, in another order of summation."""

    name = "batched-sessions"

    def otherwise(self) -> bool:
        return len(self.sessions) > 1


class WarmsUp(Reordering):
    """The first forty commands run as they are, later ones compiled: they round otherwise."""

    name = "compiles-after-a-while"

    def __init__(self) -> None:
        super().__init__()
        self._commands = itertools.count()

    def otherwise(self) -> bool:
        return next(self._commands) > 40


class WaitsForAll(ReferencePort):
    """A unit is computed only once every open session that was ever stepped has one, or when it
    must be: at the next step of its own session, at finish, export, probe or reset."""

    name = "waits-for-all-sessions"

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, UnitInput] = {}
        self._ready: dict[str, list[UnitOutput]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        self._compute(session_id)
        self._check(session_id, unit)
        self._held[session_id] = unit
        if set(self._held) >= set(self._ready):
            for each in list(self._held):
                self._compute(each)
        return self._handed(session_id)

    def _check(self, session_id: str, unit: UnitInput) -> None:
        """Refuse at once what the session would refuse: it is run, and what it made dropped."""
        before = self.opened(session_id).state
        super().step(session_id, unit)
        self.opened(session_id).state = before
        self._ready.setdefault(session_id, [])

    def _compute(self, session_id: str) -> None:
        unit = self._held.pop(session_id, None)
        if unit is not None:
            self._ready[session_id] += super().step(session_id, unit)

    def _handed(self, session_id: str) -> list[UnitOutput]:
        ready, self._ready[session_id] = self._ready.get(session_id, []), []
        return ready

    def finish(self, session_id: str) -> Sequence[UnitOutput]:
        super().finish(session_id)
        self._compute(session_id)
        return self._handed(session_id)

    def reset(self, session_id: str) -> None:
        self._held.pop(session_id, None)
        super().reset(session_id)
        self._ready[session_id] = []

    def close(self, session_id: str) -> None:
        self._held.pop(session_id, None)
        self._ready.pop(session_id, None)
        super().close(session_id)

    def export_kv(self, session_id: str) -> KvExport:
        self._compute(session_id)
        return super().export_kv(session_id)

    def import_kv(self, session_id: str, state: KvExport) -> None:
        super().import_kv(session_id, state)
        self._held.pop(session_id, None)
        self._ready[session_id] = []

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        self._compute(session_id)
        return super().probe(session_id, unit, points)

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        self._compute(session_id)
        return super().kv_digest(session_id, up_to_unit)


class Jittered(ReferencePort):
    """Says that it does not repeat itself, and does not: the last bits of its outputs vary."""

    name = "not-deterministic"

    def __init__(self) -> None:
        super().__init__()
        self._generator = np.random.default_rng(5)

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), deterministic=False, exact_split=False)

    def _jittered(self, array: Array | None) -> Array | None:
        if array is None:
            return None
        eps = np.finfo(array.dtype).eps
        noise = self._generator.uniform(-eps, eps, array.shape)
        return np.asarray((array.astype(np.float64) * (1 + noise)).astype(array.dtype))

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return [
            attrs.evolve(
                output,
                audio_latents=self._jittered(output.audio_latents),
                video_latents=self._jittered(output.video_latents),
                audio=self._jittered(output.audio),
                video=self._jittered(output.video),
            )
            for output in super().step(session_id, unit)
        ]


class Talkative(ReferencePort):
    """Has features that nobody asked for, with names that begin alike."""

    name = "extra-features"

    def hello(self) -> Hello:
        hello = super().hello()
        own = ("speculative", "speculative2", "x-telemetry", "X-TELEMETRY")
        return attrs.evolve(hello, features=(*hello.features, *own))


class OtherMemory(ReferencePort):
    """Hands out arrays in column order, read-only, as views of larger ones."""

    name = "arrays-in-column-order"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        return [
            attrs.evolve(
                output,
                audio_latents=_view(output.audio_latents),
                video_latents=_view(output.video_latents),
                audio=_view(output.audio),
                video=_view(output.video),
            )
            for output in super().step(session_id, unit)
        ]


def _view(array: Array | None) -> Array | None:
    if array is None or not array.size:
        return array
    larger = np.zeros((*array.shape[:-1], array.shape[-1] + 3), array.dtype, order="F")
    view = larger[..., : array.shape[-1]]
    view[...] = array
    view.flags.writeable = False
    return view


class LazyOpening(ReferencePort):
    """The prefill is run with the first command that needs it."""

    name = "prefills-late"

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        self.opened(name).state = LAZY
        return name

    def opened(self, name: str) -> Any:
        opened = super().opened(name)
        if opened.state is LAZY and self._busy:
            with torch.no_grad():
                opened.state = opened.fresh()
        return opened

    _busy = False

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        with self._needed():
            return super().step(session_id, unit)

    def export_kv(self, session_id: str) -> KvExport:
        with self._needed():
            return super().export_kv(session_id)

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        with self._needed():
            return super().probe(session_id, unit, points)

    def kv_digest(self, session_id: str, up_to_unit: int) -> Mapping[str, str]:
        with self._needed():
            return super().kv_digest(session_id, up_to_unit)

    @contextmanager
    def _needed(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


LAZY: Any = object()
"""Stands for a state that is not made yet."""


class ChunkedPrefill(ReferencePort):
    """The prefill is run three tokens at a time."""

    name = "prefill-in-chunks"

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), exact_split=False)

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        self._fresh(name)
        return name

    def reset(self, session_id: str) -> None:
        super().reset(session_id)
        self._fresh(session_id)

    def _fresh(self, name: str) -> None:
        opened = self.opened(name)
        layout = opened.config.layout
        picture = layout.identity.image_slots(layout.preset)
        # The picture goes in one piece, whatever the plan (WS-PREFILL-5).
        parts = threes(layout.prompt_tokens), [picture], threes(layout.identity.voice_ticks)
        opened.chunks = [tokens for part in parts for tokens in part if tokens]
        with torch.no_grad():
            opened.state = opened.fresh()


def threes(total: int) -> list[int]:
    """``total`` in threes, and what is left."""
    return [3] * (total // 3) + [total % 3]


def variant(cls: Callable[[], ReferencePort]) -> Benign:
    """A variant that is a class: its docstring says what is other about it."""
    doc, name = cls.__doc__, getattr(cls, "name", "")
    assert doc is not None
    return Benign(name=name, description=" ".join(doc.split()), factory=cls)


VARIANTS = tuple(
    map(
        variant,
        (
            OneUnitLate,
            TwoUnitsLate,
            AtTheEnd,
            Batched,
            WarmsUp,
            WaitsForAll,
            Jittered,
            Talkative,
            OtherMemory,
            LazyOpening,
            ChunkedPrefill,
        ),
    )
)
