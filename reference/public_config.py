"""What a public language model's ``config.json`` says about the backbone.

Source: PAPER §2.3 (initialised from a language model); the names are those of the public
Llama, Qwen2 and Qwen3 configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spec.errors import WeightsError
from spec.sizes import Backbone

FAMILIES = ("llama", "qwen2", "qwen3")


def backbone_of(config: Mapping[str, Any], where: str) -> Backbone:
    """The sizes and switches that ``config`` names (WS-WEIGHTS-2).

    Args:
        config: the parsed ``config.json``.
        where: the file, for errors.

    Raises:
        WeightsError: another family, a key that is missing, or a feature the backbone lacks.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise WeightsError(f"model_type of {where}", family, ", ".join(FAMILIES))
    refuse_other_rules(config, where)
    # Families differ in which of these they leave to be worked out from the others.
    heads = size(config, "num_attention_heads", where)
    d_model = size(config, "hidden_size", where)
    config = {
        "num_key_value_heads": heads,
        "head_dim": d_model // heads,
        **{key: value for key, value in config.items() if value is not None},
        **rope_of(config),
    }
    head_dim = size(config, "head_dim", where)
    return Backbone(
        d_model=d_model,
        n_layers=size(config, "num_hidden_layers", where),
        n_heads=heads,
        n_kv_heads=size(config, "num_key_value_heads", where),
        head_dim=head_dim,
        d_ff=size(config, "intermediate_size", where),
        rope_theta=number(config, "rope_theta", where),
        mrope_sections=sections(head_dim),
        norm_eps=number(config, "rms_norm_eps", where),
        qk_norm=family == "qwen3",
        qkv_bias=family == "qwen2" or bool(config.get("attention_bias", False)),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
    )


def refuse_other_rules(config: Mapping[str, Any], where: str) -> None:
    """Raise unless attention, rotation and activation are the ones the backbone has."""
    rope = rope_of(config)
    rules = {
        "hidden_act": (config.get("hidden_act", "silu"), "silu"),
        "rope_type": (rope.get("rope_type", rope.get("type", "default")), "default"),
        "use_sliding_window": (bool(config.get("use_sliding_window", False)), False),
    }
    for key, (value, allowed) in rules.items():
        if value != allowed:
            raise WeightsError(f"{key} of {where}", value, str(allowed))


def rope_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands beside the rotary base: ``rope_parameters``, of old ``rope_scaling``."""
    rope: Mapping[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return rope


def number(config: Mapping[str, Any], key: str, where: str) -> float:
    """The positive number called ``key``."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise WeightsError(f"{key} of {where}", value, "a positive number")
    return float(value)


def size(config: Mapping[str, Any], key: str, where: str) -> int:
    """The positive integer called ``key``."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise WeightsError(f"{key} of {where}", value, "a positive integer")
    return value


def sections(head_dim: int) -> tuple[int, int, int]:
    """Rotary frequencies of t, h and w for a model that has only t: 2 : 3 : 3, as public M-RoPE
    models have them. Text has t = h = w, so its numbers do not depend on them (WS-WEIGHTS-2)."""
    spatial = 3 * (head_dim // 2) // 8
    return head_dim // 2 - 2 * spatial, spatial, spatial
