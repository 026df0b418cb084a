"""A small world for training: seven symbols, each with a letter, a tone and a picture.

Synthetic on purpose: every record is made from its name alone, and what should be learned is known
exactly. Source: CHOICE (WS-TRAINING-10); PAPER §2.2 lists the kinds of data, not the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from spec import clock

SYMBOLS: Final = 7
"""An odd number, so that no pairing of symbols is symmetric."""

FIRST_LETTER: Final = ord("A")

LOWEST_HZ: Final = 220.0
"""Tone of symbol 0; the others follow in steps of half an octave, all below 8 kHz."""

LOUDNESS: Final = 0.5


def letter(symbol: int) -> int:
    """Token id of a symbol: a byte, which every tokenizer of ours has."""
    return FIRST_LETTER + symbol


def tone(symbol: int | None, hz: int) -> Float[Tensor, " samples"]:
    """One unit of sound at ``hz`` samples a second: 0.5 sin²(π x) sin(2 π f t), x in (0, 1) over
    the unit, f = 220 · 2^(symbol / 2) Hz; silence without a symbol. float64.

    A tone begins and ends at zero, so units join without a click.
    """
    count = hz * clock.UNIT_NS // 1_000_000_000
    if symbol is None:
        return torch.zeros(count, dtype=torch.float64)
    n = torch.arange(count, dtype=torch.float64)
    frequency = LOWEST_HZ * 2 ** (symbol / 2)
    envelope = torch.sin(math.pi * (n + 0.5) / count).square()
    return LOUDNESS * envelope * torch.sin(2 * math.pi * frequency * n / hz)


def picture(
    symbol: int | None, frames: Sequence[int], height: int, width: int
) -> Float[Tensor, "frames 3 height width"]:
    """Frames of a symbol: its colour, brightest along a stripe that stands where ``frames`` says.

    Channel c of symbol s is ±0.6 by bit c of s + 1, times 0.5 + 0.5 cos(2 π (w / width - f / 16))
    in column w of frame f. Without a symbol the same stripe stands in grey, fainter. float64.
    Equal ``frames`` make a still image, falling ones a stripe that runs back.
    """
    w = torch.arange(width, dtype=torch.float64) / width
    f = torch.tensor(frames, dtype=torch.float64) / 16
    stripe = 0.5 + 0.5 * torch.cos(2 * math.pi * (w[None, :] - f[:, None]))
    if symbol is None:
        colour = torch.full((3,), 0.2, dtype=torch.float64)
    else:
        bits = [1.0 if (symbol + 1) >> c & 1 else -1.0 for c in range(3)]
        colour = 0.6 * torch.tensor(bits, dtype=torch.float64)
    shaded = colour[None, :, None, None] * stripe[:, None, None, :]
    return shaded.expand(len(frames), 3, height, width).contiguous()
