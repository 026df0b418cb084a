"""The points of a probe in the order in which a step makes them (WS-CONFORMANCE-18)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from conformance.guard import Guard
from conformance.protocol import Array
from conformance.recording import Script
from spec.presets import preset_named

Points = Mapping[str, Array]
STAGES = ("embeddings", "layer", "hidden", "velocity_audio", "velocity_video")


def points_after(port: Guard, script: Script, points: Sequence[str] = ()) -> Points:
    """The points of the last unit of ``script``, in order; the units before it are stepped."""
    session = port.open(script.open)
    try:
        for unit in script.units[:-1]:
            port.step(session, unit)
        found = port.probe(session, script.units[-1], points)
    finally:
        port.close(session)
    return without_padding(script, found)


def without_padding(script: Script, found: Points) -> Points:
    """``found`` of the last unit of ``script``, in order.

    Rows of padding, the last ones of O, are left out: what stands in it is free (WS-LAYOUT-3).
    """
    free = padding_of(script)

    def used(name: str) -> Array:
        array = found[name]
        return array[: len(array) - free] if name.startswith("O.") and array.ndim else array

    return {name: used(name) for name in sorted(found, key=order)}


def padding_of(script: Script) -> int:
    """User text slots of the last unit of ``script`` without a token."""
    slots = preset_named(script.open.preset).user_text_slots
    return (slots - len(script.units[-1].text)) * script.open.modalities.user_text


def order(point: str) -> tuple[int, int, int, int, str]:
    """Sorts by pass (features, O, L.i, Z.step.s, Z.clean), then by stage and layer."""
    features = point in ("audio_features", "video_features")
    match = re.match(r"(O|L|Z\.step|Z\.clean)(?:\.(\d+))?\.([a-z_]+)(?:\.(\d+))?$", point)
    if features or match is None:
        return (0 if features else 9, 0, 0, 0, point)
    segment, index, stage, layer = match.groups()
    place = ("O", "L", "Z.step", "Z.clean").index(segment) + 1
    step = STAGES.index(stage) if stage in STAGES else len(STAGES)
    return (place, int(index or 0), step, int(layer or 0), point)
