"""One SHA-256 over everything a session said, sounded and showed.

Source: CHOICE (design §15, ``outputs_sha256``).
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from reference.units import AgentUnit


class OutputDigest:
    """Running digest over the units of a session, before container encoding (WS-STREAMING-12)."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def update(self, agent: AgentUnit) -> None:
        """Add y_k: text ids as int64, then audio, then video in the session's dtype; all
        little-endian and row-major."""
        self._sha.update(np.asarray(agent.text, dtype="<i8").tobytes())
        for tensor in (agent.audio, agent.video):
            if tensor is not None:
                # numpy has no bfloat16; its 16 bits are what is hashed.
                narrow = tensor.dtype == torch.bfloat16
                array = (tensor.view(torch.int16) if narrow else tensor).contiguous().numpy()
                self._sha.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._sha.hexdigest()
