"""The shape of every array that crosses the port protocol (WS-CONFORMANCE-6, WS-CONFORMANCE-7)."""

from __future__ import annotations

from conformance.protocol import OpenRequest, Part
from spec import clock
from spec.presets import preset_named
from spec.sizes import Preset

Shape = tuple[int, ...]


def frames(preset: Preset, units: int = 1) -> Shape:
    """RGB video of some units: [4 K, 3, H, W]."""
    return units * clock.FRAMES_PER_UNIT, 3, preset.frame_height, preset.frame_width


def video_latent(preset: Preset) -> Shape:
    """One latent frame: [Cv, h, w]."""
    return preset.video_codec.latent_channels, preset.latent_height, preset.latent_width


def audio_latent(preset: Preset, units: int = 1) -> Shape:
    """Audio latents of some units: [4 K, Ca]."""
    return units * clock.TICKS_PER_UNIT, preset.audio_codec.latent_channels


def output_shapes(request: OpenRequest) -> dict[str, Shape | None]:
    """What a `UnitOutput` of this session holds; None for a modality it does not have."""
    preset, has = preset_named(request.preset), request.modalities
    slots = preset.agent_text_slots if has.agent_text else 0
    return {
        "logits": (slots, preset.tokenizer.vocab_size),
        "audio_latents": audio_latent(preset) if has.agent_audio else None,
        "video_latents": video_latent(preset) if has.agent_video else None,
        "audio": (clock.AGENT_SAMPLES_PER_UNIT,) if has.agent_audio else None,
        "video": frames(preset) if has.agent_video else None,
    }


def codec_shapes(preset: Preset, part: Part, units: int) -> tuple[Shape, Shape]:
    """Input and output shape of ``part`` over ``units`` units (WS-CONFORMANCE-7)."""
    video, audio = frames(preset, units), (units * clock.AGENT_SAMPLES_PER_UNIT,)
    latent_frames, latent_audio = (units, *video_latent(preset)), audio_latent(preset, units)
    heard = preset.encoders.audio_channels
    seen = preset.encoders.video_channels[-1] * preset.video_codec.patch**2
    tokens = preset.patch_rows * preset.patch_cols
    table: dict[Part, tuple[Shape, Shape]] = {
        "video_codec.encode": (video, latent_frames),
        "video_codec.decode": (latent_frames, video),
        "audio_codec.encode": (audio, latent_audio),
        "audio_codec.decode": (latent_audio, audio),
        "audio_encoder": (
            (units * clock.USER_SAMPLES_PER_UNIT,),
            (units * clock.TICKS_PER_UNIT, heard),
        ),
        "video_encoder": (video, (units * tokens, seen)),
    }
    return table[part]
