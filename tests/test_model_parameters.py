"""The table of parameters on the page of the model names what the model has, in its shapes."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from reference import recipe
from reference.model import WanStreamer
from spec.presets import TINY, TINY_BARE
from spec.sizes import Preset

PAGE = (Path(__file__).parent.parent / "spec" / "model.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| `([a-z_.{}0-9]+)`(, `\.bias`)? \| \[([^]]+)\] \|")
PARTS = ("video_codec.", "audio_codec.", "video_encoder.", "audio_encoder.")


def sizes(preset: Preset) -> dict[str, int]:
    """What the words in the shapes of the table stand for."""
    fields = {**attrs.asdict(preset), **attrs.asdict(preset.backbone)}
    return {
        **{name: value for name, value in fields.items() if isinstance(value, int)},
        "vocab_size": preset.tokenizer.vocab_size,
        "Ca": preset.audio_codec.latent_channels,
        "Cv": preset.video_codec.latent_channels,
        "Fa": preset.encoders.audio_channels,
        "Fv": preset.encoders.video_channels[-1],
        "p": preset.video_codec.patch,
    }


def axis(text: str, words: dict[str, int]) -> int:
    product = 1
    for factor in text.split(" · "):
        product *= words[factor] if factor in words else int(factor)
    return product


def tabled(preset: Preset) -> dict[str, tuple[int, ...]]:
    """The parameters of the table that ``preset`` has."""
    words, backbone = sizes(preset), preset.backbone
    found: dict[str, tuple[int, ...]] = {}
    for name, bias, shape in ROW.findall(PAGE):
        axes = tuple(axis(text, words) for text in shape.split(", "))
        layers = range(backbone.n_layers) if "{i}" in name else (0,)
        for full in (name.replace("{i}", str(i)) for i in layers):
            found[full] = axes
            if bias:
                found[full.removesuffix("weight") + "bias"] = axes[:1]
    absent = {
        r"\.(q|k)_norm\.": backbone.qk_norm,
        r"self_attn\.[qkv]_proj\.bias$": backbone.qkv_bias,
        r"^lm_head\.": not backbone.tied_embeddings,
    }
    gone = [pattern for pattern, there in absent.items() if not there]
    return {n: s for n, s in found.items() if not any(re.search(g, n) for g in gone)}


@pytest.mark.parametrize("preset", [TINY, TINY_BARE], ids=lambda p: p.name)
def test_ws_model_1_the_table_is_complete(preset: Preset) -> None:
    """WS-MODEL-1, WS-RECIPE-6: names, shapes, and the digest below the table (WS-RECIPE-7)."""
    model = WanStreamer(preset)
    recipe.fill(model)
    there = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert tabled(preset) == {n: s for n, s in there.items() if not n.startswith(PARTS)}
    assert all(name.startswith(PARTS) or name in tabled(preset) for name in there)
    (line,) = (line for line in PAGE.splitlines() if re.search(f"^- .*`{preset.name}`", line))
    assert f"`{recipe.weights_sha256(model)}`" in line
