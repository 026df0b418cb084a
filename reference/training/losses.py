"""The losses of Eq. (1) and Eq. (3) as sums over what is supervised.

Sums and counts are kept apart until a whole batch is known: the mean is taken once over all
supervised elements of the batch, however they are spread over its records (WS-TRAINING-9).
Source: PAPER §2.1, Eq. (1), Eq. (3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from reference.training.record import Record
from reference.units import Latents

TERMS = ("text", "audio", "video")
"""The three terms of the likelihood."""

Terms = Mapping[str, Tensor]
"""A sum for each term."""


def cross_entropy(
    logits: Float[Tensor, "slots vocab"],
    target: Int[Tensor, " slots"],
    supervised: Bool[Tensor, " slots"],
) -> Float[Tensor, ""]:
    """Σ -log softmax(logits)[target] over the supervised slots (WS-TRAINING-4, Eq. (1))."""
    return F.cross_entropy(logits[supervised], target[supervised], reduction="sum")


def squared_error(velocity: Float[Tensor, "*s"], target: Float[Tensor, "*s"]) -> Float[Tensor, ""]:
    """Σ (f_θ - target)² over elements (WS-TRAINING-8, Eq. (3))."""
    return (velocity - target).square().sum()


def sums(
    record: Record,
    logits: Float[Tensor, "slots vocab"],
    velocities: Sequence[Sequence[Latents]],
    targets: Sequence[Sequence[Latents]],
) -> Terms:
    """All three terms of ``record`` (WS-TRAINING-8).

    Args:
        logits: of every agent text slot, unit after unit.
        velocities: of each unit's noisy copies.
        targets: what each of them should be.
    """
    target = torch.tensor([i for unit in record.text for i in unit], dtype=torch.int64)
    supervised = torch.tensor([m for unit in record.text_mask for m in unit], dtype=torch.bool)
    text = cross_entropy(logits, target, supervised)
    return {"text": text, **response_sums(record, velocities, targets)}


def response_sums(
    record: Record,
    values: Sequence[Sequence[Latents]],
    targets: Sequence[Sequence[Latents]],
) -> Terms:
    """Squared error of audio and of video over the units that ``record`` supervises
    (WS-TRAINING-8).

    A modality that the agent does not have adds nothing: its sum is 0 and so is its count.
    """
    pairs = [
        pair
        for supervised, vs, ts in zip(record.response_mask, values, targets, strict=True)
        for pair in zip(vs, ts, strict=True)
        if supervised
    ]
    audio = [
        squared_error(v.audio, t.audio)
        for v, t in pairs
        if v.audio is not None and t.audio is not None
    ]
    video = [
        squared_error(v.video, t.video)
        for v, t in pairs
        if v.video is not None and t.video is not None
    ]
    return {"audio": added(audio), "video": added(video)}


def added(parts: Sequence[Tensor]) -> Float[Tensor, ""]:
    """The sum of ``parts``; 0 of none."""
    return torch.stack(list(parts)).sum() if parts else torch.zeros(())


def counts(record: Record, copies: int) -> Mapping[str, int]:
    """How many elements `sums` adds up for each term, with ``copies`` noisy copies a unit."""
    preset, has = record.config.preset, record.config.modalities
    units = sum(record.response_mask) * copies
    audio = 4 * preset.audio_codec.latent_channels if has.agent_audio else 0
    video = preset.video_codec.latent_channels * preset.latent_height * preset.latent_width
    return {
        "text": sum(sum(unit) for unit in record.text_mask),
        "audio": units * audio,
        "video": units * video if has.agent_video else 0,
    }


def total_counts(records: Sequence[Record], copies: int) -> Mapping[str, int]:
    """The counts of a whole batch (WS-TRAINING-9)."""
    each = [counts(record, copies) for record in records]
    return {term: sum(count[term] for count in each) for term in TERMS}


def mean_loss(terms: Terms, totals: Mapping[str, int]) -> Float[Tensor, ""]:
    """L = Σ_m sum_m / N_m with N_m of the whole batch: one record's share of the loss, to be
    added up over its records (WS-TRAINING-9)."""
    return added([value / totals[term] for term, value in terms.items() if totals[term]])
