"""The closed forms of cost against torch's own counts of the real passes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import cost_world
import pytest
import samples
import torch
from torch import nn

from optimized.payloads import pack_entries, pack_unit
from reference import public_config, session, thinker
from spec import clock, cost, cost_layers
from spec.cost_layers import Conv
from spec.cost_stages import Work, Workload, linear, stages, transformer
from spec.layout import Modalities
from spec.presets import PRESETS, QWEN3_1_7B, QWEN3_8B, TINY, TINY_LAG0
from spec.session import SessionConfig
from spec.sizes import Preset

SMALL_SESSIONS = [
    SessionConfig(preset=TINY, schedule="overlapped", prompt=(72, 105)),
    SessionConfig(preset=TINY_LAG0, schedule="sequential"),
    SessionConfig(preset=samples.OTHER, schedule="overlapped"),
    SessionConfig(preset=samples.STATELESS, schedule="sequential", prompt=(1,) * 9),
    SessionConfig(preset=samples.SMALL, schedule="overlapped", modalities=samples.TEXT_ONLY),
    SessionConfig(
        preset=samples.SMALL,
        schedule="sequential",
        modalities=Modalities(user_video=False, agent_audio=False, user_text=False),
    ),
]


def named(config: SessionConfig) -> str:
    return f"{config.preset.name}-{config.schedule}"


def parameters_of(modules: Iterable[nn.Module | nn.Parameter]) -> int:
    every = (m.parameters() if isinstance(m, nn.Module) else [m] for m in modules)
    return sum(p.numel() for ps in every for p in ps)


@pytest.mark.parametrize("preset", [*PRESETS.values(), samples.OTHER], ids=lambda p: p.name)
def test_parameters_are_those_of_the_module(preset: Preset) -> None:
    """WS-COST-1, WS-PRESETS-7: component by component, on the meta device, whatever the size."""
    model = cost_world.meta_model(preset)
    counted = cost.parameters(preset)
    projections = [
        model.user_video_proj,
        model.user_audio_proj,
        model.audio_latent_proj,
        model.video_latent_proj,
        model.tau_embedding,
        model.audio_velocity_head,
        model.video_velocity_head,
    ]
    tied = preset.backbone.tied_embeddings
    assert counted == {
        "video_encoder": parameters_of([model.video_encoder]),
        "audio_encoder": parameters_of([model.audio_encoder]),
        "video_codec": parameters_of([model.video_codec]),
        "audio_codec": parameters_of([model.audio_codec]),
        "embeddings": parameters_of(
            [
                model.embed_tokens,
                model.segment_embedding,
                model.identity_segment_embedding,
                model.state_embedding,
            ]
        ),
        "projections": parameters_of(projections),
        "backbone": parameters_of([model.backbone]),
        "lm_head": 0 if tied else parameters_of([model.lm_head]),
    }
    # A tied head is one parameter with the embedding, which `parameters` gives once.
    assert sum(counted.values()) == parameters_of([model])
    assert cost.weight_bytes(preset, 4) == sum(p.nbytes for p in model.parameters())


def test_sizes_of_the_public_models() -> None:
    """WS-PRESETS-7: backbone, embedding and head have the published parameter counts."""
    published = {QWEN3_1_7B: 1_720_574_976, QWEN3_8B: 8_190_735_360}
    for preset, parameters in published.items():
        d, vocab = preset.backbone.d_model, preset.tokenizer.vocab_size
        counted = cost.parameters(preset)
        assert counted["backbone"] + counted["lm_head"] + vocab * d == parameters


def test_configurations_of_the_public_models() -> None:
    """WS-PRESETS-7: what the published `config.json` says is the backbone of the preset, so that
    the user's own checkpoint fits; and the slots and frames are those of the clause."""
    both: dict[str, Any] = {
        "model_type": "qwen3", "head_dim": 128, "hidden_act": "silu", "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6, "rope_scaling": None, "rope_theta": 1_000_000,
        "use_sliding_window": False, "attention_bias": False,
    }  # fmt: skip
    small = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
             "num_attention_heads": 16, "tie_word_embeddings": True}  # fmt: skip
    large = {"hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36,
             "num_attention_heads": 32, "tie_word_embeddings": False}  # fmt: skip
    for preset, own in ((QWEN3_1_7B, small), (QWEN3_8B, large)):
        assert public_config.backbone_of(both | own, "config.json") == preset.backbone
        assert preset.tokenizer.vocab_size == 151_936
        assert (preset.state_slots, preset.agent_text_slots, preset.user_text_slots) == (1, 3, 4)
        assert (preset.frame_height, preset.frame_width) == (192, 336)


@pytest.mark.parametrize("config", SMALL_SESSIONS, ids=named)
def test_flops_are_those_of_the_real_passes(config: SessionConfig) -> None:
    """WS-COST-2, WS-COST-3: every stage of every unit, exactly, as the history grows."""
    tokens = config.layout.user_text_slots // 2
    work = Workload(config=config, user_tokens=tokens)
    model = samples.model_of(config.preset)
    state = session.open_session(model, config)
    for k in range(3):
        user = cost_world.user_unit(config, k, tokens)
        flops, state = cost_world.measured(model, config, state, user)
        assert cost_world.predicted(stages(work, k)) == flops, f"unit {k}"


@pytest.mark.parametrize(
    "config",
    [
        SessionConfig(preset=QWEN3_1_7B, schedule="sequential"),
        SessionConfig(preset=QWEN3_8B, schedule="overlapped"),
    ],
    ids=named,
)
def test_flops_of_large_presets_on_the_meta_device(config: SessionConfig) -> None:
    """WS-COST-2, WS-COST-3: the same code that serves, run without numbers, deep in a session."""
    # How costs grow with steps and slots is seen above; one of each keeps this short.
    preset = attrs.evolve(config.preset, solver_steps=1, agent_text_slots=1)
    config = attrs.evolve(config, preset=preset)
    unit = 25
    work = Workload.full(config)
    with torch.no_grad(), cost_world.OntoMeta():  # type: ignore[no-untyped-call]
        model = cost_world.meta_model(config.preset)
        state = cost_world.state_before(model, config, unit, work.user_tokens)
        user = cost_world.user_unit(config, unit, work.user_tokens)
        flops, _ = cost_world.measured(model, config, state, user)
    assert cost_world.predicted(stages(work, unit)) == flops


def test_user_text_fills_the_slots_unless_stated() -> None:
    """WS-COST-3: the full workload is the most a unit can cost."""
    config = SMALL_SESSIONS[0]
    full = cost_world.predicted(stages(Workload.full(config), 5))
    slots = config.layout.user_text_slots
    assert full == cost_world.predicted(stages(Workload(config=config, user_tokens=slots), 5))
    for name, flops in cost_world.predicted(
        stages(Workload(config=config, user_tokens=0), 5)
    ).items():
        assert flops <= full[name]


def test_bytes_of_a_pass_by_hand() -> None:
    """WS-COST-4: weights once, visible keys and values once, every matrix's input and output."""
    sizes = attrs.evolve(
        TINY.backbone, d_model=4, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=2,
        d_ff=8, mrope_sections=(1, 0, 0), qk_norm=False, qkv_bias=False,
    )  # fmt: skip
    # A layer: q 4·4, k 4·2, v 4·2, o 4·4, gate 4·8, up 4·8, down 8·4, two norms of 4.
    weights = 2 * (16 + 8 + 8 + 16 + 32 + 32 + 32 + 8) + 4
    kv = 2 * 2 * 1 * 2 * (5 + 3)
    activations = 2 * 3 * ((4 + 4) + (4 + 2) + (4 + 2) + (4 + 4) + (4 + 8) + (4 + 8) + (8 + 4))
    products, attention = 2 * 2 * 3 * 144, 2 * 4 * 3 * 8 * 4
    moved = weights + kv + activations
    assert transformer(sizes, 3, 5) == Work(products + attention, moved, weights)
    assert transformer(sizes, 0, 5) == Work(0, 0)
    assert linear(3, 4, 7) == Work(2 * 3 * 4 * 7, 4 * 7 + 7 + 3 * (4 + 7), 4 * 7 + 7)
    assert linear(3, 4, 7, bias=False) == Work(2 * 3 * 4 * 7, 4 * 7 + 3 * (4 + 7), 4 * 7)
    assert linear(0, 4, 7) == Work(0, 0)
    conv = Conv(2, 5, (3, 3), 10, 6)
    assert (conv.flops, conv.elements_moved) == (2 * 90 * 6, 90 + 5 + 20 + 30)


STACKS: Mapping[str, Callable[[Preset], cost_layers.Stack]] = {
    "video encoder": cost_layers.video_encoder,
    "video codec encoder": cost_layers.video_codec_encoder,
    "video codec decoder": cost_layers.video_codec_decoder,
    "audio encoder": cost_layers.audio_encoder,
    "audio codec encoder": lambda preset: cost_layers.audio_codec_encoder(preset.audio_codec),
    "audio codec decoder": lambda preset: cost_layers.audio_codec_decoder(preset.audio_codec),
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("preset", [TINY, samples.OTHER, QWEN3_8B], ids=lambda p: p.name)
def test_a_convolution_reads_what_the_one_before_it_wrote(name: str, preset: Preset) -> None:
    """WS-COST-4: the input of each, once: as many numbers as the last one's output, and what a unit
    has at either end. Folding space into channels changes no number."""
    convs = STACKS[name](preset).convs
    ends = {
        "video": 3 * clock.FRAMES_PER_UNIT * preset.frame_height * preset.frame_width,
        "audio": clock.AGENT_SAMPLES_PER_UNIT,
    }
    if "decoder" in name:
        assert convs[-1].c_out * convs[-1].points_out == ends[name[:5]]
    elif name == "audio encoder":
        frames = clock.USER_SAMPLES_PER_UNIT // preset.encoders.mel_hop
        assert convs[0].c_in * convs[0].points_in == preset.encoders.n_mels * frames
    else:
        assert convs[0].c_in * convs[0].points_in == ends[name[:5]]
    for before, after in itertools.pairwise(convs):
        assert after.c_in * after.points_in == before.c_out * before.points_out


def test_every_pass_reads_its_weights_anew() -> None:
    """WS-COST-4: of the head before each text slot and the pass over it, and of each evaluation."""
    config = SessionConfig(preset=samples.OTHER, schedule="overlapped")
    backbone = cost.backbone_parameters(config.preset.backbone)
    passes = stages(Workload.full(config), 3)
    head = config.preset.backbone.d_model * config.preset.tokenizer.vocab_size
    slots, steps = config.preset.agent_text_slots, config.preset.solver_steps
    assert [w.weights for w in passes["update"]] == [backbone] * 2 + [head, backbone] * slots
    assert len({(w.elements, w.weights) for w in passes["solve"][:steps]}) == 1
    assert passes["solve"][0].weights > backbone
    assert len(passes["solve"]) == steps + 1
    for works in passes.values():
        assert all(work.elements > work.weights > 0 for work in works)


@pytest.mark.parametrize("config", SMALL_SESSIONS, ids=named)
@pytest.mark.parametrize(("dtype", "element"), [(torch.float32, 4), (torch.float64, 8)])
def test_kv_and_link_bytes_are_those_of_a_session(
    config: SessionConfig, dtype: torch.dtype, element: int
) -> None:
    """WS-COST-5, WS-COST-6: of cache entries and payloads that a real session made."""
    units = 3
    users = samples.users_of(config, units)
    noises = [samples.noise_of(config, k, dtype=dtype) for k in range(units)]
    outputs, states = samples.stream(config, users, noises, dtype=dtype)
    model, last = samples.model_of(config.preset, dtype), states[-1]
    # The thinker has not committed the last response yet: then its cache is complete.
    assert last.uncommitted is not None
    response, thinks = thinker.commit(model, config, units - 1, last.uncommitted, last.thinker)
    assert cost_world.nbytes(states[0].thinker.cache) == cost.kv_bytes(config, 0, element)
    assert cost_world.nbytes(thinks.cache) == cost.kv_bytes(config, units, element)
    # Slice 2 as it goes over the link.
    before, after = states[2].performer.cache, states[3].performer.cache
    new = attrs.evolve(
        after,
        table=after.table[len(before) :],
        k=after.k[:, :, len(before) :],
        v=after.v[:, :, len(before) :],
    )
    if config.schedule == "overlapped":
        kept = len(new) - len(response)
        new = attrs.evolve(new, table=new.table[:kept], k=new.k[:, :, :kept], v=new.v[:, :, :kept])
    assert len(pack_entries(new)) == cost.slice_bytes(config, element)
    assert len(pack_unit(outputs[2].latents, dtype)) == cost.latents_bytes(config, element)


def test_kv_of_a_minute() -> None:
    """WS-COST-5: Qwen3-8B in bfloat16 by hand: 36 layers, 8 heads of 128, 72 tokens a unit."""
    config = SessionConfig(preset=QWEN3_8B, schedule="overlapped")
    per_token = 2 * 36 * 8 * 128 * 2
    assert cost.kv_bytes_per_token(QWEN3_8B.backbone, 2) == per_token == 147_456
    assert cost.unit_tokens(config.layout) == (28 + 4 + 4) + (1 + 3) + (4 + 28)
    assert cost.UNITS_PER_MINUTE == 375
    growth = cost.kv_bytes(config, 375, 2) - cost.kv_bytes(config, 0, 2)
    assert growth == 375 * 72 * per_token
