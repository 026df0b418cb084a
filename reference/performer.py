"""The performer: only the flow-matching solver, over a cache it is sent.

Source: PAPER §2.4; design §8.
"""

from __future__ import annotations

import attrs
import torch

from reference import flow, kv_cache
from reference.commit import commit_response
from reference.flow import VelocityField
from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.token_table import TokenTable
from reference.units import Latents
from spec.errors import TensorError
from spec.layout import response_rows
from spec.session import SessionConfig


@attrs.frozen(eq=False)
class PerformerState:
    """The performer's own full-history cache (WS-STREAMING-2)."""

    cache: KVEntries


def receive(entries: KVEntries, state: PerformerState | None) -> PerformerState:
    """Append a KV slice; the first one is the prefill (WS-STREAMING-2)."""
    if state is None:
        return PerformerState(entries)
    return PerformerState(kv_cache.concat([state.cache, entries]))


def solve(
    model: WanStreamer, config: SessionConfig, unit: int, noise: Latents, state: PerformerState
) -> Latents:
    """z_k: N solver evaluations over Z_k, the cache read only (WS-STREAMING-2, WS-FLOW-4).

    The keys and values made while solving are scratch: they are dropped (WS-STREAMING-3).
    """
    start = starting_state(model, config, unit, noise)
    field = velocity_field(model, config, unit, state)
    return flow.solve(field, start, flow.tau_grid(config.preset.solver_steps))


def velocity_field(
    model: WanStreamer, config: SessionConfig, unit: int, state: PerformerState
) -> VelocityField:
    """f_θ(z_τ^a, z_τ^v, c_k, τ) of Eq. (3) with c_k in the cache, which is only read
    (WS-STREAMING-3)."""

    def field(z: Latents, tau: float, step: int) -> Latents:
        rows = response_rows(config.layout, unit, noisy=True, step=step, tau=tau)
        table = TokenTable.of(rows)
        hidden, _ = model.run(model.embed_response(z, table.tau), table, state.cache, config.lag)
        return model.velocity(hidden, z)

    return field


def starting_state(model: WanStreamer, config: SessionConfig, unit: int, noise: Latents) -> Latents:
    """ε in the model's dtype (WS-FLOW-7).

    Raises:
        TensorError: it has not what the agent has, in its shapes, or is not finite.
    """
    preset, has = config.preset, config.modalities
    video = (preset.video_codec.latent_channels, preset.latent_height, preset.latent_width)
    audio = (4, preset.audio_codec.latent_channels)
    for name, tensor, wanted, shape in (
        ("audio", noise.audio, has.agent_audio, audio),
        ("video", noise.video, has.agent_video, video),
    ):
        came = None if tensor is None else tuple(tensor.shape)
        if came != (shape if wanted else None):
            raise TensorError(f"{name} noise of unit {unit}", came, f"{shape if wanted else None}")
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise TensorError(f"{name} noise of unit {unit}", "NaN or Inf", "finite values")
    return Latents(
        audio=None if noise.audio is None else noise.audio.to(model.dtype),
        video=None if noise.video is None else noise.video.to(model.dtype),
    )


def commit(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, state: PerformerState
) -> PerformerState:
    """Append the performer's own clean entries of Z_k (WS-STREAMING-3, overlapped only)."""
    entries = commit_response(model, config, unit, z, state.cache)
    return attrs.evolve(state, cache=kv_cache.concat([state.cache, entries]))
