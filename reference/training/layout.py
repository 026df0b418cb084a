"""Clean and noisy copies of the responses in one sequence.

    [P, O_0, L_0, Z_0 clean, Z_0 noisy ..., O_1, L_1, Z_1 clean, Z_1 noisy ..., ...]

Both copies of a response have the same positions. What a token attends to is decided by the
visibility predicate alone, the one that streaming follows: a noisy copy sees the clean past and
itself, and nothing sees a noisy copy.
Source: PAPER §2.1 (clean and noisy states play different roles); design §11.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from jaxtyping import Int
from torch import Tensor

from reference.model import Embeddings, WanStreamer
from reference.token_table import TokenTable
from reference.units import Latents
from spec.layout import (
    Modality,
    Row,
    Segment,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.session import SessionConfig


@attrs.frozen(kw_only=True, eq=False)
class NoisyCopy:
    """A response of one unit at flow time τ: z_τ of Eq. (2), or a state of a solver."""

    z: Latents
    tau: float


@attrs.frozen(kw_only=True, eq=False)
class History:
    """What an interaction consists of, unit by unit: the context c_k of Eq. (3) for every k."""

    prefill: Embeddings
    observations: Sequence[Embeddings]
    user_tokens: Sequence[int]
    """How many user text slots hold a token; the rest is padding."""
    text: Sequence[tuple[int, ...]]
    z: Sequence[Latents]
    """The clean responses."""


def interleave(
    model: WanStreamer,
    config: SessionConfig,
    history: History,
    copies: Sequence[Sequence[NoisyCopy]],
    *,
    conditional: bool = True,
) -> tuple[Embeddings, TokenTable]:
    """The sequence of one pass: embeddings and token table (WS-TRAINING-2).

    Args:
        history: the K units.
        copies: noisy copies of each unit's response; copy i stands as solver step i, so the copies
            of a unit do not see each other.
        conditional: False hides observations and language from all (WS-TRAINING-7).
    """
    layout = config.layout
    x, rows = [history.prefill], [*prefill_rows(layout)]
    for k, noisy in enumerate(copies):
        context = observation_rows(layout, k, history.user_tokens[k]) + language_rows(layout, k)
        rows += context if conditional else map(without_condition, context)
        x += [history.observations[k], model.embed_state()]
        if layout.agent_text_slots:
            x.append(model.embed_agent_text(history.text[k]))
        clean = NoisyCopy(z=history.z[k], tau=0.0)
        responses = [(clean, response_rows(layout, k))] + [
            (copy, response_rows(layout, k, noisy=True, step=i, tau=copy.tau))
            for i, copy in enumerate(noisy)
        ]
        for copy, own in responses:
            x.append(embed(model, copy, own))
            rows += own
    return torch.cat(x), TokenTable.of(rows)


def without_condition(row: Row) -> Row:
    """``row``, hidden from all if it is observation or language (WS-TRAINING-7)."""
    return attrs.evolve(row, pad=1) if row.segment in (Segment.O, Segment.L) else row


def embed(model: WanStreamer, copy: NoisyCopy, rows: Sequence[Row]) -> Embeddings:
    """A response at its flow time, clean or noisy (WS-MODEL-3)."""
    return model.embed_response(copy.z, TokenTable.of(rows).tau)


def text_predictors(table: TokenTable) -> Int[Tensor, " slots"]:
    """Index of the token that predicts each agent text slot, in order (WS-TRAINING-4).

    It is the language token just before the slot: the state slot, the text slot before, or without
    state slots the last one of the prompt or of the unit before (WS-LAYOUT-4).
    """
    prompt = (table.segment == Segment.P) & (table.modality == Modality.TEXT)
    spoken = torch.nonzero(prompt | (table.segment == Segment.L)).squeeze(-1)
    row = table[spoken]
    slots = (row.segment == Segment.L) & (row.modality == Modality.TEXT)
    return spoken[torch.nonzero(slots).squeeze(-1) - 1]


def noisy_tokens(table: TokenTable, unit: int, copy: int) -> Int[Tensor, " n"]:
    """Indices of one noisy copy, in slot order (WS-TRAINING-2)."""
    mine = (table.unit == unit) & (table.noisy == 1) & (table.step == copy)
    return torch.nonzero(mine).squeeze(-1)
