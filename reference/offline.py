"""The offline form: the whole sequence at once, a dense mask, no cache. It defines streaming.

Every pass runs over all K units, those still to be generated included as placeholders; only the
mask keeps a query from the future. Encoders and decoders run once over the whole clip from their
initial state. It is slow on purpose.
Source: PAPER Eq. (1), §2.1; design §8.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch

from reference import flow, kv_cache, performer, prefill, sampling, thinker
from reference.model import Embeddings, WanStreamer
from reference.prefill import NOBODY, IdentitySignals
from reference.token_table import TokenTable
from reference.units import AgentUnit, Latents, UserUnit
from spec.errors import TensorError
from spec.layout import (
    Modality,
    Segment,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.session import SessionConfig


@attrs.define(eq=False)
class Clip:
    """All of a session: what is given, and what has been generated so far."""

    users: Sequence[UserUnit]
    prefill: Embeddings
    observations: list[Embeddings]
    text: list[list[int]]
    z: list[Latents]


def generate(
    model: WanStreamer,
    config: SessionConfig,
    users: Sequence[UserUnit],
    noises: Sequence[Latents],
    agent_texts: Sequence[tuple[int, ...] | None] | None = None,
    uniforms: Sequence[torch.Tensor | None] | None = None,
    identity: IdentitySignals = NOBODY,
) -> list[AgentUnit]:
    """y_{0..K-1} for u_{0..K-1}, by Eq. (1), unit after unit (WS-STREAMING-10).

    Args:
        users: the whole clip.
        noises: ε of each unit.
        agent_texts: ids to say instead of the model's own, unit by unit; None for its own.
        uniforms: numbers in [0, 1) for every unit, if the session samples (WS-TEXT-3).
        identity: picture and voice, if the session has them (WS-PREFILL-3).

    Raises:
        TensorError: no unit, a unit out of turn, or a signal, a text or a noise that does not fit
            the session.
    """
    if not users:
        raise TensorError("offline units", 0, "at least one")
    for k, user in enumerate(users):
        if user.unit != k:
            raise TensorError("user unit", user.unit, f"unit {k}, the next one")
    starts = [performer.starting_state(model, config, k, noise) for k, noise in enumerate(noises)]
    for k, forced in enumerate(agent_texts or ()):
        if forced is not None:
            thinker.check_agent_text(config, k, forced)
    for k in range(len(users)):
        sampling.check_uniform(config, k, *_of_unit(uniforms, agent_texts, k))
    wait = (config.preset.tokenizer.wait,) * config.layout.agent_text_slots
    clip = Clip(
        users=users,
        prefill=prefill.embed(model, config, identity),
        observations=observe(model, config, users),
        text=[list(wait) for _ in users],
        z=[_blank(start) for start in starts],
    )
    logits = []
    for k, start in enumerate(starts):
        logits.append(speak(model, config, clip, k, *_of_unit(uniforms, agent_texts, k)))
        clip.z[k] = solve(model, config, clip, k, start)
    audio, video = decode(model, clip.z)
    return [
        AgentUnit(
            unit=k,
            text=tuple(clip.text[k]),
            logits=logits[k],
            latents=clip.z[k],
            audio=None if audio is None else audio[k],
            video=None if video is None else video[k],
        )
        for k in range(len(users))
    ]


def _of_unit(
    uniforms: Sequence[torch.Tensor | None] | None,
    agent_texts: Sequence[tuple[int, ...] | None] | None,
    k: int,
) -> tuple[torch.Tensor | None, tuple[int, ...] | None]:
    """What decides the words of unit k."""
    return (
        None if uniforms is None else uniforms[k],
        None if agent_texts is None else agent_texts[k],
    )


def _blank(like: Latents) -> Latents:
    """A placeholder for a response not yet generated; no visible token ever reads it."""
    return Latents(
        audio=None if like.audio is None else torch.zeros_like(like.audio),
        video=None if like.video is None else torch.zeros_like(like.video),
    )


def observe(
    model: WanStreamer, config: SessionConfig, users: Sequence[UserUnit]
) -> list[Embeddings]:
    """Embeddings of O_0 ... O_{K-1}, encoders run over the whole clip (WS-STREAMING-10)."""
    for user in users:
        thinker.check_user_unit(config, user)
    count = len(users)
    video: Sequence[torch.Tensor | None] = [None] * count
    audio: Sequence[torch.Tensor | None] = [None] * count
    if config.modalities.user_video:
        frames = torch.cat([u.video for u in users if u.video is not None]).to(model.dtype)
        video = model.video_encoder.encode_whole(frames.transpose(0, 1)[None])[0].chunk(count)
    if config.modalities.user_audio:
        samples = torch.cat([u.audio for u in users if u.audio is not None]).to(model.dtype)
        audio = model.audio_encoder.encode_whole(samples[None])[0].chunk(count)
    return [
        model.embed_observation(v, a, thinker.padded_text(config, user))
        for v, a, user in zip(video, audio, users, strict=True)
    ]


def sequence(
    model: WanStreamer, config: SessionConfig, clip: Clip
) -> tuple[Embeddings, TokenTable]:
    """The clean sequence P, then O_k, L_k, Z_k for every k, whole (WS-LAYOUT-1)."""
    layout = config.layout
    x, rows = [clip.prefill], [*prefill_rows(layout)]
    for k, user in enumerate(clip.users):
        clean = response_rows(layout, k)
        x.append(clip.observations[k])
        x.append(model.embed_state())
        if layout.agent_text_slots:
            x.append(model.embed_agent_text(tuple(clip.text[k])))
        x.append(model.embed_response(clip.z[k], TokenTable.of(clean).tau))
        rows += observation_rows(layout, k, len(user.text)) + language_rows(layout, k) + clean
    return torch.cat(x), TokenTable.of(rows)


def run(model: WanStreamer, config: SessionConfig, x: Embeddings, table: TokenTable) -> Embeddings:
    """Hidden states of one pass with the dense mask and no cache (WS-STREAMING-10)."""
    nothing = kv_cache.empty(model.preset.backbone, model.dtype)
    hidden, _ = model.run(x, table, nothing, config.lag)
    return hidden


def speak(
    model: WanStreamer,
    config: SessionConfig,
    clip: Clip,
    k: int,
    uniform: torch.Tensor | None,
    forced: tuple[int, ...] | None,
) -> torch.Tensor:
    """Fill the text slots of unit k one after the other; their logits (WS-LAYOUT-4)."""
    language = language_rows(config.layout, 0)
    logits = [torch.zeros(0, model.preset.tokenizer.vocab_size, dtype=model.dtype)]
    for i in range(config.layout.agent_text_slots):
        x, table = sequence(model, config, clip)
        hidden = run(model, config, x, table)
        # The language tokens in order: prompt, then every L; the one before the slot predicts it.
        prompt = (table.segment == Segment.P) & (table.modality == Modality.TEXT)
        spoken = prompt | (table.segment == Segment.L)
        order = torch.nonzero(spoken).squeeze(-1)
        slot = config.layout.prompt_tokens + k * len(language) + config.layout.state_slots + i
        logits.append(model.logits(hidden[order[slot - 1]][None]))
        if forced is None:
            said = clip.text[k][:i]
            clip.text[k][i] = thinker.next_token(config, said, logits[-1][0], uniform)
        else:
            clip.text[k][i] = forced[i]
    return torch.cat(logits)


def solve(model: WanStreamer, config: SessionConfig, clip: Clip, k: int, start: Latents) -> Latents:
    """z_k: every evaluation appends the noisy Z_k to the whole clean sequence (WS-FLOW-4)."""
    clean_x, clean_table = sequence(model, config, clip)

    def field(z: Latents, tau: float, step: int) -> Latents:
        rows = response_rows(config.layout, k, noisy=True, step=step, tau=tau)
        noisy = TokenTable.of(rows)
        x = torch.cat((clean_x, model.embed_response(z, noisy.tau)))
        hidden = run(model, config, x, TokenTable.cat((clean_table, noisy)))
        return model.velocity(hidden[len(clean_table) :], z)

    return flow.solve(field, start, flow.tau_grid(config.preset.solver_steps))


def decode(
    model: WanStreamer, z: Sequence[Latents]
) -> tuple[Sequence[torch.Tensor] | None, Sequence[torch.Tensor] | None]:
    """Audio and video of all units, decoders run over the whole clip (WS-STREAMING-10)."""
    audio, video = None, None
    if z[0].audio is not None:
        latents = torch.cat([u.audio for u in z if u.audio is not None])
        audio = model.audio_codec.decode_whole(latents.T[None])[0].chunk(len(z))
    if z[0].video is not None:
        latents = torch.stack([u.video for u in z if u.video is not None], dim=1)
        frames = model.video_codec.decode_whole(latents[None])[0]
        video = frames.transpose(0, 1).chunk(len(z))
    return audio, video
