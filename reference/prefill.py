"""The prefill: prompt, identity picture and voice, in one pass or in chunks.

Source: PAPER §2.4 (system prefill, whose cache both roles start from); identity tokens and chunks
are CHOICE (WS-PREFILL-1 to 6).
"""

from __future__ import annotations

import attrs
import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from reference import kv_cache
from reference.kv_cache import KVEntries
from reference.model import Embeddings, WanStreamer
from reference.token_table import TokenTable
from spec import clock
from spec.errors import ConfigError, TensorError
from spec.layout import Layout, prefill_rows
from spec.session import SessionConfig


@attrs.frozen(kw_only=True, eq=False)
class IdentitySignals:
    """Who the agent is: a still picture, RGB in [-1, 1], and a recording, mono 24 kHz in [-1, 1],
    of whole ticks (WS-PREFILL-3). What the session has no slots for is None."""

    image: Float[Tensor, "3 height width"] | None = None
    voice: Float[Tensor, " samples"] | None = None


NOBODY = IdentitySignals()
"""No picture and no voice."""


@attrs.frozen(eq=False)
class PrefillState:
    """P on its way: all of it as embeddings and rows, and the entries of what has been run
    (WS-PREFILL-5)."""

    x: Embeddings
    table: TokenTable
    cache: KVEntries
    last_hidden: Float[Tensor, " d_model"] | None
    """Hidden state of the last text token, once it has been run."""

    @property
    def done(self) -> int:
        """How many tokens have been run."""
        return len(self.cache)


def embed(model: WanStreamer, config: SessionConfig, identity: IdentitySignals) -> Embeddings:
    """Embeddings of all of P: text, picture, voice (WS-PREFILL-1, WS-PREFILL-3).

    Raises:
        TensorError: signals that are not those of the session's identity.
    """
    check_identity(config, identity)
    text = model.embed_prefill(config.prefill)
    if identity.image is None and identity.voice is None:
        return text
    image = None if identity.image is None else picture_latents(model, identity.image)
    voice = None if identity.voice is None else voice_latents(model, identity.voice)
    return torch.cat((text, model.embed_identity(image, voice)))


def picture_latents(
    model: WanStreamer, image: Float[Tensor, "3 height width"]
) -> Float[Tensor, "channels rows cols"]:
    """The latent frame of a unit that shows ``image`` all the time: the posterior's mean, from the
    codec's state before unit 0 (WS-PREFILL-3)."""
    held = repeat(image.to(model.dtype), "c h w -> 1 c t h w", t=clock.VIDEO_TEMPORAL_STRIDE)
    return rearrange(model.video_codec.encode_whole(held).mean, "1 c 1 h w -> c h w")


def voice_latents(
    model: WanStreamer, voice: Float[Tensor, " samples"]
) -> Float[Tensor, "ticks channels"]:
    """One latent a tick of the recording: the posterior's mean, from the codec's state before
    unit 0 (WS-PREFILL-3)."""
    mean = model.audio_codec.encode_whole(voice.to(model.dtype)[None]).mean
    return rearrange(mean, "1 c ticks -> ticks c")


def begin(
    model: WanStreamer, config: SessionConfig, identity: IdentitySignals = NOBODY
) -> PrefillState:
    """P before any of it has been run (WS-PREFILL-5).

    Raises:
        TensorError: signals that are not those of the session's identity.
    """
    return PrefillState(
        x=embed(model, config, identity),
        table=TokenTable.of(prefill_rows(config.layout)),
        cache=kv_cache.empty(model.preset.backbone, model.dtype),
        last_hidden=None,
    )


def run_chunk(
    model: WanStreamer, config: SessionConfig, tokens: int, state: PrefillState
) -> tuple[KVEntries, PrefillState]:
    """Run the next ``tokens`` tokens of P over the entries of those before (WS-PREFILL-5).

    Returns:
        Their entries, and the state with them appended.

    Raises:
        ConfigError: a chunk that is empty, runs past the end or cuts the picture.
    """
    start, stop = state.done, state.done + tokens
    check_chunk(config.layout, start, tokens)
    part = slice(start, stop)
    hidden, entries = model.run(state.x[part], state.table[part], state.cache, config.lag)
    state = attrs.evolve(state, cache=kv_cache.concat([state.cache, entries]))
    last = config.layout.prompt_tokens - 1
    if start <= last < stop:
        state = attrs.evolve(state, last_hidden=hidden[last - start])
    return entries, state


def check_chunk(layout: Layout, start: int, tokens: int) -> None:
    """Raise `ConfigError` unless ``tokens`` may follow ``start`` of P in one chunk
    (WS-PREFILL-5): the picture's tokens see each other, so they are run together."""
    left = layout.prefill_tokens - start
    if not 1 <= tokens <= left:
        raise ConfigError("prefill chunk", tokens, f"1 to {left} tokens")
    text, image = layout.prompt_tokens, layout.identity.image_slots(layout.preset)
    if text < start + tokens < text + image:
        raise ConfigError(
            "prefill chunk",
            tokens,
            f"an end outside the picture, tokens {text} to {text + image - 1}",
        )


def check_identity(config: SessionConfig, identity: IdentitySignals) -> None:
    """Raise `TensorError` unless the signals are those of the session's identity
    (WS-PREFILL-6)."""
    preset, wanted = config.preset, config.identity
    samples = wanted.voice_ticks * clock.AGENT_SAMPLES_PER_TICK
    signals: list[tuple[str, Tensor | None, bool, tuple[int, ...]]] = [
        ("image", identity.image, wanted.image, (3, preset.frame_height, preset.frame_width)),
        ("voice", identity.voice, wanted.voice_ticks > 0, (samples,)),
    ]
    for name, tensor, present, shape in signals:
        what = f"identity {name}"
        if (tensor is not None) != present:
            value = "none" if tensor is None else tuple(tensor.shape)
            raise TensorError(what, value, f"shape {shape}" if present else "none in this session")
        if tensor is not None and tuple(tensor.shape) != shape:
            raise TensorError(what, tuple(tensor.shape), f"shape {shape}")
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise TensorError(what, "NaN or Inf", "finite values")
