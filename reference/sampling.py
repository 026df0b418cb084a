"""Sampled decoding: a token from logits and a number in [0, 1), and nothing drawn in here.

Source: PAPER §2.1 (next-token prediction); the rule is CHOICE (WS-TEXT-1 to 3). All in float64,
whatever the dtype of the session.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spec.errors import TensorError
from spec.session import SessionConfig
from spec.text import Sampling


def candidates(
    logits: Float[Tensor, " vocab"], sampling: Sampling
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Ids that may be drawn, the likeliest first and the lowest id first among equals, and their
    probabilities (WS-TEXT-2).

    softmax(logits / temperature), cut to ``top_k`` tokens, then to the fewest that reach ``top_p``.
    The temperature is above 0.
    """
    wide = logits.to(torch.float64)
    # A stable sort leaves equal logits in the order of their ids.
    ranked, ids = torch.sort(wide, descending=True, stable=True)
    if sampling.top_k:
        ranked, ids = ranked[: sampling.top_k], ids[: sampling.top_k]
    p = torch.softmax((ranked - ranked[0]) / sampling.temperature, dim=0)
    kept = len(p)
    if sampling.top_p < 1:
        # A token stays while those before it do not reach top_p; the first one always stays.
        kept = int((torch.cumsum(p, dim=0) - p < sampling.top_p).sum())
    return ids[:kept], p[:kept] / p[:kept].sum()


def draw(logits: Float[Tensor, " vocab"], sampling: Sampling, u: float) -> int:
    """The first candidate whose cumulative probability exceeds u (WS-TEXT-3)."""
    ids, p = candidates(logits, sampling)
    cumulative = torch.cumsum(p, dim=0)
    # Rounding may leave the sum a little off 1; u below 1 then still finds a token.
    passed = int((cumulative <= u * cumulative[-1]).sum())
    return int(ids[passed])


def check_uniform(
    config: SessionConfig,
    unit: int,
    uniform: Float[Tensor, "..."] | None,
    agent_text: Sequence[int] | None,
) -> None:
    """Raise `TensorError` unless there is a number in [0, 1) for each text slot to be drawn
    (WS-TEXT-8)."""
    slots, what = config.layout.agent_text_slots, f"uniform numbers of unit {unit}"
    if uniform is None:
        if config.sampling.temperature > 0 and slots and agent_text is None:
            raise TensorError(what, None, f"shape ({slots},)")
        return
    if tuple(uniform.shape) != (slots,):
        raise TensorError(what, tuple(uniform.shape), f"shape ({slots},)")
    outside = uniform[~((uniform >= 0) & (uniform < 1))]
    if len(outside):
        raise TensorError(what, float(outside[0]), "numbers from 0 up, below 1")
