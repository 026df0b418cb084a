"""Protocol records to the reference's tensors, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.protocol import Array, OpenRequest, UnitInput, UnitOutput
from reference.prefill import NOBODY, IdentitySignals
from reference.units import AgentUnit, Latents, UserUnit
from spec.prefill import Identity
from spec.presets import preset_named
from spec.session import SessionConfig
from spec.text import Sampling


def config_of(request: OpenRequest) -> SessionConfig:
    who, words = request.identity, request.sampling
    return SessionConfig(
        preset=preset_named(request.preset),
        schedule=request.schedule,
        modalities=request.modalities,
        prompt=request.prompt,
        identity=Identity()
        if who is None
        else Identity(image=who.image, voice_ticks=who.voice_ticks),
        sampling=Sampling()
        if words is None
        else Sampling(temperature=words.temperature, top_k=words.top_k, top_p=words.top_p),
    )


def identity_of(request: OpenRequest) -> IdentitySignals:
    who = request.identity
    if who is None:
        return NOBODY
    return IdentitySignals(image=tensor_of(who.picture), voice=tensor_of(who.voice))


def tensor_of(array: Array | None) -> Tensor | None:
    """A copy: what the suite keeps and what a port keeps never share memory."""
    return None if array is None else torch.tensor(array)


def array_of(tensor: Tensor) -> Array:
    """A C-ordered array in its wire dtype that may share the tensor's memory; nothing of ours
    writes to it again."""
    wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
    return wide.detach().contiguous().numpy()


def user_of(unit: UnitInput) -> UserUnit:
    return UserUnit(
        unit=unit.unit,
        text=unit.text,
        audio=tensor_of(unit.audio),
        video=tensor_of(unit.video),
    )


def noise_of(unit: UnitInput) -> Latents:
    return Latents(audio=tensor_of(unit.noise_audio), video=tensor_of(unit.noise_video))


def uniform_of(unit: UnitInput) -> Tensor | None:
    return tensor_of(unit.uniform)


def output_of(agent: AgentUnit) -> UnitOutput:
    def array(tensor: Tensor | None) -> Array | None:
        return None if tensor is None else array_of(tensor)

    return UnitOutput(
        unit=agent.unit,
        text=agent.text,
        logits=array_of(agent.logits),
        audio_latents=array(agent.latents.audio),
        video_latents=array(agent.latents.video),
        audio=array(agent.audio),
        video=array(agent.video),
    )
