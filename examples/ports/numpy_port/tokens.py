"""Tokens as rows of numbers, and which attends to which (WS-LAYOUT, WS-POSITIONS, WS-VISIBILITY).

A row is (unit, segment, modality, slot, t, h, w). Padding has no rows here: a text slot without a
token is seen by nobody and has no output (WS-LAYOUT-3), so it need not be run. Noisy tokens have
the rows of clean ones and never enter the cache, so no column is needed for them (WS-VISIBILITY-9).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from presets import Preset

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

P, O, L, Z = range(4)  # noqa: E741 - the specification's letters
TEXT, STATE, AUDIO, VIDEO = range(4)
TICKS = 4
UNIT, SEGMENT, MODALITY, SLOT = range(4)
POSITION = slice(4, 7)


def rows(tokens: Iterable[tuple[int, ...]]) -> Rows:
    """An array [n, 7], also of no token at all."""
    return np.array(list(tokens), np.int64).reshape(-1, 7)


def prefill(count: int) -> Rows:
    """Prefill token i is at (i, i, i) (WS-POSITIONS-2)."""
    return rows((-1, P, TEXT, i, i, i, i) for i in range(count))


class Unit:
    """The rows of one unit; ``start`` is its first tick, P + 4 k (WS-POSITIONS-1)."""

    def __init__(self, preset: Preset, k: int, prompt: int) -> None:
        self.k, self.start, self.patches = k, prompt + TICKS * k, preset.patches

    def _ticks(self, segment: int, modality: int, count: int, slot: int, tick: int) -> Rows:
        at = [self.start + tick + i for i in range(count)]
        return rows((self.k, segment, modality, slot + i, t, t, t) for i, t in enumerate(at))

    def _video(self, segment: int, slot: int) -> Rows:
        t, (height, width) = self.start, self.patches
        cells = [(row, col) for row in range(height) for col in range(width)]
        return rows(
            (self.k, segment, VIDEO, slot + i, t, t + row, t + col)
            for i, (row, col) in enumerate(cells)
        )

    def observation(self, video: bool, audio: bool, text: int) -> Rows:
        """O_k: video, audio, then as many text slots as hold a token (WS-LAYOUT-3)."""
        seen = self._video(O, 0) if video else rows(())
        heard = self._ticks(O, AUDIO, TICKS if audio else 0, len(seen), 0)
        read = self._ticks(O, TEXT, text, len(seen) + len(heard), 0)
        return np.concatenate([seen, heard, read])

    def language(self, modality: int, slot: int, count: int) -> Rows:
        """Some slots of L_k; slot i is at tick i."""
        return self._ticks(L, modality, count, slot, slot)

    def response(self, audio: bool, video: bool) -> Rows:
        """Z_k: audio, then video (WS-LAYOUT-6)."""
        said = self._ticks(Z, AUDIO, TICKS if audio else 0, 0, 0)
        shown = self._video(Z, len(said)) if video else rows(())
        return np.concatenate([said, shown])


def visible(queries: Rows, keys: Rows, lag: int) -> Mask:
    """Which query [n] attends to which key [m] (WS-VISIBILITY-3 to 8)."""
    unit, segment, modality, slot = queries[:, :4, None].transpose(1, 0, 2)
    key_unit, key_segment, key_modality, key_slot = keys[:, :4].T[:, None]
    before, same, so_far = key_unit < unit, key_unit == unit, key_slot <= slot
    observed = np.where(modality == TEXT, (key_modality != TEXT) | so_far, key_modality != TEXT)
    inside_l = same & np.where(segment == L, so_far, segment == Z)
    by_key = [
        (segment != P) | so_far,
        before | same & np.where(segment == O, observed, True),
        before | inside_l,
        np.where(segment == Z, before | same, key_unit <= unit - 1 - lag),
    ]
    return np.select([key_segment == s for s in (P, O, L, Z)], by_key)
