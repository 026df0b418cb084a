"""The Transformer, against the public language models whose form it has."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import pytest
import samples
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from reference import attention, kv_cache, recipe, rotary, session
from reference.backbone import Backbone
from reference.model import WanStreamer
from reference.rms_norm import RMSNorm, rms_norm
from reference.swiglu import SwiGLU
from reference.token_table import TokenTable
from reference.units import Latents, UserUnit
from spec.layout import Layout, Modalities, prefill_rows
from spec.session import SessionConfig
from spec.sizes import Preset

FAMILIES = ("llama", "qwen2", "qwen3")
TIED = {"llama": False, "qwen2": True, "qwen3": True}


@cache
def preset_of(family: str) -> Preset:
    """A tiny model of the family: its switches, and sizes that it can express."""
    free_head = family == "qwen3"
    sizes = attrs.evolve(
        samples.SMALL.backbone,
        d_model=60 if free_head else 84,
        n_layers=3,
        rope_theta=10_000.0 if family == "llama" else 1_000_000.0,
        norm_eps=1e-5 if family == "llama" else 1e-6,
        qk_norm=family == "qwen3",
        qkv_bias=family == "qwen2",
        tied_embeddings=TIED[family],
    )
    return attrs.evolve(samples.STATELESS, name=family, backbone=sizes)


class Rotary64(nn.Module):
    """The library's default rotary embedding, its float32 replaced by float64."""

    def __init__(self, theta: float, head_dim: int) -> None:
        super().__init__()
        exponent = torch.arange(0, head_dim, 2, dtype=samples.F64) / head_dim
        self.frequencies = 1.0 / theta**exponent

    def forward(self, _x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        freqs = position_ids[..., None].to(samples.F64) * self.frequencies
        both = torch.cat((freqs, freqs), dim=-1)
        return both.cos(), both.sin()


def public_model(family: str, *, exact: bool) -> Any:
    """The library's model with our weights by name, in float64.

    The library computes rotary angles and norms in float32 whatever the model's dtype is. With
    ``exact`` those two are replaced by float64 ones (`torch.nn.RMSNorm` for the norms), so that
    everything else can be compared to 1e-12.
    """
    sizes = preset_of(family).backbone
    config_type, model_type = {
        "llama": (llama.LlamaConfig, llama.LlamaForCausalLM),
        "qwen2": (qwen2.Qwen2Config, qwen2.Qwen2ForCausalLM),
        "qwen3": (qwen3.Qwen3Config, qwen3.Qwen3ForCausalLM),
    }[family]
    config: Any = config_type(
        vocab_size=preset_of(family).tokenizer.vocab_size,
        hidden_size=sizes.d_model,
        intermediate_size=sizes.d_ff,
        num_hidden_layers=sizes.n_layers,
        num_attention_heads=sizes.n_heads,
        num_key_value_heads=sizes.n_kv_heads,
        head_dim=sizes.head_dim,
        rms_norm_eps=sizes.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        max_position_embeddings=128,
        tie_word_embeddings=sizes.tied_embeddings,
        attn_implementation="sdpa",
    )
    public: Any = model_type(config).double().eval().requires_grad_(requires_grad=False)
    ours = model_of(family)
    weights = {f"model.{name}": value for name, value in ours.backbone.state_dict().items()}
    weights["model.embed_tokens.weight"] = ours.embed_tokens.weight
    weights["lm_head.weight"] = ours.lm_head.weight
    public.load_state_dict(weights, strict=True)
    if exact:
        public.model.rotary_emb = Rotary64(sizes.rope_theta, sizes.head_dim)
        for name, module in list(public.named_modules()):
            if type(module).__name__.endswith("RMSNorm"):
                norm = nn.RMSNorm(module.weight.shape[0], sizes.norm_eps, dtype=samples.F64)
                norm.weight = module.weight
                public.set_submodule(name, norm)
    return public


@cache
def model_of(family: str) -> WanStreamer:
    """Our model without segment embedding, so that its text enters as in a language model."""
    model = WanStreamer(preset_of(family), dtype=samples.F64)
    recipe.fill(model)
    model.requires_grad_(requires_grad=False)
    model.segment_embedding.zero_()
    return model


TOKENS = tuple((37 * i + 11) % 256 for i in range(23))


def hidden_of(family: str) -> Tensor:
    """Our hidden states of `TOKENS` as one causal text."""
    preset, model = preset_of(family), model_of(family)
    layout = Layout(preset=preset, modalities=Modalities(), prefill_tokens=len(TOKENS))
    nothing = kv_cache.empty(preset.backbone, samples.F64)
    x = model.embed_tokens(torch.tensor(TOKENS))
    hidden: Tensor = model.backbone(x, TokenTable.of(prefill_rows(layout)), nothing, 1)[0]
    return hidden


@pytest.mark.parametrize("family", FAMILIES)
def test_text_equals_the_public_model(family: str) -> None:
    """WS-BACKBONE-1, WS-BACKBONE-3, WS-BACKBONE-4, WS-BACKBONE-5, WS-POSITIONS-2: hidden states
    and logits of Llama, Qwen2 (bias) and Qwen3 (head norm), weights loaded by name."""
    public = public_model(family, exact=True)
    ids = torch.tensor(TOKENS)[None]
    expected = public.model(ids).last_hidden_state[0]
    hidden = hidden_of(family)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)
    logits = public(ids).logits[0]
    torch.testing.assert_close(model_of(family).logits(hidden), logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_equals_the_public_model_as_it_is(family: str) -> None:
    """WS-BACKBONE-1: the library untouched, to the error of its float32 angles and norms."""
    expected = public_model(family, exact=False).model(torch.tensor(TOKENS)[None])
    torch.testing.assert_close(hidden_of(family), expected.last_hidden_state[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
@pytest.mark.parametrize("family", FAMILIES)
def test_text_only_session_is_the_language_model(family: str, schedule: str) -> None:
    """WS-BACKBONE-1, WS-LAYOUT-5: without state slots, the agent's words are the public model's
    greedy continuation of the prompt, logit by logit."""
    config = SessionConfig(
        preset=preset_of(family),
        schedule=schedule,  # type: ignore[arg-type]
        modalities=attrs.evolve(samples.TEXT_ONLY, user_text=False),
        prompt=tuple(b"One unit, then"),
    )
    model, public = model_of(family), public_model(family, exact=True)
    state = session.open_session(model, config)
    said = list(config.prefill)
    for k in range(4):
        silence = Latents(audio=None, video=None)
        agent, state = session.step(model, config, state, UserUnit(unit=k), silence)
        logits = public(torch.tensor([[*said, *agent.text[:-1]]])).logits[0, -4:]
        torch.testing.assert_close(agent.logits, logits, rtol=0, atol=1e-12)
        assert agent.text == tuple(logits.argmax(dim=-1).tolist())
        said += agent.text


def test_layer_is_prenorm_with_two_residuals() -> None:
    """WS-BACKBONE-1: x + attention(norm(x)), then x + mlp(norm(x)), layer after layer, then one
    more norm; written out from the parts."""
    sizes = samples.SMALL.backbone
    model: Any = samples.model_of(samples.SMALL).backbone
    layout = Layout(preset=samples.SMALL, modalities=Modalities(), prefill_tokens=6)
    table = TokenTable.of(prefill_rows(layout))
    x = torch.randn(6, sizes.d_model, dtype=samples.F64, generator=torch.Generator().manual_seed(3))
    hidden, _ = model(x, table, kv_cache.empty(sizes, samples.F64), 1)
    theta = rotary.angles(table, sizes)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    none = torch.zeros(sizes.n_kv_heads, 0, sizes.head_dim, dtype=samples.F64)
    for layer in model.layers:
        x = x + layer.self_attn(layer.input_layernorm(x), theta, causal, none, none)[0]
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    torch.testing.assert_close(hidden, model.norm(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pass_without_a_token_is_that_of_the_layers_on_none(dtype: torch.dtype) -> None:
    """WS-BACKBONE-1: the shortcut gives what the layers would, in shape and dtype, and a cache to
    which nothing is added stays as it is."""
    sizes = samples.SMALL.backbone
    model: Any = samples.model_of(samples.SMALL, dtype).backbone
    layout = Layout(preset=samples.SMALL, modalities=Modalities(), prefill_tokens=6)
    table = TokenTable.of(prefill_rows(layout))
    x = gauss(6, sizes.d_model).to(dtype)
    cache = model(x, table, kv_cache.empty(sizes, dtype), 1)[1]
    hidden, entries = model(x[:0], table[:0], cache, 1)
    nothing = torch.ones(0, 6, dtype=torch.bool)
    theta = rotary.angles(table[:0], sizes)
    y, expected = x[:0], []
    for layer, k, v in zip(model.layers, cache.k, cache.v, strict=True):
        y, own_k, own_v = layer(y, theta, nothing, k, v)
        expected.append((own_k, own_v))
    assert (hidden.shape, hidden.dtype) == (y.shape, y.dtype) == ((0, sizes.d_model), dtype)
    for got, parts in zip((entries.k, entries.v), zip(*expected, strict=True), strict=True):
        assert (got.shape, got.dtype) == (torch.stack(parts).shape, dtype)
    after = kv_cache.concat([cache, entries])
    assert torch.equal(after.table.cells, cache.table.cells)
    assert after.k.dtype == dtype
    assert torch.equal(after.k, cache.k)
    assert torch.equal(after.v, cache.v)


def gauss(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=samples.F64)


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_rms_norm_is_torchs(eps: float) -> None:
    """WS-BACKBONE-2: over the last axis, eps inside the root, whatever the scale."""
    x, weight = gauss(5, 3, 14), gauss(14, seed=1)
    for scale in (1e-4, 1.0, 1e4):
        expected = F.rms_norm(scale * x, (14,), weight, eps)
        torch.testing.assert_close(rms_norm(scale * x, weight, eps), expected, rtol=1e-13, atol=0)
    assert not rms_norm(torch.zeros(2, 14, dtype=samples.F64), weight, eps).any()


def test_every_norm_has_the_presets_eps() -> None:
    """WS-BACKBONE-2: the preset's eps reaches the layers, the heads and the last norm."""
    sizes = attrs.evolve(samples.SMALL.backbone, norm_eps=3e-4)
    norms = [m for m in Backbone(sizes).modules() if isinstance(m, RMSNorm)]
    assert len(norms) == sizes.n_layers * 4 + 1
    assert {norm.eps for norm in norms} == {3e-4}


@pytest.mark.parametrize("switch", ["qk_norm", "qkv_bias"])
def test_switches_add_what_they_name(switch: str) -> None:
    """WS-BACKBONE-3: a bias on q, k and v and never on o; a norm of head_dim on each of q and k."""
    base = attrs.evolve(samples.SMALL.backbone, qk_norm=False, qkv_bias=False)
    without = {n: p.shape for n, p in attention.Attention(base).named_parameters()}
    on: dict[str, Any] = {switch: True}
    switched = attention.Attention(attrs.evolve(base, **on))
    added = {n: tuple(p.shape) for n, p in switched.named_parameters() if n not in without}
    assert set(without) == {f"{name}_proj.weight" for name in "qkvo"}
    if switch == "qk_norm":
        assert added == {"q_norm.weight": (14,), "k_norm.weight": (14,)}
    else:
        assert added == {"q_proj.bias": (84,), "k_proj.bias": (28,), "v_proj.bias": (28,)}


@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 2), (5, 5), (4, 1)])
def test_attention_is_torchs(heads: int, kv_heads: int) -> None:
    """WS-BACKBONE-4: grouped queries against torch's own attention, any mask."""
    q, k, v = gauss(heads, 7, 14), gauss(kv_heads, 11, 14, seed=1), gauss(kv_heads, 11, 14, seed=2)
    mask = gauss(7, 11, seed=3) > 0
    mask[:, 0] = True
    expected = F.scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=mask, enable_gqa=True
    )
    torch.testing.assert_close(attention.attend(q, k, v, mask), expected[0], rtol=0, atol=1e-13)


def test_query_head_reads_its_own_key_head() -> None:
    """WS-BACKBONE-4: head h reads key head floor(h · kv_heads / heads): runs, not rounds."""
    heads, kv_heads = 6, 2
    v = torch.arange(kv_heads, dtype=samples.F64)[:, None, None].expand(kv_heads, 3, 4)
    k, q = gauss(kv_heads, 3, 4), gauss(heads, 1, 4, seed=1)
    out = attention.attend(q, k, v.clone(), torch.ones(1, 3, dtype=torch.bool))
    assert out[:, 0, 0].round().tolist() == [h * kv_heads // heads for h in range(heads)]


def test_hidden_keys_have_no_weight_at_all() -> None:
    """WS-BACKBONE-4: whatever finite thing stands in a hidden key or value, no bit changes."""
    q, k, v = gauss(4, 3, 14), gauss(2, 8, 14, seed=1), gauss(2, 8, 14, seed=2)
    mask = torch.zeros(3, 8, dtype=torch.bool)
    mask[:, :5] = True
    out = attention.attend(q, k, v, mask)
    k[:, 5:], v[:, 5:] = 1e6, -1e6
    assert torch.equal(out, attention.attend(q, k, v, mask))


def test_mlp_is_swiglu() -> None:
    """WS-BACKBONE-5: W_down(silu(W_gate x) · W_up x), without biases."""
    sizes = samples.SMALL.backbone
    mlp = SwiGLU(sizes).double()
    assert {name for name, _ in mlp.named_parameters()} == {
        "gate_proj.weight",
        "up_proj.weight",
        "down_proj.weight",
    }
    x = gauss(5, sizes.d_model)
    gate = x @ mlp.gate_proj.weight.T
    expected = gate / (1 + torch.exp(-gate)) * (x @ mlp.up_proj.weight.T) @ mlp.down_proj.weight.T
    torch.testing.assert_close(mlp(x), expected, rtol=1e-12, atol=1e-12)
