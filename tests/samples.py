"""Small sessions for the tests: presets, models, user units and noise, all from the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle, islice

import attrs
import torch
from torch import Tensor

from reference import offline, recipe, session
from reference.model import WanStreamer
from reference.noise import unit_noise
from reference.session import SessionState
from reference.units import AgentUnit, Latents, UserUnit
from spec.layout import Modalities
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import AudioCodec, Encoders, Preset, VideoCodec

F64 = torch.float64

SMALL = attrs.evolve(
    TINY,
    name="small",
    frame_height=32,
    frame_width=64,
    solver_steps=2,
    backbone=attrs.evolve(TINY.backbone, n_layers=2),
    video_codec=attrs.evolve(TINY.video_codec, patch=2),
)
"""`TINY` with two video tokens a unit, for tests that run many sessions."""

OTHER = attrs.evolve(
    TINY,
    name="other",
    frame_height=64,
    frame_width=32,
    state_slots=2,
    agent_text_slots=2,
    user_text_slots=4,
    solver_steps=4,
    tau_dim=8,
    backbone=attrs.evolve(
        TINY.backbone,
        d_model=44,
        n_layers=2,
        n_heads=5,
        n_kv_heads=5,
        head_dim=10,
        d_ff=70,
        rope_theta=1_000_000.0,
        mrope_sections=(2, 1, 2),
        norm_eps=1e-5,
        qk_norm=False,
        qkv_bias=False,
        tied_embeddings=True,
    ),
    video_codec=VideoCodec(latent_channels=3, channels=(4, 6, 5), patch=1),
    audio_codec=AudioCodec(latent_channels=4, channels=(3, 5, 4), strides=(32, 30)),
    encoders=Encoders(
        n_mels=12, mel_window=320, mel_hop=320, audio_channels=9, video_channels=(4, 5, 3)
    ),
    tokenizer=attrs.evolve(TINY.tokenizer, vocab_size=271),
)
"""Every size and every switch unlike `TINY`, so that nothing can be hard-coded."""

STATELESS = attrs.evolve(SMALL, name="stateless", state_slots=0, agent_text_slots=4)
"""No state slot: a unit's first text is predicted from the language token before the unit."""

WORDLESS = Modalities(user_text=False, agent_text=False)
TEXT_ONLY = Modalities(user_audio=False, user_video=False, agent_audio=False, agent_video=False)


@cache
def model_of(preset: Preset, dtype: torch.dtype = F64) -> WanStreamer:
    """A model with recipe weights; shared by the tests, so nobody may change it."""
    model = WanStreamer(preset, dtype=dtype)
    recipe.fill(model)
    model.requires_grad_(requires_grad=False)
    return model


@cache
def signal(seed: int, unit: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """A deterministic float64 signal of amplitude up to 1."""
    values: Tensor = recipe.noise(seed, unit, name, shape, F64)
    return (0.4 * values).clamp(-1, 1)


def users_of(
    config: SessionConfig, count: int, text_lengths: Sequence[int] | None = None, seed: int = 7
) -> list[UserUnit]:
    """``count`` user units; without ``text_lengths`` their text is empty, full, then between."""
    preset, has = config.preset, config.modalities
    slots = config.layout.user_text_slots
    lengths: Iterator[int] = cycle((0, slots, slots // 2) if text_lengths is None else text_lengths)
    frames = (4, 3, preset.frame_height, preset.frame_width)
    return [
        UserUnit(
            unit=k,
            text=tuple((17 * k + 5 * i + seed) % 256 for i in range(length)),
            audio=signal(seed, k, "user-audio", (2560,)) if has.user_audio else None,
            video=signal(seed, k, "user-video", frames) if has.user_video else None,
        )
        for k, length in enumerate(islice(lengths, count))
    ]


def noise_of(config: SessionConfig, unit: int, seed: int = 0, dtype: torch.dtype = F64) -> Latents:
    """ε of one unit."""
    return unit_noise(config, seed, unit, dtype)


def noises_of(config: SessionConfig, count: int) -> list[Latents]:
    """ε of units 0 to ``count`` - 1."""
    return [noise_of(config, k) for k in range(count)]


def forced_of(config: SessionConfig, count: int) -> list[tuple[int, ...]]:
    """Agent text to be said, with ``<wait>`` in some slots."""
    wait = config.preset.tokenizer.wait
    return [
        tuple(wait if (k + i) % 3 == 2 else 40 + 9 * k + i for i in range(slots))
        for k, slots in enumerate([config.layout.agent_text_slots] * count)
    ]


def stream(
    config: SessionConfig,
    users: Sequence[UserUnit],
    noises: Sequence[Latents],
    agent_texts: Sequence[tuple[int, ...]] | None = None,
    dtype: torch.dtype = F64,
    uniforms: Sequence[Tensor] | None = None,
) -> tuple[list[AgentUnit], list[SessionState]]:
    """A whole session, step after step: outputs, and the state before each unit and at the end."""
    model = model_of(config.preset, dtype)
    states = [session.open_session(model, config)]
    outputs = []
    for k, (user, noise) in enumerate(zip(users, noises, strict=True)):
        forced = None if agent_texts is None else agent_texts[k]
        u = None if uniforms is None else uniforms[k]
        agent, state = session.step(model, config, states[-1], user, noise, forced, uniform=u)
        outputs.append(agent)
        states.append(state)
    return outputs, states


def at_once(
    config: SessionConfig,
    users: Sequence[UserUnit],
    noises: Sequence[Latents],
    agent_texts: Sequence[tuple[int, ...]] | None = None,
    uniforms: Sequence[Tensor] | None = None,
) -> list[AgentUnit]:
    """The same session in its offline form."""
    model = model_of(config.preset)
    return offline.generate(model, config, users, noises, agent_texts, uniforms)


def tensors_of(agent: AgentUnit) -> dict[str, Tensor]:
    """What a unit put out, by name; absent modalities are left out."""
    named = {
        "logits": agent.logits,
        "latents.audio": agent.latents.audio,
        "latents.video": agent.latents.video,
        "audio": agent.audio,
        "video": agent.video,
    }
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def identical(a: AgentUnit, b: AgentUnit) -> bool:
    """Same text, and every tensor the same bit by bit."""
    ours, theirs = tensors_of(a), tensors_of(b)
    return (
        a.text == b.text
        and ours.keys() == theirs.keys()
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
    )


def assert_close(a: AgentUnit, b: AgentUnit, relative: float = 1e-11) -> None:
    """Same text; every tensor within ``relative`` of its largest element."""
    ours, theirs = tensors_of(a), tensors_of(b)
    assert a.text == b.text
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        if expected.numel():
            error = (ours[name] - expected).abs().max() / expected.abs().max()
            assert error <= relative, f"{name} of unit {a.unit}: {error:.3g}"
