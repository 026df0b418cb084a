"""How far apart two runs may be of a port that says it does not repeat itself, and does not
(WS-CONFORMANCE-25).

Each of two equal runs may be off by the class C budget, so two that are further apart than twice
that are not both near the truth, whatever the noise looks like. What is nearer may still be more
than noise: then all runs of the one are on the same side of all runs of the other. A `Spread`
replaces what rounding or noise explains by the bits of the first run; then every relation that is
written for bits holds for numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Final, Generic, Self, TypeVar

import attrs
import numpy as np

from conformance.case import Context
from conformance.inputs import in_dtype
from conformance.oracle import naive_dtype
from conformance.programs import Life
from conformance.protocol import Array, DType, KvEntries, KvExport, UnitOutput
from conformance.recording import TENSORS, Recording, Script
from conformance.relations import stacked
from conformance.tolerance import MANY, budget, same_bits

T = TypeVar("T")

Pick = Callable[[str, Array, Array], Array]
"""Of an array's name and its numbers in two runs makes those that are to be compared."""

BOTH: Final = 2.0
"""Two runs may each be off by the largest error of class C, to either side."""


class Spread(ABC, Generic[T]):
    """What rounding explains between two runs of one kind of answer (WS-CONFORMANCE-25)."""

    @abstractmethod
    def near(self, a: T, b: T) -> T:
        """``b``, with the bits of ``a`` wherever rounding explains what is between them."""

    def flipped(self, a: T, b: T) -> str | None:  # noqa: ARG002 - most answers have no words
        """A word that was chosen otherwise in ``b`` because of a rounding error before it, or
        None."""
        return None


def nearer(a: Array, b: Array, allowed: float | Array) -> Array:
    """``b``, with the elements of ``a`` that are at most ``allowed`` away; ``b`` itself where
    shape or dtype is another."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return b
    return np.where(np.abs(a.astype(np.float64) - b.astype(np.float64)) <= allowed, a, b)


class Mergeable(Spread[T]):
    """Answers whose arrays can be followed over many runs."""

    @abstractmethod
    def merged(self, a: T, b: T, pick: Pick) -> T:
        """``b``, with what ``pick`` makes of each array of both; all of the same shapes."""


class Sides(Generic[T]):
    """Which elements were, in all runs so far, on one side in the one and on the other in the
    other.

    Noise that does not know which of the two is asked leaves an element so in 1 of C(2n, n) / 2
    sets of n runs of each in random order, whatever its distribution.
    """

    def __init__(self, spread: Mergeable[T], a: T, b: T) -> None:
        self._spread = spread
        self._first = a, b
        self._range: dict[str, tuple[Array, Array, Array, Array]] = {}
        self.more(a, b)

    def more(self, a: T, b: T) -> Self:
        """With another run of each."""

        def widen(name: str, x: Array, y: Array) -> Array:
            low_x, high_x, low_y, high_y = self._range.get(name, (x, x, y, y))
            self._range[name] = (
                np.minimum(low_x, x),
                np.maximum(high_x, x),
                np.minimum(low_y, y),
                np.maximum(high_y, y),
            )
            return y

        self._spread.merged(a, b, widen)
        return self

    def apart(self) -> tuple[T, T]:
        """The first two runs, with the bits of the one in both where runs have overlapped."""

        def pick(name: str, x: Array, y: Array) -> Array:
            low_x, high_x, low_y, high_y = self._range[name]
            return np.where((low_x > high_y) | (low_y > high_x), y, x)

        a, b = self._first
        return a, self._spread.merged(a, b, pick)


@attrs.frozen(kw_only=True, eq=False)
class PartSpread(Mergeable[Array]):
    """Runs of one part of the model.

    Args:
        truth: the oracle's answer in a dtype to what the first of two runs is asked.
        dtype: of the port.
    """

    truth: Callable[[DType], Array]
    dtype: DType

    def merged(self, a: Array, b: Array, pick: Pick) -> Array:
        return pick("", a, b)

    def near(self, a: Array, b: Array) -> Array:
        naive = self.truth(naive_dtype(self.dtype))
        allowed = BOTH * budget(self.truth("float64"), [naive], self.dtype).max
        return nearer(a, b, allowed)


def limits(context: Context, script: Script) -> Mapping[str, float]:
    """How far two runs of ``script`` may be apart, by tensor; what the session has not is left
    out."""
    dtype = script.open.dtype
    truth = context.oracle.truth(script, "stream", dtype)
    found: dict[str, float] = {}
    for tensor in TENSORS:
        whole = stacked(truth.outputs, tensor)
        if whole is not None:
            naive = [n for n in (stacked(r, tensor) for r in truth.naive) if n is not None]
            found[tensor] = BOTH * budget(whole, naive, dtype).max
    return found


def _merged_output(a: UnitOutput, b: UnitOutput, pick: Pick) -> UnitOutput:
    def picked(x: Array | None, y: Array | None, tensor: str) -> Array | None:
        return y if x is None or y is None else pick(tensor, x, y)

    return attrs.evolve(
        b,
        logits=pick("logits", a.logits, b.logits),
        audio_latents=picked(a.audio_latents, b.audio_latents, "audio_latents"),
        video_latents=picked(a.video_latents, b.video_latents, "video_latents"),
        audio=picked(a.audio, b.audio, "audio"),
        video=picked(a.video, b.video, "video"),
    )


def _near_output(a: UnitOutput, b: UnitOutput, allowed: Mapping[str, float]) -> UnitOutput:
    return _merged_output(a, b, lambda tensor, x, y: nearer(x, y, allowed[tensor]))


@attrs.frozen(kw_only=True, eq=False)
class SessionSpread(Mergeable[Recording]):
    """Recordings of ``script``, alone or several after another, and of one with other values."""

    context: Context
    script: Script

    def merged(self, a: Recording, b: Recording, pick: Pick) -> Recording:
        def of_unit(k: int) -> Pick:
            return lambda tensor, x, y: pick(f"{k} {tensor}", x, y)

        pairs = enumerate(zip(a, b, strict=True))
        return tuple(_merged_output(x, y, of_unit(k)) for k, (x, y) in pairs)

    def near(self, a: Recording, b: Recording) -> Recording:
        allowed = limits(self.context, self.script)
        return (*(_near_output(x, y, allowed) for x, y in zip(a, b, strict=False)), *b[len(a) :])

    def flipped(self, a: Recording, b: Recording) -> str | None:
        allowed = limits(self.context, self.script)
        for x, y in zip(a, b, strict=False):
            parted = [i for i, (p, q) in enumerate(zip(x.text, y.text, strict=False)) if p != q]
            if parted:
                i = parted[0]
                close = nearer(x.logits[: i + 1], y.logits[: i + 1], allowed["logits"])
                if same_bits(x.logits[: i + 1], close) and self._even(x, y, i, allowed["logits"]):
                    return f"unit {x.unit}, slot {i}: the words {x.text[i]} and {y.text[i]}"
                return None
        return None

    def _even(self, x: UnitOutput, y: UnitOutput, slot: int, allowed: float) -> bool:
        """Could rounding have chosen either word? A number that was drawn may stand anywhere."""
        if self.script.open.sampling is not None:
            return True
        row = x.logits[slot].astype(np.float64)
        return abs(float(row[x.text[slot]] - row[y.text[slot]])) <= BOTH * allowed


@attrs.frozen(kw_only=True, eq=False)
class LifeSpread(Spread[list[Life]]):
    """Plays of programs with equal commands; only the lives of ``session`` are compared."""

    context: Context
    session: str = "a"

    def near(self, a: list[Life], b: list[Life]) -> list[Life]:
        return [self._near(x, y) for x, y in zip(a, b, strict=True)]

    def _near(self, x: Life, y: Life) -> Life:
        if x.session != self.session or not x.outputs:
            return y
        allowed = limits(self.context, x.script)
        outputs = {
            k: _near_output(x.outputs[k], y.outputs[k], allowed) if k in x.outputs else y.outputs[k]
            for k in y.outputs
        }
        return attrs.evolve(y, outputs=outputs)


@attrs.frozen(kw_only=True, eq=False)
class CacheSpread(Spread[KvExport]):
    """Exports after ``script``; a port's own arrays are not compared, since nobody knows their
    truth."""

    context: Context
    script: Script

    def near(self, a: KvExport, b: KvExport) -> KvExport:
        roles = {
            role: self._near(role, a.roles[role], entries) if role in a.roles else entries
            for role, entries in b.roles.items()
        }
        return KvExport(unit=b.unit, roles=roles, extra=a.extra)

    def _near(self, role: str, x: KvEntries, y: KvEntries) -> KvEntries:
        keys, values = (
            nearer(getattr(x, name), getattr(y, name), self._limit(role, name))
            for name in ("keys", "values")
        )
        return KvEntries(rows=y.rows, keys=keys, values=values)

    def _limit(self, role: str, name: str) -> float:
        """Of the layer with the widest budget."""
        dtype = self.script.open.dtype
        truth, naive = (
            getattr(self.context.oracle.record.exported(in_dtype(self.script, d)).roles[role], name)
            for d in ("float64", naive_dtype(dtype))
        )
        layers = zip(truth, naive, strict=True)
        return max(BOTH * budget(t, [n], dtype).wider(MANY).max for t, n in layers)
