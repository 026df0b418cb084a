"""Scripts and what a port answers to them: the case model of every session check.

A script is everything that enters a session; a recording is everything that leaves it. A script
that was already run on the same port is not run again: ports that claim to be deterministic are
held to that by `checks.lifecycle`, which bypasses the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from conformance import wire
from conformance.guard import Guard, PortFault
from conformance.protocol import Array, KvExport, OpenRequest, UnitInput, UnitOutput, Unsupported

Form = Literal["stream", "offline"]
Recording = tuple[UnitOutput, ...]

TENSORS = ("logits", "audio_latents", "video_latents", "audio", "video")
"""The arrays of a `UnitOutput`, in the order in which a unit makes them."""


@attrs.frozen(kw_only=True, eq=False)
class Script:
    """One session from beginning to end: how it is opened and what enters in each unit."""

    open: OpenRequest
    units: tuple[UnitInput, ...]


class Recorder:
    """Runs scripts on one port and remembers the recordings."""

    def __init__(self, port: Guard, features: Sequence[str]) -> None:
        self.port = port
        self._features = frozenset(features)
        self._done: dict[tuple[Form, str], Recording] = {}
        self._states: dict[str, KvExport] = {}

    def __call__(self, script: Script, form: Form = "stream") -> Recording:
        """The recording of ``script`` in one of the two forms."""
        key = form, wire.digest(script)
        if key not in self._done:
            self._done[key] = self.anew(script, form)
        return self._done[key]

    def anew(self, script: Script, form: Form = "stream") -> Recording:
        """A recording of ``script`` that is made now."""
        return self.offline(script) if form == "offline" else self.stream(script)

    def exported(self, script: Script) -> KvExport:
        """The state of a session after ``script``, before it is finished; made once.

        Raises:
            Unsupported: the port cannot export.
        """
        if "kv_transfer" not in self._features:
            raise Unsupported("kv_transfer")
        key = wire.digest(script)
        if key not in self._states:
            self._done[("stream", key)], self._states[key] = self.both(script)
        return self._states[key]

    def both(self, script: Script) -> tuple[Recording, KvExport]:
        """A recording, and the state before the session was finished, made now."""
        states: list[KvExport] = []
        recording = self.stream(script, lambda session: states.append(self.port.export_kv(session)))
        return recording, states[0]

    def forget(self) -> None:
        """Ask the port again from now on."""
        self._done.clear()
        self._states.clear()

    def offline(self, script: Script) -> Recording:
        if "offline" not in self._features:
            raise Unsupported("offline")
        return _complete([*map(copied, self.port.offline(script.open, script.units))], script)

    def stream(self, script: Script, before_end: Callable[[str], None] | None = None) -> Recording:
        return _complete(streamed(self.port, script, before_end=before_end), script)


def streamed(
    port: Guard,
    script: Script,
    before_each: Callable[[str, UnitInput], object] | None = None,
    before_end: Callable[[str], None] | None = None,
) -> Recording:
    """All that a session of ``script`` answers, in the order in which it came.

    Args:
        before_each: other commands to the session before each unit.
        before_end: and after the last one.
    """
    session = port.open(script.open)
    outputs: list[UnitOutput] = []
    try:
        for unit in script.units:
            if before_each is not None:
                before_each(session, unit)
            outputs += map(copied, port.step(session, unit))
        if before_end is not None:
            before_end(session)
        outputs += map(copied, port.finish(session))
    finally:
        port.close(session)
    return tuple(outputs)


def copied(output: UnitOutput) -> UnitOutput:
    """Own arrays, so that a port that reuses its buffers cannot change a recording, and plain ids,
    whatever kind of integers they came as."""

    def copy(array: Array | None) -> Array | None:
        return None if array is None else array.copy()

    return attrs.evolve(
        output,
        text=tuple(int(token) for token in output.text),
        logits=output.logits.copy(),
        audio_latents=copy(output.audio_latents),
        video_latents=copy(output.video_latents),
        audio=copy(output.audio),
        video=copy(output.video),
    )


def _complete(outputs: Sequence[UnitOutput], script: Script) -> Recording:
    """One output a unit, in unit order (WS-CONFORMANCE-6)."""
    got, wanted = [o.unit for o in outputs], [u.unit for u in script.units]
    if got != wanted:
        raise PortFault(f"outputs of units {got} for inputs of units {wanted}")
    return tuple(outputs)
