"""Arrays beside messages: safetensors files and references to what is in them (WS-STDIO-5)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from blocks import Array
from session import Refused


def read(folder: Path, reference: dict[str, Any]) -> Array:
    """The array that a reference names, after a look at the digest of its file."""
    tensor = reference["tensor"]
    data = (folder / tensor["path"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != tensor["sha256"]:
        raise Refused(tensor["path"], "other bytes", "what was written")
    return safetensors.numpy.load(data)[tensor["name"]]


def written(folder: Path, path: str, message: dict[str, Any]) -> dict[str, Any]:
    """``message`` with its arrays in a new file and references in their place."""
    arrays: dict[str, Array] = {}
    references: list[dict[str, str]] = []

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: moved(inside) for name, inside in value.items()}
        if isinstance(value, list):
            return [moved(inside) for inside in value]
        if not isinstance(value, np.ndarray):
            return value
        name = f"t{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value)
        references.append({"path": path, "name": name})
        return {"tensor": references[-1]}

    message = moved(message)
    if arrays:
        data = safetensors.numpy.save(arrays)
        (folder / path).write_bytes(data)
        for reference in references:
            reference["sha256"] = hashlib.sha256(data).hexdigest()
    return message
