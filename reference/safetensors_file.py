"""Tensors of a public checkpoint in safetensors: one file, or shards under an index.

Source: PAPER §2.3; the layout is that of public model repositories.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spec.errors import WeightsError

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def read_json(path: Path) -> Mapping[str, Any]:
    """The JSON object in ``path``."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"weights {path.parent}", "no such file", path.name) from None
    except ValueError as error:
        raise WeightsError(f"file {path}", str(error), "JSON") from None
    if not isinstance(value, dict):
        raise WeightsError(f"file {path}", type(value).__name__, "a JSON object")
    return value


def read_file(path: Path) -> Mapping[str, Tensor]:
    """The tensors of one file (WS-WEIGHTS-2).

    Raises:
        WeightsError: no such file, or a truncated or damaged one.
    """
    if not path.is_file():
        raise WeightsError(f"weights {path.parent}", "no such file", path.name)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"file {path}", str(error), "a whole safetensors file") from None


def read_folder(folder: Path) -> Mapping[str, Tensor]:
    """The tensors of a model folder, sharded or not (WS-WEIGHTS-2).

    Raises:
        WeightsError: a missing, truncated or damaged file; an index that its shards contradict.
    """
    if not (folder / INDEX).is_file():
        return read_file(folder / SINGLE)
    shard_of = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shard_of, dict) or not all(isinstance(s, str) for s in shard_of.values()):
        raise WeightsError(f"file {folder / INDEX}", "no weight_map", "tensor names to file names")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(shard_of.values())):
        if Path(shard).name != shard:
            raise WeightsError(f"file {folder / INDEX}", shard, "names of files beside it")
        held = read_file(folder / shard)
        listed = {name for name, home in shard_of.items() if home == shard}
        if held.keys() != listed:
            odd = ", ".join(sorted(held.keys() ^ listed))
            raise WeightsError(f"file {folder / shard}", odd, "the tensors its index lists")
        tensors |= held
    return tensors
