"""The teacher-forced pass: one run of the Transformer over a whole interaction.

Token by token it gives what the streaming session gives on the same history (WS-TRAINING-5).
Source: PAPER Eq. (1), Eq. (3); design §11.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reference import kv_cache, masks, offline, prefill, rotary
from reference.model import Embeddings, WanStreamer
from reference.token_table import TokenTable
from reference.training.layout import (
    History,
    NoisyCopy,
    interleave,
    noisy_tokens,
    text_predictors,
)
from reference.training.record import Record
from reference.units import Latents
from spec.session import SessionConfig


@attrs.frozen(kw_only=True, eq=False)
class Forced:
    """Results of one pass over K units."""

    table: TokenTable
    hidden: Embeddings
    logits: Float[Tensor, "slots vocab"]
    """What each agent text slot is predicted from, unit after unit."""
    velocities: Sequence[Sequence[Latents]]
    """f_θ(z_τ^a, z_τ^v, c_k, τ) of each unit's noisy copies."""


def history_of(model: WanStreamer, record: Record, z: Sequence[Latents]) -> History:
    """The record as a history with responses ``z``; the user encoders run over the whole clip."""
    return History(
        prefill=prefill.embed(model, record.config, record.identity),
        observations=offline.observe(model, record.config, record.users),
        user_tokens=[len(user.text) for user in record.users],
        text=record.text,
        z=z,
    )


def forced_pass(
    model: WanStreamer,
    config: SessionConfig,
    history: History,
    copies: Sequence[Sequence[NoisyCopy]],
    *,
    conditional: bool = True,
    checkpointing: bool = False,
) -> Forced:
    """One pass over [P, (O_k, L_k, Z_k clean, Z_k noisy)_k] (WS-TRAINING-2, WS-TRAINING-5).

    Args:
        history: what the context is made of.
        copies: noisy copies of each unit's response.
        conditional: see `interleave`.
        checkpointing: keep only the layers' inputs and compute the rest again (WS-TRAINING-6).
    """
    x, table = interleave(model, config, history, copies, conditional=conditional)
    run = run_checkpointed if checkpointing else offline.run
    hidden = run(model, config, x, table)
    velocities = [
        [model.velocity(hidden[noisy_tokens(table, k, i)], copy.z) for i, copy in enumerate(noisy)]
        for k, noisy in enumerate(copies)
    ]
    return Forced(
        table=table,
        hidden=hidden,
        logits=model.logits(hidden[text_predictors(table)]),
        velocities=velocities,
    )


def run_checkpointed(
    model: WanStreamer, config: SessionConfig, x: Embeddings, table: TokenTable
) -> Embeddings:
    """`offline.run`, each layer computed a second time for its gradient (WS-TRAINING-6).

    The pass has no cache, so there is no index that could have moved on by the second time.
    """
    backbone = model.backbone
    nothing = kv_cache.empty(backbone.cfg, model.dtype)
    mask = masks.dense_mask(table, table, config.lag)
    theta = rotary.angles(table, backbone.cfg)
    for layer, k, v in zip(backbone.layers, nothing.k, nothing.v, strict=True):
        x, _, _ = checkpoint(layer, x, theta, mask, k, v, use_reentrant=False)
    hidden: Tensor = backbone.norm(x)
    return hidden
