"""Public checkpoints become the backbone: numbers and files against the public library's."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import attrs
import gguf
import numpy as np
import pytest
import samples
import torch
from public_lm import (
    FAMILIES,
    LISTENER,
    VOCAB,
    config_for,
    greedy,
    in_float64,
    preset_for,
    random_model,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from reference import checkpoint, kv_cache, offline, recipe, session
from reference.checkpoint import Checkpoint
from reference.model import EMBEDDED_AS, WanStreamer
from reference.token_table import TokenTable
from reference.units import Latents, UserUnit
from reference.weights import build_model
from spec.errors import WeightsError
from spec.layout import Modality, prefill_rows
from spec.presets import TINY

TOKENS = tuple((37 * i + 11) % VOCAB for i in range(23))
SILENCE = Latents(audio=None, video=None)


@cache
def folder_of(family: str, shards: str = "1GB") -> Path:
    """The public library's own folder of a random model; nobody changes it."""
    folder = Path(mkdtemp(prefix="checkpoint-"))
    random_model(family).save_pretrained(folder, max_shard_size=shards)
    return folder


@cache
def public_of(family: str) -> Any:
    """The public library's model, read back from its folder, all in float64."""
    model = type(random_model(family)).from_pretrained(folder_of(family), dtype=samples.F64)
    return in_float64(model.eval())


@cache
def model_of(family: str) -> WanStreamer:
    """Our model from the same folder; nobody changes it."""
    read = checkpoint.read(folder_of(family))
    return checkpoint.initialise(preset_for(read), read, samples.F64).requires_grad_(False)


def public_logits(family: str, tokens: tuple[int, ...]) -> Tensor:
    logits: Tensor = public_of(family)(torch.tensor([tokens])).logits[0]
    return logits


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


def test_a_preset_without_a_language_model_is_the_recipe() -> None:
    """WS-WEIGHTS-1: the same digest as a model filled by the recipe alone."""
    model = WanStreamer(TINY)
    recipe.fill(model)
    assert recipe.weights_sha256(build_model(TINY)) == recipe.weights_sha256(model)


# GGUF files.

PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd",
    "model.norm": "output_norm", "lm_head": "output", "model.layers": "blk",
}  # fmt: skip


def write_gguf(path: Path, family: str) -> Path:
    """The random model of ``family`` as the usual converter writes it, in float32."""
    public = random_model(family)
    config = public.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_name("random")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if family == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    for name, value in load_file(folder_of(family) / "model.safetensors").items():
        array = value.float().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        count = heads.get(name.split(".")[-2])
        if family == "llama" and count is not None:
            half = array.shape[0] // count // 2
            array = array.reshape(count, 2, half, -1).swapaxes(1, 2).reshape(array.shape)
        short = name
        for theirs, ours in PARTS.items():
            short = short.replace(theirs, ours)
        writer.add_tensor(short, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_gguf_is_the_same_model(family: str, tmp_path: Path) -> None:
    """WS-WEIGHTS-3: sizes and tensors are those of the safetensors folder, and those that the
    public library reads from the same GGUF file."""
    path = write_gguf(tmp_path / "model.gguf", family)
    ours, whole = checkpoint.read(path), checkpoint.read(folder_of(family))
    assert ours.backbone == whole.backbone
    assert ours.tensors.keys() == whole.tensors.keys()
    theirs = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=public_of(family))
    for name, value in ours.tensors.items():
        assert torch.equal(value, whole.tensors[name].float()), name
        assert torch.equal(value, theirs["tensors"][name]), name


def test_truncated_gguf_is_refused(tmp_path: Path) -> None:
    """WS-WEIGHTS-5: wherever the file ends too early."""
    data = write_gguf(tmp_path / "model.gguf", "qwen2").read_bytes()
    for i in range(12):
        short = tmp_path / f"short{i}.gguf"
        short.write_bytes(data[: len(data) * i // 12])
        with pytest.raises(WeightsError, match=r"short\d+\.gguf.* allowed: a whole GGUF file"):
            checkpoint.read(short)
    with pytest.raises(WeightsError, match="no such file"):
        checkpoint.read(tmp_path / "nowhere.gguf")


def test_another_gguf_is_refused(tmp_path: Path) -> None:
    """WS-WEIGHTS-5: another architecture, scaled rotation, sizes that are not there."""
    for name, architecture, scaling, says in (
        ("a.gguf", "mamba", None, "architecture of a.gguf: got 'mamba'"),
        ("b.gguf", "llama", "yarn", "rope.scaling.type of b.gguf: got 'yarn'"),
        ("c.gguf", "llama", None, "got 'no llama.attention.head_count'"),
    ):
        writer = gguf.GGUFWriter(tmp_path / name, architecture)
        if scaling is not None:
            writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
        writer.add_tensor("token_embd.weight", np.zeros((2, 2), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(WeightsError, match=re.escape(says)):
            checkpoint.read(tmp_path / name)


# What is refused.


def changed(**tensors: Tensor | None) -> Checkpoint:
    """The Qwen2 checkpoint with some tensors in place of its own; None takes one out."""
    read = checkpoint.read(folder_of("qwen2"))
    held = {**read.tensors, **{name.replace("__", "."): t for name, t in tensors.items()}}
    return attrs.evolve(read, tensors={n: t for n, t in held.items() if t is not None})


Q = "model__layers__1__self_attn__q_proj__weight"
REFUSED: list[tuple[dict[str, Tensor | None], str]] = [
    ({Q: None}, "missing: model.layers.1.self_attn.q_proj.weight"),
    ({Q.replace("q_proj", "o_proj").replace("weight", "bias"): torch.zeros(48)}, "extra: .*o_proj"),
    ({Q: torch.zeros(48, 47)}, r"wrong shape: .*q_proj.weight \[48, 47\] instead of \[48, 48\]"),
    ({Q: torch.zeros(48, 48, dtype=torch.int8)}, "wrong dtype: .*q_proj.weight torch.int8"),
    ({Q: torch.full((48, 48), torch.nan)}, "NaN or Inf: model.layers.1.self_attn.q_proj.weight"),
    ({"lm_head__weight": torch.zeros(VOCAB, 48)}, "untied: lm_head.weight"),
]


@pytest.mark.parametrize(("tensors", "says"), REFUSED)
def test_tensors_that_do_not_fit_are_named(tensors: dict[str, Tensor | None], says: str) -> None:
    """WS-WEIGHTS-5: missing, extra, of another shape or dtype, not finite, untied."""
    broken = changed(**tensors)
    with pytest.raises(WeightsError, match=says) as caught:
        checkpoint.initialise(preset_for(broken), broken)
    assert "\n" not in str(caught.value)


def test_many_faults_are_counted() -> None:
    """WS-WEIGHTS-5: five are named, of the others the count is."""
    broken = attrs.evolve(changed(), tensors={})
    with pytest.raises(WeightsError, match=r"missing: (\S+, ){4}\S+ and 33 more'"):
        checkpoint.initialise(preset_for(broken), broken)


def test_harmless_tensors_are_let_in() -> None:
    """WS-WEIGHTS-5: a second copy of a tied head, rotary frequencies, half precision."""
    embedding = checkpoint.read(folder_of("qwen2")).tensors["model.embed_tokens.weight"]
    norm = torch.ones(48, dtype=torch.bfloat16)
    kept = changed(
        lm_head__weight=embedding,
        model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4),
        model__norm__weight=norm,
    )
    model = checkpoint.initialise(preset_for(kept), kept)
    assert torch.equal(model.backbone.norm.weight, norm.float())


def test_other_sizes_than_the_preset_are_refused() -> None:
    """WS-WEIGHTS-5: the size, what came and what the preset has; sections are not compared."""
    read = checkpoint.read(folder_of("llama"))
    sizes = attrs.evolve(read.backbone, mrope_sections=(4, 0, 0))
    preset = attrs.evolve(preset_for(read), backbone=sizes)
    checkpoint.initialise(preset, read)
    other = attrs.evolve(preset, backbone=attrs.evolve(sizes, rope_theta=1e4))
    with pytest.raises(WeightsError, match=r"backbone.rope_theta .*got 50000.0; allowed: 10000.0"):
        checkpoint.initialise(other, read)


def test_pickles_are_refused(tmp_path: Path) -> None:
    """WS-WEIGHTS-5: by name, alone or in a folder, without being opened."""
    for name in ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"):
        (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
        for path in (tmp_path / name, tmp_path):
            with pytest.raises(WeightsError, match=r"a pickle, .*allowed: safetensors or GGUF"):
                checkpoint.read(path)
    with pytest.raises(WeightsError, match=r"got '.onnx'; allowed: a folder"):
        checkpoint.read(tmp_path / "model.onnx")


def copy_of(family: str, to: Path, shards: str = "1GB") -> Path:
    for file in folder_of(family, shards).iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_truncated_safetensors_are_refused(tmp_path: Path) -> None:
    """WS-WEIGHTS-5: wherever the file ends too early."""
    path = copy_of("llama", tmp_path) / "model.safetensors"
    data = path.read_bytes()
    for i in range(12):
        path.write_bytes(data[: len(data) * i // 12])
        with pytest.raises(WeightsError, match="allowed: a whole safetensors file"):
            checkpoint.read(tmp_path)
    path.unlink()
    with pytest.raises(WeightsError, match="no such file"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("not json", "config.json.*allowed: JSON"),
        ("[]", "config.json: got 'list'; allowed: a JSON object"),
        ({"model_type": "gpt2"}, "model_type of .*got 'gpt2'; allowed: llama, qwen2, qwen3"),
        ({"hidden_act": "gelu"}, "hidden_act of .*got 'gelu'; allowed: silu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type .*got 'yarn'"),
        ({"rope_parameters": None}, "rope_theta of .*got None; allowed: a positive number"),
        ({"use_sliding_window": True}, "use_sliding_window .*got True"),
        ({"hidden_size": "48"}, "hidden_size of .*got '48'"),
    ],
)
def test_other_configurations_are_refused(change: Any, says: str, tmp_path: Path) -> None:
    """WS-WEIGHTS-5, WS-WEIGHTS-2: what the backbone is not, or what is no configuration."""
    file = copy_of("qwen2", tmp_path) / "config.json"
    whole = change if isinstance(change, str) else json.dumps(json.loads(file.read_text()) | change)
    file.write_text(whole)
    with pytest.raises(WeightsError, match=says):
        checkpoint.read(tmp_path)


def test_an_older_configuration_means_the_same(tmp_path: Path) -> None:
    """WS-WEIGHTS-2: the rotary base used to stand at the top."""
    file = copy_of("qwen2", tmp_path) / "config.json"
    config = json.loads(file.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    file.write_text(json.dumps(config | {"rope_scaling": None}))
    assert checkpoint.read(tmp_path).backbone == checkpoint.read(folder_of("qwen2")).backbone


def test_an_index_that_its_shards_contradict_is_refused(tmp_path: Path) -> None:
    """WS-WEIGHTS-5: a shard with another tensor, a shard elsewhere, no shard, no map."""
    index = copy_of("llama", tmp_path, "40KB") / "model.safetensors.index.json"
    shards = sorted(tmp_path.glob("*.safetensors"))
    whole = index.read_text()
    held = load_file(shards[0])
    save_file({**held, "odd": torch.zeros(1)}, shards[0])
    with pytest.raises(WeightsError, match="got 'odd'; allowed: the tensors its index lists"):
        checkpoint.read(tmp_path)
    save_file(held, shards[0])
    index.write_text(whole.replace(shards[0].name, "../" + shards[0].name))
    with pytest.raises(WeightsError, match="allowed: names of files beside it"):
        checkpoint.read(tmp_path)
    index.write_text("{}")
    with pytest.raises(WeightsError, match="no weight_map"):
        checkpoint.read(tmp_path)
    index.write_text(whole)
    shards[0].unlink()
    with pytest.raises(WeightsError, match=f"got 'no such file'; allowed: {shards[0].name}"):
        checkpoint.read(tmp_path)
