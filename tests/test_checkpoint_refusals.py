"""Weights that do not fit are named and refused, and nothing is half loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from checkpoints import folder_of
from public_lm import (
    VOCAB,
    preset_for,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from reference import checkpoint
from reference.checkpoint import Checkpoint
from spec.errors import WeightsError


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
    ({Q: torch.full((48, 48), torch.inf)}, "NaN or Inf: model.layers.1.self_attn.q_proj.weight"),
    ({"lm_head__weight": torch.zeros(VOCAB, 48)}, "untied: lm_head.weight"),
]


@pytest.mark.parametrize(("tensors", "says"), REFUSED)
def test_tensors_that_do_not_fit_are_named(tensors: dict[str, Tensor | None], says: str) -> None:
    """WS-WEIGHTS-5: missing, extra, of another shape or dtype, not finite, untied."""
    broken = changed(**tensors)
    with pytest.raises(WeightsError, match=says) as caught:
        checkpoint.initialise(preset_for(broken), broken)
    assert "\n" not in str(caught.value)


def test_a_tied_head_is_the_embedding_to_the_last_bit() -> None:
    """WS-WEIGHTS-5: a second copy that differs in one number, by one step, is not tied."""
    head = checkpoint.read(folder_of("qwen2")).tensors["model.embed_tokens.weight"].clone()
    head[7, 3] = torch.nextafter(head[7, 3], head.new_tensor(torch.inf))
    broken = changed(lm_head__weight=head)
    with pytest.raises(WeightsError, match=r"untied: lm_head\.weight"):
        checkpoint.initialise(preset_for(broken), broken)


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
        (
            {"rope_parameters": None, "rope_scaling": {"type": "linear"}, "rope_theta": 1e6},
            "rope_type .*got 'linear'",
        ),
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
