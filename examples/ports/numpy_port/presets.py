"""Sizes of a model and of its session, by name: values of ``spec/presets.py`` (WS-PRESETS-3)."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that differs from preset to preset (WS-PRESETS-1)."""

    schedule: str
    frame: tuple[int, int]
    patch: int
    state_slots: int
    agent_text_slots: int
    user_text_slots: int
    solver_steps: int
    tau_dim: int

    d_model: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    theta: float
    sections: tuple[int, int, int]
    eps: float
    qk_norm: bool
    qkv_bias: bool
    tied: bool

    video_latents: int
    video_channels: tuple[int, int, int]
    audio_latents: int
    audio_channels: tuple[int, ...]
    audio_strides: tuple[int, ...]
    mels: int
    window: int
    hop: int
    heard_channels: int
    seen_channels: tuple[int, int, int]

    vocab: int
    bos: int
    eos: int
    wait: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a video latent frame (WS-CLOCK-4)."""
        return self.frame[0] // 16, self.frame[1] // 16

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of video tokens (WS-CODEC-13)."""
        return self.grid[0] // self.patch, self.grid[1] // self.patch


TINY = Preset(
    schedule="overlapped",
    frame=(96, 144),
    patch=3,
    state_slots=1,
    agent_text_slots=3,
    user_text_slots=3,
    solver_steps=3,
    tau_dim=26,
    d_model=60,
    layers=3,
    heads=6,
    kv_heads=2,
    head_dim=14,
    d_ff=102,
    theta=10_000.0,
    sections=(3, 2, 2),
    eps=1e-6,
    qk_norm=True,
    qkv_bias=True,
    tied=False,
    video_latents=5,
    video_channels=(12, 18, 22),
    audio_latents=7,
    audio_channels=(6, 10, 14, 18, 22),
    audio_strides=(5, 6, 4, 8),
    mels=20,
    window=400,
    hop=160,
    heard_channels=26,
    seen_channels=(12, 16, 20),
    vocab=263,
    bos=256,
    eos=257,
    wait=258,
)
BARE = Preset(
    schedule="overlapped",
    frame=(32, 48),
    patch=1,
    state_slots=0,
    agent_text_slots=2,
    user_text_slots=2,
    solver_steps=2,
    tau_dim=8,
    d_model=28,
    layers=2,
    heads=3,
    kv_heads=3,
    head_dim=8,
    d_ff=44,
    theta=50_000.0,
    sections=(1, 1, 2),
    eps=1e-5,
    qk_norm=False,
    qkv_bias=False,
    tied=True,
    video_latents=4,
    video_channels=(10, 14, 16),
    audio_latents=3,
    audio_channels=(8, 9, 12, 15, 16),
    audio_strides=(8, 5, 4, 6),
    mels=12,
    window=480,
    hop=320,
    heard_channels=14,
    seen_channels=(8, 10, 14),
    vocab=269,
    bos=256,
    eos=257,
    wait=258,
)
PRESETS = {"tiny": TINY, "tiny-lag0": replace(TINY, schedule="sequential"), "tiny-bare": BARE}
SCHEDULES = {"sequential": 0, "overlapped": 1}
"""The feedback lag of each (WS-VISIBILITY-2)."""
