"""Writes `conformance/data/long_session.safetensors`: the long sessions' truth and naive errors.

Runs the reference over them in float64 and in each narrower dtype, which takes a minute. Run
it only when the reference's numbers are meant to change; a test holds the first units to it.
"""

from __future__ import annotations

import sys

import numpy as np
from safetensors.numpy import save_file

from conformance import long_session
from conformance.guard import Guard
from conformance.protocol import Array
from conformance.recording import Recorder, Recording
from conformance.resolve import resolve
from conformance.runner import ORACLE


def measured(name: long_session.Name) -> dict[str, Array]:
    """The tensors of one session by name."""
    recorder = Recorder(Guard(resolve(ORACLE)), ("session",))
    print(name, "float64", file=sys.stderr)
    truth = recorder.stream(long_session.script(name, "float64"))
    found: dict[str, Array] = {}
    for tensor in long_session.GIVEN[name]:
        found[f"{name}.truth.{tensor}"] = long_session.sampled(truth, tensor)
        scale = np.array([np.abs(getattr(u, tensor)).max() for u in truth])
        found[f"{name}.scale.{tensor}"] = scale
    for dtype in long_session.NAIVE:
        print(name, dtype, file=sys.stderr)
        naive = recorder.stream(long_session.script(name, dtype))
        for tensor in long_session.GIVEN[name]:
            found[f"{name}.errors.{dtype}.{tensor}"] = errors(naive, truth, tensor)
    return found


def errors(naive: Recording, truth: Recording, tensor: str) -> Array:
    """[units, 2]: root mean square and largest error of each unit, all elements counted."""
    rows = []
    for mine, right in zip(naive, truth, strict=True):
        error = np.abs(getattr(mine, tensor).astype(np.float64) - getattr(right, tensor))
        rows.append((float(np.sqrt(np.square(error).mean())), float(error.max())))
    return np.array(rows)


if __name__ == "__main__":
    save_file(
        {key: array for name in long_session.HAS for key, array in measured(name).items()},
        long_session.FILE,
        {name: long_session.inputs_digest(name) for name in long_session.HAS},
    )
