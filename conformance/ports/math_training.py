"""The formulas of training, answered by `reference.training` (WS-CONFORMANCE-16).

Only shapes are adapted here; every number is made in `reference`.
"""

from __future__ import annotations

from typing import Final

import attrs
import torch
from torch import Tensor

from conformance.ports.math_numbers import Answer, Arguments, Results, Tensors
from reference.prefill import IdentitySignals
from reference.token_table import COLUMNS, TokenTable
from reference.training import distillation, distribution_matching, layout, losses, rollout
from reference.training.layout import NoisyCopy
from reference.training.record import Record
from reference.units import Latents, UserUnit
from spec.layout import Modalities, Row
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import Preset


def row_of(cells: list[int]) -> Row:
    return Row(**dict(zip(COLUMNS, cells, strict=True)))


def unconditional(_: Arguments, t: Tensors) -> Results:
    rows = [layout.without_condition(row_of(cells)) for cells in t["rows"].tolist()]
    return {"pad": TokenTable.of(rows).pad}


def predictors(_: Arguments, t: Tensors) -> Results:
    table = TokenTable.of([row_of(cells) for cells in t["rows"].tolist()])
    return {"index": layout.text_predictors(table)}


def latents(t: Tensors, what: str) -> list[list[Latents]]:
    """One noisy copy of each unit; a video of no channels is none."""
    audio, video = t[f"audio{what}"], t[f"video{what}"]
    frames = list(video) if video[0:1].numel() or not len(video) else [None] * len(video)
    return [[Latents(audio=a, video=v)] for a, v in zip(audio, frames, strict=True)]


def preset_for(t: Tensors) -> Preset:
    """With the sizes of the latents in ``t``; their patches are single pixels."""
    channels, rows, cols = (max(n, 1) for n in t["video"].shape[1:])
    return attrs.evolve(
        TINY,
        frame_height=16 * rows,
        frame_width=16 * cols,
        video_codec=attrs.evolve(TINY.video_codec, latent_channels=channels, patch=1),
        audio_codec=attrs.evolve(TINY.audio_codec, latent_channels=t["audio"].shape[2]),
    )


def records(a: Arguments, t: Tensors) -> list[Record]:
    """The batch; a record's text slots stand in its first unit, where nothing depends on it."""
    sees = Modalities(agent_video=t["video"].shape[1] > 0)
    config = SessionConfig(preset=preset_for(t), schedule="overlapped", modalities=sees)
    slots, units = (list(counts) for counts in zip(*a["records"], strict=True))
    words = (torch.split(x, slots) for x in (t["ids"], t["text_mask"]))
    masks = torch.split(t["response_mask"], units)
    return [
        Record(
            name=f"record {i}",
            task="any",
            config=config,
            identity=IdentitySignals(),
            users=tuple(UserUnit(unit=k) for k in range(len(mask))),
            text=(tuple(ids.tolist()),),
            text_mask=(tuple(map(bool, learned.tolist())),),
            audio=None,
            video=None,
            response_mask=tuple(map(bool, mask.tolist())),
        )
        for i, (ids, learned, mask) in enumerate(zip(*words, masks, strict=True))
    ]


def loss(a: Arguments, t: Tensors) -> Results:
    batch = records(a, t)
    totals = losses.total_counts(batch, 1)
    logits = iter(torch.split(t["logits"], [slots for slots, _ in a["records"]]))
    values, targets = iter(latents(t, "")), iter(latents(t, "_target"))
    parts = [
        losses.sums(
            record,
            next(logits),
            [next(values) for _ in record.response_mask],
            [next(targets) for _ in record.response_mask],
        )
        for record in batch
    ]

    def mean(*terms: str) -> Tensor:
        shares = [losses.mean_loss({m: part[m] for m in terms}, totals) for part in parts]
        return torch.stack(shares).sum().to(a["torch_dtype"])

    return {"loss": mean(*losses.TERMS), **{term: mean(term) for term in losses.TERMS}}


def chord(a: Arguments, t: Tensors) -> Results:
    start, end = (
        NoisyCopy(z=Latents(audio=t[name], video=None), tau=a[at])
        for name, at in (("z", "tau"), ("z_next", "tau_next"))
    )
    velocity = distillation.chord(end, start).audio
    assert velocity is not None
    return {"velocity": velocity}


def clean_estimate(a: Arguments, t: Tensors) -> Results:
    z, velocity = (Latents(audio=t[name], video=None) for name in ("z_tau", "velocity"))
    x = rollout.predict_clean(z, velocity, a["tau"]).audio
    assert x is not None
    return {"x": x}


def matching_gradient(a: Arguments, t: Tensors) -> Results:
    x, z_tau, real, fake = (t[name] for name in ("x", "z_tau", "v_real", "v_fake"))
    return {"gradient": distribution_matching.matching_gradient(x, z_tau, real, fake, a["tau"])}


ANSWERS: Final[dict[str, Answer]] = {
    "training.unconditional": unconditional,
    "training.predictors": predictors,
    "training.loss": loss,
    "training.chord": chord,
    "training.clean_estimate": clean_estimate,
    "training.matching_gradient": matching_gradient,
}
