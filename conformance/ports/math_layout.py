"""A layout from the plain arguments of an op: sessions of any size (WS-CONFORMANCE-16)."""

from __future__ import annotations

import attrs

from conformance.ports.math_numbers import Arguments
from spec.layout import Layout, Modalities
from spec.prefill import Identity
from spec.presets import TINY
from spec.sizes import Preset


def layout_of(a: Arguments) -> Layout:
    preset: Preset = attrs.evolve(
        TINY,
        frame_height=16 * 3 * a["patch_rows"],
        frame_width=16 * 3 * a["patch_cols"],
        **{f"{name}_slots": a[f"{name}_slots"] for name in ("state", "agent_text", "user_text")},
    )
    identity = Identity(image=a["identity_image"], voice_ticks=a["voice_ticks"])
    return Layout(
        preset=preset,
        modalities=Modalities(**a["modalities"]),
        prefill_tokens=a["prompt_tokens"] + identity.slots(preset),
        identity=identity,
    )
