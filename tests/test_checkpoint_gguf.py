"""GGUF files of public language models: the same model, or one clear refusal."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from checkpoints import folder_of, public_of
from public_lm import (
    FAMILIES,
    random_model,
)
from safetensors.torch import load_file
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from reference import checkpoint
from spec.errors import WeightsError

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
