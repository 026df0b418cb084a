"""Two long sessions with stored expectations, each over half a minute (WS-CONFORMANCE-9).

One has everything, and more units than a byte counts; the other, in which an agent hears and
writes, is quickly run. The truth is the
reference's in float64, a sample of the elements of every output; beside it stand the errors of the
naive reference in float32, bfloat16 and float16, unit by unit. They are written by
``scripts/long_session.py`` and never made when a port is judged: three runs of the reference would
take longer than all other checks of a session.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import attrs
import numpy as np
from safetensors import safe_open

from conformance import arrays
from conformance.inputs import BARE, Content, script_of
from conformance.protocol import Array, DType, OpenRequest
from conformance.recording import TENSORS, Recording, Script
from conformance.wire import digest
from spec.layout import Modalities

FILE: Final = Path(__file__).with_name("data") / "long_session.safetensors"
SAMPLED: Final = 64
"""Elements of a tensor of one unit that are kept at most."""

QUIET: Final = range(60, 104)
"""Seven seconds in which nobody says or shows anything, and no text comes."""

NAIVE: Final[tuple[DType, ...]] = ("float32", "bfloat16", "float16")

Name = Literal["whole", "heard"]
UNITS: Final[Mapping[Name, int]] = {"whole": 264, "heard": 208}
HAS: Final[Mapping[Name, Modalities]] = {
    "whole": Modalities(),
    "heard": Modalities(user_video=False, agent_audio=False, agent_video=False),
}
GIVEN: Final[Mapping[Name, tuple[str, ...]]] = {"whole": TENSORS, "heard": ("logits",)}
"""The tensors that come out of each session and are kept."""


@functools.cache
def script(name: Name, dtype: DType, units: int | None = None) -> Script:
    """A session; the first units of it are the same session, shorter."""
    request = OpenRequest(
        preset=BARE,
        schedule="overlapped",
        dtype=dtype,
        prompt=(76, 111, 110),
        modalities=HAS[name],
    )
    return script_of(request, [_content(k) for k in range(units or UNITS[name])])


def _content(k: int) -> Content:
    words = (65 + 7 * k % 26, 97 + 11 * k % 26)
    if k in QUIET:
        return Content(seed=11, audio="zero", video="zero", agent_text=words)
    return Content(
        seed=11, text=tuple(97 + (3 * k + i) % 26 for i in range(k % 3)), agent_text=words
    )


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """What the file holds of one session.

    ``truth[tensor]`` float64 [units, samples]; ``errors[dtype][tensor]`` float64 [units, 2]: root
    mean square and largest error of the naive reference; ``scale[tensor]`` [units]: the largest
    magnitude of the truth; ``inputs``: digest of the script it belongs to.
    """

    truth: Mapping[str, Array]
    scale: Mapping[str, Array]
    errors: Mapping[str, Mapping[str, Array]]
    inputs: str


@functools.cache
def stored(name: Name) -> Stored:
    """What the file holds of session ``name``, read once."""
    with safe_open(FILE, framework="numpy") as file:
        return Stored(
            truth={t: file.get_tensor(f"{name}.truth.{t}") for t in GIVEN[name]},
            scale={t: file.get_tensor(f"{name}.scale.{t}") for t in GIVEN[name]},
            errors={
                d: {t: file.get_tensor(f"{name}.errors.{d}.{t}") for t in GIVEN[name]}
                for d in NAIVE
            },
            inputs=file.metadata()[name],
        )


def inputs_digest(name: Name) -> str:
    """Of the script as it is made now; another one than the stored means a stale file."""
    return digest(script(name, "float64"))


def sampled(recording: Recording, tensor: str) -> Array:
    """[units, samples] float64: elements picked by the integer recipe, others in each unit."""
    rows = []
    for k, unit in enumerate(recording):
        flat = getattr(unit, tensor).reshape(-1)
        if flat.size <= SAMPLED:
            rows.append(flat)
            continue
        picked = arrays.words(f"conformance/samples/{tensor}/{k}", 0, SAMPLED)
        rows.append(flat[(picked % np.uint64(flat.size)).astype(np.int64)])
    return np.stack(rows).astype(np.float64)
