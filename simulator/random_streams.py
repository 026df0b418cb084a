"""One stream of random words for each component of a simulation, by counter.

A component asks for "word n of mine", so nothing is shared: a component that is added, or that
draws more often, moves nobody else's numbers. The words are those of the integer recipe, and what
is made of them here is integer arithmetic, the same on every machine.
Source: CHOICE (design §13); the words are WS-RECIPE-1.
"""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from spec.recipe import GOLDEN, stream_id, word

Words = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]

MAX_SPAN: Final = (1 << 47) - 1
"""The largest range of `share`: 39 hours in ns."""

_SHIFTS: Final = (np.uint64(30), np.uint64(27))
_LAST_SHIFT: Final = np.uint64(31)
_FACTORS: Final = tuple(np.uint64(n) for n in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_LOW16: Final = np.uint64(0xFFFF)
_16: Final = np.uint64(16)
_32: Final = np.uint64(32)


@attrs.frozen(kw_only=True)
class RandomStream:
    """The words of one component in one session (WS-SIMULATION-1).

    ``seed``: of the whole run. ``component``: its name, as "solve" or "network/up". ``session``:
    its number. The key is word ``session`` of the stream "simulator/SEED/COMPONENT".
    """

    seed: int
    component: str
    session: int = 0

    key: int = attrs.field(init=False)
    """Key of the stream, a 64-bit word."""

    @key.default
    def _key_of_names(self) -> int:
        return word(stream_id(f"simulator/{self.seed}/{self.component}"), self.session)

    def word(self, counter: int) -> int:
        """Word number ``counter`` (WS-SIMULATION-1)."""
        return word(self.key, counter)

    def below(self, counter: int, span: int) -> int:
        """floor(h · span / 2^32), h the upper half of word ``counter``: an integer in [0, span),
        for spans up to 2^32 without a visible bias (WS-SIMULATION-1)."""
        return (self.word(counter) >> 32) * span >> 32

    def words(self, first: int, count: int) -> Words:
        """Words ``first`` to ``first + count - 1``: uint64 [count] (WS-SIMULATION-1)."""
        return words(np.array(self.key, np.uint64), first, count)


def keys(seed: int, component: str, sessions: int, first: int = 0) -> Words:
    """Keys of one component in sessions ``first``, ...: uint64 [sessions] (WS-SIMULATION-1)."""
    base = stream_id(f"simulator/{seed}/{component}")
    return words(np.array(base, np.uint64), first, sessions)


def words(key: Words, first: int, count: int, stride: int = 1) -> Words:
    """Words ``first``, ``first + stride``, ... of each key: uint64 [*key.shape, count], bit-equal
    to `spec.recipe.word` (WS-SIMULATION-1)."""
    counters = np.arange(first + 1, first + 1 + stride * count, stride, dtype=np.uint64)
    steps = counters * np.uint64(GOLDEN)
    z: Words = key[..., None] + steps
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=True):
        z ^= z >> shift
        z *= factor
    z ^= z >> _LAST_SHIFT
    return z


def share(random: Words, span: int | Words) -> Times:
    """floor(h · span / 2^32), h the upper half of each word: an integer in [0, span), any shape
    (WS-SIMULATION-1). ``span``: 0 to `MAX_SPAN`."""
    return fraction_of(random >> _32, span)


def fraction_of(fraction: Words, span: int | Words) -> Times:
    """floor(fraction · span / 2^32) for 32-bit fractions, without a 128-bit product
    (WS-SIMULATION-1)."""
    wide = np.asarray(span, np.uint64)
    product: Words = fraction * (wide & _LOW16) >> _16
    product += fraction * (wide >> _16)
    product >>= _16
    return product.view(np.int64)
