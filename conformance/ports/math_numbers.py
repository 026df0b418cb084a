"""Float formulas of the math profile, answered by the reference's own functions and modules.

Only shapes are adapted here; every number is made in `reference` (WS-CONFORMANCE-16).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import torch
from torch import Tensor, nn

from reference import (
    attention,
    causal_blocks,
    flow,
    guidance,
    kv_cache,
    latent_norm,
    log_mel,
    patches,
    rms_norm,
    rotary,
    schedules,
    solvers,
)
from reference.backbone import Backbone
from reference.causal_conv import CausalConv, CausalLayer
from reference.latent_norm import LatentNorm, Posterior
from reference.model import TauEmbedding, WanStreamer
from reference.swiglu import SwiGLU
from reference.token_table import COLUMNS, TokenTable
from reference.units import Latents
from spec.presets import TINY
from spec.sizes import Backbone as Sizes
from spec.sizes import Encoders, Preset

Arguments = Mapping[str, Any]
Tensors = Mapping[str, Tensor]
Results = Mapping[str, Tensor]
Answer = Callable[[Arguments, Tensors], Results]


def filled(module: nn.Module, weights: Tensors, at: str = "") -> nn.Module:
    """``module`` with the parameters called ``at`` + their own name, in the dtype of those."""
    own = {name: weights[at + name] for name, _ in module.named_parameters()}
    for name, value in own.items():
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, nn.Parameter(value, requires_grad=False))
    return module


def sizes(a: Arguments, d_model: int, d_ff: int = 1) -> Sizes:
    return Sizes(
        d_model=d_model,
        n_layers=a.get("n_layers", 1),
        n_heads=a.get("n_heads", 1),
        n_kv_heads=a.get("n_kv_heads", 1),
        head_dim=a.get("head_dim", 2),
        d_ff=d_ff,
        rope_theta=a.get("theta", 10_000.0),
        mrope_sections=tuple(a.get("sections", (1, 0, 0))),
        norm_eps=a.get("eps", 1e-6),
        qk_norm=a.get("qk_norm", False),
        qkv_bias=a.get("qkv_bias", False),
        tied_embeddings=False,
    )


def at_positions(positions: Tensor) -> TokenTable:
    """A table of which only t, h and w matter."""
    cells = torch.zeros(len(positions), len(COLUMNS), dtype=torch.int64)
    cells[:, 4:7] = positions
    return TokenTable(cells, torch.zeros(len(cells), dtype=torch.float64))


def rotary_angles(a: Arguments, t: Tensors) -> Tensor:
    return rotary.angles(at_positions(t["positions"]), sizes(a, 1))


def rotary_factors(a: Arguments, t: Tensors) -> Results:
    """The pair (1, 0) turns into (cos, sin)."""
    theta = rotary_angles(a, t)
    ones = torch.ones(1, *theta.shape, dtype=a["torch_dtype"])
    turned = rotary.rotate(torch.cat((ones, torch.zeros_like(ones)), dim=-1), theta)[0]
    cos, sin = turned.chunk(2, dim=-1)
    return {"cos": cos, "sin": sin}


def attend(_: Arguments, t: Tensors) -> Results:
    return {"y": attention.attend(t["q"], t["k"], t["v"], t["mask"] != 0)}


def attention_block(a: Arguments, t: Tensors) -> Results:
    cfg = sizes(a, t["x"].shape[1])
    block = filled(attention.Attention(cfg), t)
    nothing = t["x"].new_zeros(cfg.n_kv_heads, 0, cfg.head_dim)
    y, k, v = block(t["x"], rotary_angles(a, t), t["mask"] != 0, nothing, nothing)
    return {"y": y, "k": k, "v": v}


def swiglu(a: Arguments, t: Tensors) -> Results:
    d_ff, d = t["gate_proj.weight"].shape
    return {"y": filled(SwiGLU(sizes(a, d, d_ff)), t)(t["x"])}


def run(a: Arguments, t: Tensors) -> Results:
    d_ff, d = t["layers.0.mlp.gate_proj.weight"].shape
    cfg = sizes(a, d, d_ff)
    table = TokenTable(t["rows"], torch.zeros(len(t["rows"]), dtype=torch.float64))
    nothing = kv_cache.empty(cfg, t["x"].dtype)
    hidden, _ = filled(Backbone(cfg), t)(t["x"], table, nothing, a["lag"])
    return {"hidden": hidden}


def grid(a: Arguments, _: Tensors) -> Results:
    return {"grid": torch.tensor(schedules.schedule(a["steps"], a["shift"]), dtype=torch.float64)}


def declared_grid(_: Arguments, t: Tensors) -> Results:
    values = schedules.declared(tuple(t["grid"].tolist()))
    return {"grid": torch.tensor(values, dtype=torch.float64)}


def solve(a: Arguments, t: Tensors) -> Results:
    n = len(t["audio"])

    def field(z: Latents, tau: float, step: int) -> Latents:
        assert z.audio is not None
        assert z.video is not None
        v = t["A"] @ torch.cat((z.audio, z.video)) + tau * t["b"] + step * t["c"]
        return Latents(audio=v[:n], video=v[n:])

    noise = Latents(audio=t["audio"], video=t["video"])
    walk = flow.solve if a["solver"] == "euler" else solvers.solve_midpoint
    z = walk(field, noise, schedules.declared(tuple(t["grid"].tolist())))
    assert z.audio is not None
    assert z.video is not None
    return {"audio": z.audio, "video": z.video}


def guide(a: Arguments, t: Tensors) -> Results:
    cond, uncond = (Latents(audio=t[name], video=None) for name in ("cond", "uncond"))
    velocity = guidance.guide(cond, uncond, a["scale"]).audio
    assert velocity is not None
    return {"velocity": velocity}


def tau_embedding(a: Arguments, t: Tensors) -> Results:
    d = t["out_proj.weight"].shape[0]
    return {"y": filled(TauEmbedding(a["dim"], d), t)(t["tau"])}


def streamed(layer: CausalLayer, x: Tensor, plan: Sequence[int]) -> Tensor:
    """x [c, T, ...] in chunks; all at once by the offline form when there is no plan."""
    if not plan:
        return layer.whole(x[None])[0]
    state, parts = layer.init_state(1), []
    for chunk in torch.split(x[None], list(plan), dim=2):
        y, state = layer.step(chunk, state)
        parts.append(y)
    return torch.cat(parts, dim=2)[0]


def conv(a: Arguments, t: Tensors) -> Results:
    c_out, c_in, *kernel = t["weight"].shape
    layer = CausalConv((c_in, c_out), tuple(kernel), tuple(a["stride"]), tuple(t["x"].shape[2:]))
    filled(layer, t)
    return {"y": streamed(layer, t["x"], a["plan"])}


def residual(a: Arguments, t: Tensors) -> Results:
    layer = causal_blocks.Residual(t["x"].shape[0], tuple(t["x"].shape[2:]))
    filled(layer, t)
    return {"y": streamed(layer, t["x"], a["plan"])}


def channel_norm(_: Arguments, t: Tensors) -> Results:
    layer = causal_blocks.ChannelNorm(len(t["weight"]))
    filled(layer, t)
    return {"y": layer.whole(t["x"][None])[0]}


def silu(_: Arguments, t: Tensors) -> Results:
    """As one channel of one signal, whatever the shape."""
    return {"y": causal_blocks.SiLU().whole(t["x"].reshape(1, 1, -1)).reshape(t["x"].shape)}


def upsample(a: Arguments, t: Tensors) -> Results:
    layer: CausalLayer = causal_blocks.DepthToTime(a["time"])
    if t["x"].ndim > 2:
        layer = causal_blocks.DepthToVolume(a["time"], a["side"])
    return {"y": layer.whole(t["x"][None])[0]}


def posterior(_: Arguments, t: Tensors) -> Results:
    found = latent_norm.posterior_from_moments(t["moments"][None])
    return {"mean": found.mean[0], "log_variance": found.log_variance[0]}


def statistics(t: Tensors) -> LatentNorm:
    norm = LatentNorm(len(t["latent_mean"]))
    filled(norm, t)
    return norm


def normalise(_: Arguments, t: Tensors) -> Results:
    raw = Posterior(mean=t["mean"][None], log_variance=t["log_variance"][None])
    found = statistics(t).normalise(raw)
    return {"mean": found.mean[0], "log_variance": found.log_variance[0]}


def mel_sizes(a: Arguments) -> Encoders:
    # The hop of a preset divides a tick; a formula by itself takes any.
    odd = attrs.evolve(TINY.encoders, n_mels=a["mels"], mel_window=a["window"], mel_hop=1)
    object.__setattr__(odd, "mel_hop", a["hop"])
    return odd


def mel(a: Arguments, t: Tensors) -> Results:
    x, s = t["samples"][None], mel_sizes(a)
    if not a["plan"] and x.shape[1]:
        return {"features": log_mel.log_mel_whole(x, s)[0]}
    state, parts = log_mel.mel_state(1, s, x.dtype), []
    for chunk in torch.split(x, list(a["plan"]) or x.shape[1], dim=1):
        frames, state = log_mel.log_mel(chunk, state, s)
        parts.append(frames)
    return {"features": torch.cat(parts, dim=2)[0]}


def odd_preset(a: Arguments, d_model: int) -> Preset:
    cfg = attrs.evolve(TINY.backbone, d_model=d_model, n_layers=1)
    return attrs.evolve(TINY, backbone=cfg, tau_dim=a.get("tau_dim", 2))


class Ways(WanStreamer):
    """The ways in and the heads of a model, without the rest, with given weights."""

    def __init__(self, preset: Preset, weights: Tensors) -> None:
        nn.Module.__init__(self)
        self.preset = preset
        d = preset.backbone.d_model
        self._weights = weights
        self.embed_tokens = nn.Embedding(preset.tokenizer.vocab_size, d)
        if "embed_tokens.weight" in weights:
            filled(self.embed_tokens, weights, "embed_tokens.")
        else:
            self.embed_tokens.to(next(iter(weights.values())).dtype)
        for name in ("segment_embedding", "identity_segment_embedding", "state_embedding"):
            if name in weights:
                setattr(self, name, nn.Parameter(weights[name], requires_grad=False))
        for name in (
            "user_video_proj", "user_audio_proj", "audio_latent_proj", "video_latent_proj",
            "audio_velocity_head", "video_velocity_head", "lm_head",
        ):  # fmt: skip
            weight = weights.get(f"{name}.weight")
            if weight is not None:
                out, width = weight.shape
                linear = nn.Linear(width, out, bias=f"{name}.bias" in weights)
                setattr(self, name, filled(linear, weights, f"{name}."))
        if "tau_embedding.in_proj.weight" in weights:
            tau = TauEmbedding(preset.tau_dim, d)
            self.tau_embedding = tau
            filled(tau, weights, "tau_embedding.")


def ways(a: Arguments, t: Tensors, d_model: int) -> Ways:
    preset = odd_preset(a, d_model)
    if "patch_rows" in a:
        side, codec = 16 * a["patch"], attrs.evolve(preset.video_codec, patch=a["patch"])
        preset = attrs.evolve(
            preset,
            frame_height=side * a["patch_rows"],
            frame_width=2 * side,
            video_codec=codec,
        )
    return Ways(preset, t)


def observation(a: Arguments, t: Tensors) -> Results:
    model = ways(a, t, t["segment_embedding"].shape[1])
    return {"x": model.embed_observation(t.get("video"), t.get("audio"), tuple(a["text"]))}


def language(a: Arguments, t: Tensors) -> Results:
    model = ways(a, t, t["segment_embedding"].shape[1])
    return {
        "state": model.embed_state(),
        "text": model.embed_agent_text(tuple(a["text"])),
        "prefill": model.embed_prefill(tuple(a["prefill"])),
    }


def response(a: Arguments, t: Tensors) -> Results:
    model = ways(a, t, t["segment_embedding"].shape[1])
    if a["segment"] == "P":
        return {"x": model.embed_identity(t["video"], t["audio"])}
    return {"x": model.embed_response(Latents(audio=t["audio"], video=t["video"]), t["tau"])}


def velocity(a: Arguments, t: Tensors) -> Results:
    hidden, n = t["hidden"], a["audio_tokens"]
    model = ways(a, t, hidden.shape[1])
    z = Latents(audio=hidden.new_zeros(n, 1), video=hidden.new_zeros(1, 1, 1))
    found = model.velocity(hidden, z)
    assert found.audio is not None
    assert found.video is not None
    return {"audio": found.audio, "video": found.video}


ANSWERS: Final[Mapping[str, Answer]] = {
    "positions.rotary_factors": rotary_factors,
    "positions.rotate": lambda a, t: {"y": rotary.rotate(t["x"], rotary_angles(a, t))},
    "backbone.rms_norm": lambda a, t: {"y": rms_norm.rms_norm(t["x"], t["weight"], a["eps"])},
    "backbone.attend": attend,
    "backbone.attention": attention_block,
    "backbone.swiglu": swiglu,
    "backbone.run": run,
    "model.embed_observation": observation,
    "model.embed_language": language,
    "model.embed_response": response,
    "model.velocity": velocity,
    "model.logits": lambda a, t: {"logits": ways(a, t, t["hidden"].shape[1]).logits(t["hidden"])},
    "flow.interpolate": lambda a, t: {"z": flow.interpolate(t["z_0"], t["eps"], a["tau"])},
    "flow.velocity_target": lambda _, t: {"velocity": flow.velocity_target(t["z_0"], t["eps"])},
    "flow.loss": lambda _, t: {"loss": flow.flow_loss(t["velocity"], t["z_0"], t["eps"])},
    "flow.grid": grid,
    "flow.declared_grid": declared_grid,
    "flow.euler_step": lambda a, t: {
        "z": flow.euler_step(t["z"], t["velocity"], a["tau"], a["tau_next"])
    },
    "flow.solve": solve,
    "flow.solve_midpoint": solve,
    "flow.guide": guide,
    "flow.tau_features": lambda a, t: {
        "features": flow.tau_features(t["tau"], a["dim"]).to(a["torch_dtype"])
    },
    "flow.tau_embedding": tau_embedding,
    "codec.conv": conv,
    "codec.channel_norm": channel_norm,
    "codec.silu": silu,
    "codec.residual": residual,
    "codec.upsample": upsample,
    "codec.space_to_depth": lambda a, t: {
        "y": causal_blocks.SpaceToDepth(a["side"]).whole(t["x"][None])[0]
    },
    "codec.patchify": lambda a, t: {"tokens": patches.patchify(t["z"], a["patch"])},
    "codec.unpatchify": lambda a, t: {
        "z": patches.unpatchify(t["tokens"], a["patch"], a["patch_rows"])
    },
    "codec.posterior": posterior,
    "codec.normalise": normalise,
    "codec.denormalise": lambda _, t: {"z": statistics(t).denormalise(t["z"][None])[0]},
    "encoder.hann": lambda a, _: {"hann": log_mel.hann(a["window"], a["torch_dtype"])},
    "encoder.mel_filters": lambda a, _: {
        "filters": log_mel.mel_filters(a["mels"], a["window"], a["torch_dtype"])
    },
    "encoder.log_mel": mel,
}
