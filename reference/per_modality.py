"""The same arithmetic on audio and on video, wherever both are there.

Source: PAPER Eq. (2) and (3) are written for a modality m ∈ {a, v}; this is the "for each m".
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from reference.units import Latents


def each(f: Callable[..., Tensor], *operands: Latents) -> Latents:
    """``f`` on the operands' audio and on their video; a modality absent in the first is absent."""
    first = operands[0]
    return Latents(
        audio=None if first.audio is None else f(*(o.audio for o in operands)),
        video=None if first.video is None else f(*(o.video for o in operands)),
    )
