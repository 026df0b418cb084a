"""Ports that say they do not repeat themselves, and do not, and are wrong beside that.

Their noise must not hide what is wrong, and is too much itself in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from conformance.mutants.benign_manners import AnyOrder, UnsteadyCodecs
from conformance.mutants.patching import by_class
from conformance.protocol import Array, CodecRequest, UnitInput, UnitOutput


class LooksAhead(UnsteadyCodecs):
    """Does not repeat itself; a thousandth of the next sample is in each, across units too."""

    name = "unsteady-looks-ahead"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        if request.part != "audio_codec.encode":
            return super().codec(request, data)
        ahead = data.copy()
        ahead[:-1] += data.dtype.type(1e-3) * data[1:]
        return super().codec(request, ahead)


class Remembers(UnsteadyCodecs):
    """Does not repeat itself; a thousandth of the last picture shows in the first of the next
    run."""

    name = "unsteady-remembers"

    def __init__(self) -> None:
        super().__init__()
        self._last: Array | None = None

    def codec(self, request: CodecRequest, data: Array) -> Array:
        y = super().codec(request, data)
        if request.part != "video_codec.decode":
            return y
        last, self._last = self._last, y[-1].copy()
        if last is not None and last.shape == y[0].shape and last.dtype == y.dtype:
            y[0] += y.dtype.type(1e-3) * last
        return y


class Gross(UnsteadyCodecs):
    """Does not repeat itself; now and then by a thousandth, which no rounding explains."""

    name = "unsteady-beyond-rounding"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        y = super().codec(request, data)
        far = y + y.dtype.type(1e-3)
        return np.where(self._draw.random(y.shape) < 0.001, far, y)


class Whispers(AnyOrder):
    """Does not repeat itself; with two sessions open, a thousandth of one's voice is in the
    other's."""

    name = "unsteady-sessions-whisper"

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, Array] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        (output,) = super().step(session_id, unit)
        if output.audio is None:
            return [output]
        other = next((s for s in self.sessions if s != session_id and s in self._said), None)
        self._said[session_id] = output.audio
        if other is None or self._said[other].dtype != output.audio.dtype:
            return [output]
        heard = output.audio + output.audio.dtype.type(1e-3) * self._said[other]
        return [attrs.evolve(output, audio=heard)]


MUTANTS = (
    by_class("WS-CODEC-12", LooksAhead),
    by_class("WS-CODEC-4", Remembers),
    by_class("WS-CONFORMANCE-25", Gross),
    by_class("WS-SESSION-3", Whispers),
)
