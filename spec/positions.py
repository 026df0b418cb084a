"""Positions (t, h, w) of every slot: time-aligned, three-dimensional, without an end.

``t`` counts ticks after the prefill, so tokens of the same 40 ms share ``t`` whatever their
modality (WS-POSITIONS-1). Text and audio have t = h = w (WS-POSITIONS-2); video adds its row to h
and its column to w (WS-POSITIONS-3).
Source: CHOICE, in the manner of M-RoPE; the paper (§2.1) asks only for one causal stream.
"""

from __future__ import annotations

from spec import clock

Position = tuple[int, int, int]


def prefill(index: int) -> Position:
    """Prefill token ``index``: (i, i, i), as in a plain language model (WS-POSITIONS-2)."""
    return index, index, index


def tick(base: int, unit: int, index: int) -> Position:
    """Slot at tick ``index`` of ``unit``: t = h = w = base + 4 k + i (WS-POSITIONS-2)."""
    t = base + clock.TICKS_PER_UNIT * unit + index
    return t, t, t


def video(base: int, unit: int, row: int, col: int) -> Position:
    """Video token (row, col) of ``unit``: (t, t + row, t + col) at t = base + 4 k (WS-POSITIONS-3).

    The token covers all four ticks of the unit; it is placed at the first one.
    """
    t = base + clock.TICKS_PER_UNIT * unit
    return t, t + row, t + col
