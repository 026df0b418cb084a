"""A preset that exists can be run, and a session is opened with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import samples

from reference.model import WanStreamer
from spec.errors import ConfigError
from spec.presets import PRESETS, TINY, TINY_BARE, TINY_LAG0, preset_named
from spec.session import SessionConfig
from spec.sizes import Preset

Change = Callable[[], object]


def backbone(**changes: Any) -> Change:
    return lambda: attrs.evolve(TINY.backbone, **changes)


def preset(**changes: Any) -> Change:
    return lambda: attrs.evolve(TINY, **changes)


REFUSED: list[tuple[Change, str, object, str]] = [
    (preset(frame_height=100), "frame_height", 100, "a multiple of 48"),
    (preset(frame_height=0), "frame_height", 0, "a multiple of 48"),
    (preset(frame_width=160), "frame_width", 160, "a multiple of 48"),
    (preset(frame_width=-48), "frame_width", -48, "a multiple of 48"),
    (preset(state_slots=2), "state_slots + agent_text_slots", (2, 3), "1 to 4 positions"),
    (preset(state_slots=-1), "state_slots + agent_text_slots", (-1, 3), "1 to 4 positions"),
    (
        preset(state_slots=0, agent_text_slots=0),
        "state_slots + agent_text_slots",
        (0, 0),
        "1 to 4 positions",
    ),
    (preset(user_text_slots=5), "user_text_slots", 5, "0 to 4"),
    (preset(user_text_slots=-1), "user_text_slots", -1, "0 to 4"),
    (preset(solver_steps=0), "solver_steps", 0, "at least 1"),
    (preset(tau_dim=25), "tau_dim", 25, "an even number"),
    (backbone(n_kv_heads=4), "backbone.n_kv_heads", 4, "a divisor of n_heads = 6"),
    (backbone(n_layers=0), "backbone.n_layers", 0, "at least 1"),
    (
        backbone(head_dim=15, mrope_sections=(3, 2, 2)),
        "backbone.head_dim",
        15,
        "an even number",
    ),
    (
        backbone(mrope_sections=(3, 2, 1)),
        "backbone.mrope_sections",
        (3, 2, 1),
        "head_dim / 2 = 7",
    ),
    (backbone(mrope_sections=(9, -1, -1)), "backbone.mrope_sections", (9, -1, -1), "non-negative"),
    (
        lambda: attrs.evolve(TINY.video_codec, patch=0),
        "video_codec.patch",
        0,
        "≥ 1",
    ),
    (
        lambda: attrs.evolve(TINY.audio_codec, strides=(5, 6, 4, 7)),
        "audio_codec.strides",
        (5, 6, 4, 7),
        "960",
    ),
    (
        lambda: attrs.evolve(TINY.audio_codec, channels=(6, 10)),
        "audio_codec.channels",
        (6, 10),
        "5 widths",
    ),
    (lambda: attrs.evolve(TINY.encoders, mel_hop=150), "encoders.mel_hop", 150, "640 samples"),
    # 256 divides a unit's samples, but not a tick's.
    (lambda: attrs.evolve(TINY.encoders, mel_hop=256), "encoders.mel_hop", 256, "640 samples"),
    (lambda: attrs.evolve(TINY.encoders, mel_window=100), "encoders.mel_window", 100, "160"),
]


@pytest.mark.parametrize(("make", "field", "value", "allowed"), REFUSED)
def test_sizes_that_do_not_divide_are_refused(
    make: Change, field: str, value: object, allowed: str
) -> None:
    """WS-PRESETS-2: when it is made, with the field, the value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.what == field
    assert caught.value.value == value
    assert allowed in caught.value.allowed
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", [samples.OTHER, samples.STATELESS], ids=lambda p: p.name)
def test_every_size_comes_from_the_preset(other: Preset) -> None:
    """WS-PRESETS-1: another preset runs by the same code, and its outputs have its sizes."""
    config = SessionConfig(preset=other, schedule="overlapped")
    outputs, states = samples.stream(
        config, samples.users_of(config, 2), samples.noises_of(config, 2)
    )
    frames = (4, 3, other.frame_height, other.frame_width)
    latent = (other.video_codec.latent_channels, other.latent_height, other.latent_width)
    for agent in outputs:
        assert len(agent.text) == other.agent_text_slots
        assert agent.logits.shape == (other.agent_text_slots, other.tokenizer.vocab_size)
        assert agent.latents.audio is not None
        assert agent.latents.audio.shape == (4, other.audio_codec.latent_channels)
        assert agent.latents.video is not None
        assert agent.latents.video.shape == latent
        assert agent.audio is not None
        assert agent.audio.shape == (3840,)
        assert agent.video is not None
        assert agent.video.shape == frames
    sizes = other.backbone
    cached = states[-1].performer.cache.k.shape
    assert cached[:2] + cached[3:] == (sizes.n_layers, sizes.n_kv_heads, sizes.head_dim)


def test_no_parameter_has_a_size_of_its_own() -> None:
    """WS-PRESETS-1: where two presets differ in a size, so do the parameters that hold it."""
    tiny = WanStreamer(TINY).state_dict()
    other = WanStreamer(samples.OTHER).state_dict()
    # All sizes differ, so a parameter of equal shape has a size that no preset gave it: only mono
    # and RGB are so.
    fixed = {name for name in tiny.keys() & other.keys() if tiny[name].shape == other[name].shape}
    assert fixed == {"audio_codec.decoder.head.bias", "video_codec.decoder.head.bias"}


def test_the_two_small_presets() -> None:
    """WS-PRESETS-3: `tiny` has λ = 1, `tiny-lag0` λ = 0, and they differ in nothing else."""
    assert preset_named("tiny") is TINY
    assert preset_named("tiny-lag0") is TINY_LAG0
    assert {"tiny", "tiny-lag0"} <= PRESETS.keys()
    assert all(name == value.name for name, value in PRESETS.items())
    assert (TINY.schedule, TINY_LAG0.schedule) == ("overlapped", "sequential")
    assert attrs.evolve(TINY_LAG0, name="tiny", schedule="overlapped") == TINY


def test_the_bare_preset_shares_no_size_with_tiny() -> None:
    """WS-PRESETS-3: or a size that a port has built in would fit both."""
    for field in ("", "backbone", "video_codec", "audio_codec", "encoders"):
        bare, tiny = (getattr(p, field) if field else p for p in (TINY_BARE, TINY))
        equal = {
            a.name
            for a in attrs.fields(type(tiny))
            if getattr(bare, a.name) == getattr(tiny, a.name)
        }
        assert equal <= {"schedule", "weights"}, field
    assert TINY_BARE.backbone.n_heads == TINY_BARE.backbone.n_kv_heads


def test_the_preset_that_speaks() -> None:
    """WS-PRESETS-5: the numbers of the clause, and those of the public model it starts from."""
    preset = preset_named("smollm2-135m")
    assert (preset.frame_height, preset.frame_width) == (192, 336)
    assert preset.patch_rows * preset.patch_cols == 28
    assert (preset.state_slots, preset.agent_text_slots, preset.user_text_slots) == (0, 4, 4)
    tokens = preset.tokenizer
    assert (tokens.vocab_size, tokens.bos, tokens.eos, tokens.wait) == (49_152, 1, 2, 16)
    sizes = preset.backbone
    assert (sizes.n_layers, sizes.d_model, sizes.d_ff) == (30, 576, 1_536)
    assert (sizes.n_heads, sizes.n_kv_heads, sizes.head_dim) == (9, 3, 64)
    assert (sizes.qk_norm, sizes.qkv_bias, sizes.tied_embeddings) == (False, False, True)


@pytest.mark.parametrize("preset", [TINY, TINY_LAG0], ids=lambda p: p.name)
def test_the_schedule_of_the_session_decides_the_lag(preset: Preset) -> None:
    """WS-PRESETS-3: a session may name the other schedule than its preset's."""
    assert SessionConfig(preset=preset, schedule="overlapped").lag == 1
    assert SessionConfig(preset=preset, schedule="sequential").lag == 0


@pytest.mark.parametrize("name", ["", "Tiny", "tiny_lag0"])
def test_unknown_preset_names_the_known_ones(name: str) -> None:
    """WS-PRESETS-3: the message lists what could have been meant."""
    with pytest.raises(ConfigError, match=r"preset: got .*; allowed: .*tiny, tiny-bare, tiny-lag0"):
        preset_named(name)


def test_unknown_schedule_is_refused() -> None:
    """WS-SESSION-1: with both schedules named."""
    schedule: Any = "eager"
    with pytest.raises(ConfigError, match="got 'eager'; allowed: overlapped, sequential"):
        SessionConfig(preset=TINY, schedule=schedule)


@pytest.mark.parametrize("token", [-1, 263])
def test_prompt_outside_the_vocabulary_is_refused(token: int) -> None:
    """WS-SESSION-1: the bad id is named, wherever it stands in the prompt."""
    with pytest.raises(ConfigError, match=f"prompt token: got {token}; allowed: 0 to 262"):
        SessionConfig(preset=TINY, schedule="overlapped", prompt=(72, token, 105))


def test_prompt_may_use_the_whole_vocabulary() -> None:
    """WS-SESSION-1: the first and the last id are ids."""
    config = SessionConfig(preset=TINY, schedule="overlapped", prompt=(0, 262))
    assert config.prompt == (0, 262)
