"""A public language model's checkpoint, and a model that starts from it.

Source: PAPER §2.3 (the backbone is initialised from a language model); what the rest starts from
is CHOICE.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
import torch
from torch import Tensor

from reference import public_config, recipe, safetensors_file
from reference.model import EMBEDDED_AS, WanStreamer
from spec.errors import WeightsError
from spec.layout import Modality
from spec.sizes import Backbone, Preset

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
NAMED = 5
"""Tensors an error names; of more it gives the count."""


@attrs.frozen(kw_only=True, eq=False)
class Checkpoint:
    """A language model as published: its sizes, and its tensors under their public names.

    ``name`` is what errors call it.
    """

    name: str
    backbone: Backbone
    tensors: Mapping[str, Tensor]


def read(path: Path) -> Checkpoint:
    """Read a folder with ``config.json`` and safetensors, one such file, or a GGUF file
    (WS-WEIGHTS-2, WS-WEIGHTS-3).

    Raises:
        WeightsError: a pickle, another format, a file that is missing, truncated or damaged.
    """
    if path.suffix == ".gguf":
        # Late, because only the extra has what it imports.
        from reference import gguf_file

        sizes, tensors = gguf_file.backbone_of(path), gguf_file.tensors_of(path)
        return Checkpoint(name=path.name, backbone=sizes, tensors=tensors)
    refuse_pickle(path)
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and path.suffix != ".safetensors":
        raise WeightsError(f"weights {path}", path.suffix, "a folder, .safetensors or .gguf")
    config = safetensors_file.read_json(folder / safetensors_file.CONFIG)
    return Checkpoint(
        name=path.name,
        backbone=public_config.backbone_of(config, str(folder / safetensors_file.CONFIG)),
        tensors=(safetensors_file.read_folder if path.is_dir() else safetensors_file.read_file)(
            path
        ),
    )


def refuse_pickle(path: Path) -> None:
    """Raise if ``path`` is a pickle, or a folder that holds nothing else (WS-WEIGHTS-5)."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    pickles = [file.name for file in files if file.suffix in PICKLES]
    if pickles and not any(file.suffix == ".safetensors" for file in files):
        allowed = "safetensors or GGUF, which hold numbers and never run code"
        raise WeightsError(f"weights {path}", f"a pickle, {pickles[0]}", allowed)


def initialise(
    preset: Preset, checkpoint: Checkpoint, dtype: torch.dtype = torch.float32
) -> WanStreamer:
    """A new model of ``preset`` whose language model is ``checkpoint`` (WS-WEIGHTS-1).

    Everything else has its recipe value, but for the segment embeddings of text, which are zero:
    text enters as it enters the language model (WS-WEIGHTS-4).

    Raises:
        WeightsError: sizes or tensors that do not fit; all of them are checked first.
    """
    check_sizes(preset.backbone, checkpoint)
    with torch.device("meta"):
        wanted = {
            public_name(name): tuple(parameter.shape)
            for name, parameter in WanStreamer(preset).named_parameters()
            if is_language_model(name)
        }
    check_tensors(wanted, checkpoint)
    model = WanStreamer(preset, dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_language_model(name):
                parameter.copy_(checkpoint.tensors[public_name(name)])
            else:
                value = recipe.weight(name, tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(value))
        for row, (_, modality) in enumerate(EMBEDDED_AS):
            if modality == Modality.TEXT:
                model.segment_embedding[row] = 0
    return model


def is_language_model(name: str) -> bool:
    """True for our parameters that a public language model has too (WS-WEIGHTS-1)."""
    return name.split(".", maxsplit=1)[0] in ("embed_tokens", "backbone", "lm_head")


def public_name(name: str) -> str:
    """What public checkpoints call our parameter ``name`` (WS-WEIGHTS-2)."""
    if name.startswith("backbone."):
        return "model." + name.removeprefix("backbone.")
    return name if name.startswith("lm_head.") else "model." + name


def check_sizes(wanted: Backbone, checkpoint: Checkpoint) -> None:
    """Raise unless the checkpoint has the preset's backbone; a text-only model has no sections
    (WS-WEIGHTS-5)."""
    for name, value in attrs.asdict(wanted, recurse=False).items():
        came = getattr(checkpoint.backbone, name)
        if name != "mrope_sections" and came != value:
            raise WeightsError(f"backbone.{name} of {checkpoint.name}", came, repr(value))


def check_tensors(wanted: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint) -> None:
    """Raise unless every wanted tensor is there, nothing else is, and all are sound
    (WS-WEIGHTS-5)."""
    came = dict(checkpoint.tensors)
    head, embedding = came.get("lm_head.weight"), came.get("model.embed_tokens.weight")
    if checkpoint.backbone.tied_embeddings and head is not None and embedding is not None:
        # Some files hold a tied head a second time.
        refuse(checkpoint, "untied", [] if torch.equal(head, embedding) else ["lm_head.weight"])
        del came["lm_head.weight"]
    # Frequencies that old checkpoints hold; here they are computed (WS-POSITIONS-5).
    extra = {name for name in came if not name.endswith("rotary_emb.inv_freq")} - wanted.keys()
    refuse(checkpoint, "missing", wanted.keys() - came.keys())
    refuse(checkpoint, "extra", extra)
    shapes = [
        f"{name} {list(came[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if came[name].shape != shape
    ]
    refuse(checkpoint, "wrong shape", shapes)
    types = [f"{name} {came[name].dtype}" for name in wanted if came[name].dtype not in DTYPES]
    refuse(checkpoint, "wrong dtype", types)
    unsound = [name for name in wanted if not bool(torch.isfinite(came[name]).all())]
    refuse(checkpoint, "NaN or Inf", unsound)


def refuse(checkpoint: Checkpoint, fault: str, names: Iterable[str]) -> None:
    """Raise if there are ``names``: the first few of them, and how many more there are."""
    bad = sorted(names)
    if bad:
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        value = f"{fault}: {', '.join(bad[:NAMED])}{more}"
        allowed = "the tensors of the preset's language model, finite floating point, in its shapes"
        raise WeightsError(f"tensors of {checkpoint.name}", value, allowed)
