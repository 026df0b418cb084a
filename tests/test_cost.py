"""The closed forms of cost against torch's own counts of the real passes."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import cost_world
import pytest
import samples
import torch
from torch import nn

from optimized.payloads import pack_entries, pack_unit
from reference import session, thinker
from spec import cost
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
