"""Small random language models of the public library, made comparable in float64."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import samples
import torch
from torch import Tensor, nn
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from reference.checkpoint import Checkpoint
from spec.layout import Modalities
from spec.session import SessionConfig
from spec.sizes import Preset

FAMILIES = ("llama", "qwen2", "qwen3")
VOCAB = 263

LISTENER = Modalities(
    user_text=False, user_audio=False, user_video=False, agent_audio=False, agent_video=False
)
"""An agent that writes to a user who only reads."""

TYPES: dict[str, tuple[Any, Any]] = {
    "llama": (llama.LlamaConfig, llama.LlamaForCausalLM),
    "qwen2": (qwen2.Qwen2Config, qwen2.Qwen2ForCausalLM),
    "qwen3": (qwen3.Qwen3Config, qwen3.Qwen3ForCausalLM),
}


class Rotary64(nn.Module):
    """The library's default rotary embedding, its float32 replaced by float64."""

    def __init__(self, theta: float, head_dim: int) -> None:
        super().__init__()
        self.frequencies = theta ** -(torch.arange(0, head_dim, 2, dtype=samples.F64) / head_dim)

    def forward(self, _x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].to(samples.F64) * self.frequencies
        both = torch.cat((angles, angles), dim=-1)
        return both.cos(), both.sin()


def in_float64(public: Any) -> Any:
    """The library's model all in float64: it computes rotary angles and norms in float32 whatever
    its dtype, so those two are replaced (the norms by torch's own)."""
    public = public.double()
    config = public.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    public.model.rotary_emb = Rotary64(config.rope_parameters["rope_theta"], head_dim)
    for name, module in list(public.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            norm = nn.RMSNorm(module.weight.shape[0], config.rms_norm_eps, dtype=samples.F64)
            norm.weight = module.weight
            public.set_submodule(name, norm)
    return public


@cache
def random_model(family: str) -> Any:
    """The library's own model of ``family`` with random weights in float64; nobody changes it."""
    config_type, model_type = TYPES[family]
    config = config_type(
        vocab_size=VOCAB,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16 if family == "qwen3" else 8,
        rms_norm_eps=1e-5 if family == "llama" else 1e-6,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 50_000.0 if family == "llama" else 1_000_000.0,
        },
        max_position_embeddings=256,
        tie_word_embeddings=family != "qwen3",
        attn_implementation="sdpa",
        bos_token_id=None,
        eos_token_id=None,
    )
    public = model_type(config).double().eval().requires_grad_(requires_grad=False)
    random = torch.Generator().manual_seed(len(family) + FAMILIES.index(family))
    for name, parameter in public.named_parameters():
        noise = torch.randn(parameter.shape, generator=random, dtype=samples.F64)
        # Sharp enough that attention, and with it a wrong position, shows in the logits.
        parameter.copy_(1 + 0.2 * noise if "norm" in name else 0.3 * noise)
    return public


def preset_for(checkpoint: Checkpoint) -> Preset:
    """A small preset whose text-only sessions are ``checkpoint``."""
    # Random models have no end of turn: an id that none of them can say.
    tokens = attrs.evolve(samples.STATELESS.tokenizer, vocab_size=VOCAB, eos=VOCAB)
    return attrs.evolve(
        samples.STATELESS, name="public", backbone=checkpoint.backbone, tokenizer=tokens
    )


def config_for(preset: Preset, tokens: tuple[int, ...], modalities: Modalities) -> SessionConfig:
    """A session whose prefill is ``tokens``."""
    preset = attrs.evolve(preset, tokenizer=attrs.evolve(preset.tokenizer, bos=tokens[0]))
    return SessionConfig(
        preset=preset, schedule="overlapped", modalities=modalities, prompt=tokens[1:]
    )


def greedy(public: Any, tokens: tuple[int, ...], count: int) -> list[int]:
    """The library's own greedy continuation of ``tokens``."""
    ids = torch.tensor([tokens])
    mask = torch.ones_like(ids)
    answer = public.generate(
        ids, attention_mask=mask, max_new_tokens=count, do_sample=False, pad_token_id=0
    )
    said: list[int] = answer[0, len(tokens) :].tolist()
    return said
