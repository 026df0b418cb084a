"""Folders that the public library wrote of random models, and both readings of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import samples
import torch
from public_lm import in_float64, preset_for, random_model
from torch import Tensor

from reference import checkpoint
from reference.model import WanStreamer


@cache
def folder_of(family: str, shards: str = "1GB") -> Path:
    """The public library's own folder of a random model; nobody changes it."""
    folder = Path(mkdtemp(prefix="checkpoint-"))
    random_model(family).save_pretrained(folder, max_shard_size=shards)
    return folder


@cache
def public_of(family: str) -> Any:
    """The public library's model, read back from its folder, all in float64."""
    model = type(random_model(family)).from_pretrained(folder_of(family), dtype=samples.F64)
    return in_float64(model.eval())


@cache
def model_of(family: str) -> WanStreamer:
    """Our model from the same folder; nobody changes it."""
    read = checkpoint.read(folder_of(family))
    return checkpoint.initialise(preset_for(read), read, samples.F64).requires_grad_(False)


def public_logits(family: str, tokens: tuple[int, ...]) -> Tensor:
    logits: Tensor = public_of(family)(torch.tensor([tokens])).logits[0]
    return logits
