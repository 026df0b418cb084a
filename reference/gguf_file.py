"""A public checkpoint in GGUF: its sizes, and its tensors dequantised under their public names.

Reading and dequantising are those of the ``gguf`` package. Source: PAPER §2.3.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from reference.public_config import FAMILIES, sections
from spec.errors import WeightsError
from spec.sizes import Backbone

TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@functools.cache
def open_gguf(path: Path) -> gguf.GGUFReader:
    """The file's metadata and tensors, mapped and not yet read.

    Kept: the model and its tokenizer come from the same file.

    Raises:
        WeightsError: no such file, or a truncated or damaged one.
    """
    if not path.is_file():
        raise WeightsError(f"weights {path}", "no such file", "a GGUF file")
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        said = str(error) or type(error).__name__
        raise WeightsError(f"file {path}", said, "a whole GGUF file") from None


def value(reader: gguf.GGUFReader, key: str) -> Any:
    """The metadata called ``key``; None if there is none.

    A float32 is given as the shortest decimal that rounds to it, so 1e-5 comes back as 1e-5.
    """
    field = reader.get_field(key)
    if field is None:
        return None
    held = field.contents()
    if field.types == [gguf.GGUFValueType.FLOAT32]:
        return float(str(np.float32(held)))
    return held


def backbone_of(path: Path) -> Backbone:
    """The sizes and switches that the metadata name (WS-WEIGHTS-2).

    Raises:
        WeightsError: another family, a key that is missing, or rotation that is scaled.
    """
    reader = open_gguf(path)
    family = value(reader, "general.architecture")
    if family not in FAMILIES:
        raise WeightsError(f"architecture of {path.name}", family, ", ".join(FAMILIES))

    def need(key: str) -> Any:
        held = value(reader, f"{family}.{key}")
        if held is None:
            raise WeightsError(f"metadata of {path.name}", f"no {family}.{key}", "its value")
        return held

    scaling = value(reader, f"{family}.rope.scaling.type") or "none"
    if scaling != "none":
        raise WeightsError(f"rope.scaling.type of {path.name}", scaling, "none")
    heads = need("attention.head_count")
    key_length = value(reader, f"{family}.attention.key_length")
    head_dim = key_length or need("embedding_length") // heads
    return Backbone(
        d_model=need("embedding_length"),
        n_layers=need("block_count"),
        n_heads=heads,
        n_kv_heads=value(reader, f"{family}.attention.head_count_kv") or heads,
        head_dim=head_dim,
        d_ff=need("feed_forward_length"),
        rope_theta=need("rope.freq_base"),
        mrope_sections=sections(head_dim),
        norm_eps=need("attention.layer_norm_rms_epsilon"),
        qk_norm=family == "qwen3",
        qkv_bias=any(t.name.endswith("attn_q.bias") for t in reader.tensors),
        tied_embeddings=all(t.name != "output.weight" for t in reader.tensors),
    )


def tensors_of(path: Path) -> dict[str, Tensor]:
    """All tensors, dequantised to float32, by their public names (WS-WEIGHTS-3).

    Raises:
        WeightsError: a quantisation that cannot be undone.
    """
    reader, sizes = open_gguf(path), backbone_of(path)
    interleaved = value(reader, "general.architecture") == "llama"
    heads_of = {"q_proj": sizes.n_heads, "k_proj": sizes.n_kv_heads}
    tensors = {}
    for stored in reader.tensors:
        try:
            numbers = gguf.dequantize(stored.data, stored.tensor_type).astype(np.float32)
        except (NotImplementedError, ValueError):
            # gguf's own two ways to refuse: a kind it does not know, rows that are no whole blocks.
            kind = stored.tensor_type.name
            what = f"tensor {stored.name} of {path.name}"
            raise WeightsError(what, kind, "a quantisation that gguf undoes") from None
        name = public_name(stored.name)
        tensor = torch.from_numpy(np.ascontiguousarray(numbers))
        projection = name.split(".")[-2]
        if interleaved and projection in heads_of:
            tensor = to_halves(tensor, heads_of[projection])
        tensors[name] = tensor
    return tensors


def public_name(stored: str) -> str:
    """``blk.3.attn_q.weight`` is ``model.layers.3.self_attn.q_proj.weight`` (WS-WEIGHTS-3).

    A name that no table holds stays as it is, for the loader to name as one too many.
    """
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", stored)
    if block and block[2] in BLOCK:
        return f"model.layers.{block[1]}.{BLOCK[block[2]]}.{block[3]}"
    stem, _, kind = stored.rpartition(".")
    return f"{TOP[stem]}.{kind}" if stem in TOP else stored


def to_halves(tensor: Tensor, heads: int) -> Tensor:
    """Rows of q or k from interleaved pairs (x_0, x_1), (x_2, x_3) ... to half-split ones
    (WS-WEIGHTS-3, WS-POSITIONS-6).

    GGUF files of the Llama family hold them interleaved, because llama.cpp rotates such pairs.
    """
    order = "(heads half pair) ... -> (heads pair half) ..."
    return rearrange(tensor, order, heads=heads, pair=2)
