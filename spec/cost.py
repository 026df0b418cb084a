"""What a preset costs in numbers that do not change with time: parameters, KV and link bytes.

Pure closed forms over the preset. Source: DERIVED from the clauses on model, codecs and layout;
the tokens of a unit are those of WS-LAYOUT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spec import clock, cost_layers
from spec.exchange_terms import ROW_COLUMNS
from spec.layout import Layout
from spec.session import SessionConfig
from spec.sizes import Backbone, Preset

SEGMENT_EMBEDDINGS: Final = 10
"""Kinds of token with a row of a segment embedding (WS-MODEL-2, WS-PREFILL-4)."""

ROW_BYTES: Final = 8 * len(ROW_COLUMNS)
"""A token's row in a slice payload: int64 columns (WS-EXCHANGE-4)."""

UNITS_PER_MINUTE: Final = 60_000_000_000 // clock.UNIT_NS

Linear = tuple[int, int]
"""(inputs, outputs) of a linear map with a bias."""


def linears(preset: Preset) -> Mapping[str, Linear]:
    """The ways in and out of the Transformer, by name (WS-MODEL-1)."""
    d, patch = preset.backbone.d_model, preset.video_codec.patch**2
    audio, video = preset.audio_codec.latent_channels, preset.video_codec.latent_channels * patch
    return {
        "user_video": (preset.encoders.video_channels[-1] * patch, d),
        "user_audio": (preset.encoders.audio_channels, d),
        "latent_audio": (audio, d),
        "latent_video": (video, d),
        "tau_in": (preset.tau_dim, d),
        "tau_out": (d, d),
        "velocity_audio": (d, audio),
        "velocity_video": (d, video),
    }


def layer_matrices(backbone: Backbone) -> tuple[tuple[int, int], ...]:
    """(inputs, outputs) of each matrix of a layer: q, k, v, o, gate, up, down (WS-BACKBONE-1)."""
    d, ff = backbone.d_model, backbone.d_ff
    q, kv = backbone.n_heads * backbone.head_dim, backbone.n_kv_heads * backbone.head_dim
    return (d, q), (d, kv), (d, kv), (q, d), (d, ff), (d, ff), (ff, d)


def backbone_parameters(backbone: Backbone) -> int:
    """All layers and the final norm (WS-COST-1)."""
    layer = sum(rows * cols for rows, cols in layer_matrices(backbone)) + 2 * backbone.d_model
    if backbone.qkv_bias:
        layer += (backbone.n_heads + 2 * backbone.n_kv_heads) * backbone.head_dim
    if backbone.qk_norm:
        layer += 2 * backbone.head_dim
    return backbone.n_layers * layer + backbone.d_model


def parameters(preset: Preset) -> Mapping[str, int]:
    """Parameters of each component; a tied language head has none of its own (WS-COST-1)."""
    d, vocab = preset.backbone.d_model, preset.tokenizer.vocab_size
    video, audio = preset.video_codec, preset.audio_codec
    video_codec = (
        cost_layers.video_codec_encoder(preset).parameters
        + cost_layers.video_codec_decoder(preset).parameters
        + 2 * video.latent_channels
    )
    audio_codec = (
        cost_layers.audio_codec_encoder(audio).parameters
        + cost_layers.audio_codec_decoder(audio).parameters
        + 2 * audio.latent_channels
    )
    return {
        "video_encoder": cost_layers.video_encoder(preset).parameters,
        "audio_encoder": cost_layers.audio_encoder(preset).parameters,
        "video_codec": video_codec,
        "audio_codec": audio_codec,
        "embeddings": (vocab + SEGMENT_EMBEDDINGS + preset.state_slots) * d,
        "projections": sum((inputs + 1) * outputs for inputs, outputs in linears(preset).values()),
        "backbone": backbone_parameters(preset.backbone),
        "lm_head": 0 if preset.backbone.tied_embeddings else d * vocab,
    }


def weight_bytes(preset: Preset, element: int) -> int:
    """Memory of all parameters, ``element`` bytes each (WS-COST-1)."""
    return sum(parameters(preset).values()) * element


def unit_tokens(layout: Layout) -> int:
    """Tokens of a unit: O, L and Z (WS-COST-5)."""
    return layout.observation_slots + layout.language_slots + layout.response_slots


def kv_bytes_per_token(backbone: Backbone, element: int) -> int:
    """Keys and values of one token in every layer (WS-COST-5)."""
    return 2 * backbone.n_layers * backbone.n_kv_heads * backbone.head_dim * element


def kv_bytes(config: SessionConfig, units: int, element: int) -> int:
    """Keys and values of the prefill and of ``units`` units, padding slots too (WS-COST-5)."""
    tokens = config.layout.prefill_tokens + units * unit_tokens(config.layout)
    return tokens * kv_bytes_per_token(config.preset.backbone, element)


def slice_bytes(config: SessionConfig, element: int) -> int:
    """Payload of the KV slice of a unit after the first: [O, L], sequential [Z, O, L]
    (WS-COST-6)."""
    layout = config.layout
    tokens = layout.observation_slots + layout.language_slots
    if config.schedule == "sequential":
        tokens += layout.response_slots
    return tokens * (ROW_BYTES + kv_bytes_per_token(config.preset.backbone, element))


def latents_bytes(config: SessionConfig, element: int) -> int:
    """Payload of the clean latents of a unit (WS-COST-6)."""
    layout, preset = config.layout, config.preset
    video = preset.video_codec.latent_channels * preset.video_codec.patch**2
    audio = preset.audio_codec.latent_channels
    return (layout.agent_audio_slots * audio + layout.agent_video_slots * video) * element
