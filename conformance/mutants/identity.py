"""Ports that get the agent's picture, its voice or the chunks of the prefill wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from einops import rearrange, repeat
from torch import Tensor

from conformance.mutants.patching import in_sessions
from reference import kv_cache, masks, patches, prefill, thinker
from reference.kv_cache import KVEntries
from reference.model import EMBEDDED_AS, WanStreamer
from reference.prefill import PrefillState
from spec import clock
from spec.layout import Layout, Modality, Row, Segment, prefill_rows
from spec.session import SessionConfig
from spec.visibility import visible

PREFILL_ROWS = prefill_rows
RUN_CHUNK = prefill.run_chunk
CHECK_CHUNK = prefill.check_chunk
VOICE_LATENTS = prefill.voice_latents


def causal_picture(q: Any, k: Any, lag: int) -> Any:
    """Tokens of the picture see only those before them."""
    both = (q.segment == Segment.P) & (k.segment == Segment.P)
    return visible(q, k, lag) & (~both | (k.slot <= q.slot))


def picture_sees_voice(q: Any, k: Any, lag: int) -> Any:
    """Tokens of the picture see the voice after them."""
    later = (q.segment == Segment.P) & (k.segment == Segment.P) & (k.modality == Modality.AUDIO)
    return visible(q, k, lag) | (later & (q.modality == Modality.VIDEO))


def voice_at_the_picture(layout: Layout) -> tuple[Row, ...]:
    """The voice begins at the picture's own tick."""
    held = clock.TICKS_PER_UNIT if layout.identity.image else 0
    return tuple(
        attrs.evolve(row, t=row.t - held, h=row.h - held, w=row.w - held)
        if row.modality == Modality.AUDIO
        else row
        for row in PREFILL_ROWS(layout)
    )


def voice_first(layout: Layout) -> tuple[Row, ...]:
    """The voice's ticks stand before the picture's."""
    ticks, held = layout.identity.voice_ticks, clock.TICKS_PER_UNIT

    def moved(row: Row) -> Row:
        if row.modality == Modality.TEXT or not layout.identity.image:
            return row
        by = ticks if row.modality == Modality.VIDEO else -held
        return attrs.evolve(row, t=row.t + by, h=row.h + by, w=row.w + by)

    return tuple(map(moved, PREFILL_ROWS(layout)))


def unshifted(layout: Layout) -> int:
    """Positions of the text alone."""
    return layout.prompt_tokens


def rows_of_shifted(layout: Layout) -> tuple[Row, ...]:
    """The rows of P as they are, where the layout says that unit 0 begins after the text."""
    by = layout.identity.voice_ticks + clock.TICKS_PER_UNIT * layout.identity.image
    return tuple(
        attrs.evolve(row, t=row.t + by, h=row.h + by, w=row.w + by)
        if row.modality == Modality.AUDIO
        else row
        for row in PREFILL_ROWS(layout)
    )


def embedded(
    model: WanStreamer, image: Tensor | None, voice: Tensor | None, rows: Sequence[Tensor]
) -> Tensor:
    """Identity tokens with one of ``rows`` for the picture, and one for the voice."""
    parts = [torch.zeros(0, model.preset.backbone.d_model, dtype=model.dtype)]
    if image is not None:
        video = patches.patchify(image, model.preset.video_codec.patch)
        parts.append(model.video_latent_proj(video) + rows[0])
    if voice is not None:
        parts.append(model.audio_latent_proj(voice) + rows[1])
    x = torch.cat(parts)
    clean: Tensor = model.tau_embedding(torch.zeros(len(x), dtype=torch.float64))
    return x + clean


def rows_swapped(self: WanStreamer, image: Tensor | None, voice: Tensor | None) -> Tensor:
    return embedded(self, image, voice, tuple(self.identity_segment_embedding.flip(0)))


def as_response(self: WanStreamer, image: Tensor | None, voice: Tensor | None) -> Tensor:
    kinds = (Segment.Z, Modality.VIDEO), (Segment.Z, Modality.AUDIO)
    return embedded(
        self, image, voice, [self.segment_embedding[EMBEDDED_AS.index(k)] for k in kinds]
    )


def without_tau(self: WanStreamer, image: Tensor | None, voice: Tensor | None) -> Tensor:
    x = embedded(self, image, voice, tuple(self.identity_segment_embedding))
    clean: Tensor = self.tau_embedding(torch.zeros(len(x), dtype=torch.float64))
    return x - clean


def one_frame(model: WanStreamer, image: Tensor) -> Tensor:
    """The picture is the last of four frames, the others are black."""
    frames = torch.zeros(1, 3, clock.VIDEO_TEMPORAL_STRIDE, *image.shape[1:], dtype=model.dtype)
    frames[:, :, -1] = image.to(model.dtype)
    return rearrange(model.video_codec.encode_whole(frames).mean, "1 c 1 h w -> c h w")


def sampled_picture(model: WanStreamer, image: Tensor) -> Tensor:
    held = repeat(image.to(model.dtype), "c h w -> 1 c t h w", t=clock.VIDEO_TEMPORAL_STRIDE)
    posterior = model.video_codec.encode_whole(held)
    spread = torch.exp(0.5 * posterior.log_variance)
    return rearrange(posterior.mean + 0.1 * spread, "1 c 1 h w -> c h w")


def voice_of_pieces(model: WanStreamer, voice: Tensor) -> Tensor:
    """Each tick is encoded by itself, from the codec's start."""
    ticks = voice.reshape(-1, clock.AGENT_SAMPLES_PER_TICK)
    return torch.cat([VOICE_LATENTS(model, tick) for tick in ticks])


def at_full_scale(model: WanStreamer, voice: Tensor) -> Tensor:
    return VOICE_LATENTS(model, voice / voice.abs().max().clamp(min=1e-6))


def last_of_all(
    model: WanStreamer, config: SessionConfig, tokens: int, state: PrefillState
) -> tuple[KVEntries, PrefillState]:
    """The first text slot is predicted from the last token of P, of whatever kind it is."""
    start = state.done
    entries, state = RUN_CHUNK(model, config, tokens, state)
    part = slice(start, start + tokens)
    hidden, _ = model.run(state.x[part], state.table[part], before(state, start), config.lag)
    return entries, attrs.evolve(state, last_hidden=hidden[-1])


def before(state: PrefillState, start: int) -> KVEntries:
    """The entries of what was run before a chunk."""
    return kv_cache.take(state.cache, torch.arange(start))


def blind_chunks(
    model: WanStreamer, config: SessionConfig, tokens: int, state: PrefillState
) -> tuple[KVEntries, PrefillState]:
    """A chunk does not see those before it."""
    start = state.done
    _, state = RUN_CHUNK(model, config, tokens, state)
    nothing = kv_cache.empty(model.preset.backbone, model.dtype)
    part = slice(start, start + tokens)
    _, entries = model.run(state.x[part], state.table[part], nothing, config.lag)
    cache = kv_cache.concat([before(state, start), entries])
    return entries, attrs.evolve(state, cache=cache)


def any_cut(layout: Layout, start: int, tokens: int) -> None:
    """A chunk may end in the middle of the picture."""
    if not 1 <= tokens <= layout.prefill_tokens - start:
        CHECK_CHUNK(layout, start, tokens)


def empty_too(layout: Layout, start: int, tokens: int) -> None:
    """A chunk of no tokens is left out."""
    if tokens:
        CHECK_CHUNK(layout, start, tokens)


MUTANTS = (
    in_sessions(
        "identity-picture-causal",
        "WS-VISIBILITY-3",
        "tokens of the identity's picture see only those before them",
        (masks, "visible", causal_picture),
    ),
    in_sessions(
        "identity-picture-sees-the-voice",
        "WS-VISIBILITY-3",
        "the identity's picture sees the voice after it",
        (masks, "visible", picture_sees_voice),
    ),
    in_sessions(
        "identity-voice-with-the-picture",
        "WS-PREFILL-2",
        "the identity's voice begins at the picture's tick",
        (prefill, "prefill_rows", voice_at_the_picture),
    ),
    in_sessions(
        "identity-voice-first",
        "WS-PREFILL-2",
        "the voice has the positions before the picture's",
        (prefill, "prefill_rows", voice_first),
    ),
    in_sessions(
        "identity-takes-no-positions",
        "WS-PREFILL-2",
        "unit 0 begins at the tick after the text",
        (Layout, "base", property(unshifted)),
        (prefill, "prefill_rows", rows_of_shifted),
    ),
    in_sessions(
        "identity-embeddings-swapped",
        "WS-PREFILL-4",
        "picture and voice have each other's row of identity_segment_embedding",
        (WanStreamer, "embed_identity", rows_swapped),
    ),
    in_sessions(
        "identity-as-a-response",
        "WS-PREFILL-4",
        "identity tokens have the segment embedding of a response",
        (WanStreamer, "embed_identity", as_response),
    ),
    in_sessions(
        "identity-without-tau",
        "WS-PREFILL-4",
        "identity tokens have no τ embedding",
        (WanStreamer, "embed_identity", without_tau),
    ),
    in_sessions(
        "identity-speaks-first",
        "WS-PREFILL-4",
        "without state slots the first word is predicted from the last identity token",
        (thinker, "run_chunk", last_of_all),
    ),
    in_sessions(
        "identity-picture-in-one-frame",
        "WS-PREFILL-3",
        "the picture is shown in the last of the four frames",
        (prefill, "picture_latents", one_frame),
    ),
    in_sessions(
        "identity-picture-sampled",
        "WS-PREFILL-3",
        "the picture's latents are a sample of the posterior, not its mean",
        (prefill, "picture_latents", sampled_picture),
    ),
    in_sessions(
        "identity-voice-tick-by-tick",
        "WS-PREFILL-3",
        "each tick of the voice is encoded from the codec's start",
        (prefill, "voice_latents", voice_of_pieces),
    ),
    in_sessions(
        "identity-voice-at-full-scale",
        "WS-PREFILL-3",
        "the voice is brought to full scale before it is encoded",
        (prefill, "voice_latents", at_full_scale),
    ),
    in_sessions(
        "chunks-see-only-themselves",
        "WS-PREFILL-5",
        "a chunk of the prefill does not see those before it",
        (thinker, "run_chunk", blind_chunks),
    ),
    in_sessions(
        "picture-cut-accepted",
        "WS-PREFILL-5",
        "a chunk may end inside the picture",
        (prefill, "check_chunk", any_cut),
    ),
    in_sessions(
        "empty-chunk-accepted",
        "WS-PREFILL-6",
        "a chunk of no tokens is left out silently",
        (prefill, "check_chunk", empty_too),
    ),
)
