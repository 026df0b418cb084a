"""The thinker: encoders, the token-causal pass for language and state, decoders.

Pure functions over an explicit state; the same functions serve one process and two.
Source: PAPER §2.4; design §8.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from jaxtyping import Float
from torch import Tensor

from reference import kv_cache, sampling
from reference.causal_conv import State as ConvState
from reference.commit import commit_response
from reference.kv_cache import KVEntries
from reference.model import Embeddings, WanStreamer
from reference.prefill import NOBODY, IdentitySignals, begin, run_chunk
from reference.token_table import TokenTable
from reference.units import Latents, UserUnit
from spec.errors import ConfigError, TensorError
from spec.layout import language_rows, observation_rows
from spec.session import SessionConfig


@attrs.frozen(eq=False)
class ThinkerState:
    """All the thinker remembers between units (WS-STREAMING-2).

    ``last_hidden`` is the hidden state of the newest language token; it predicts the first text
    slot when there is no state slot (WS-LAYOUT-4).
    """

    cache: KVEntries
    last_hidden: Float[Tensor, " d_model"]
    video_encoder: ConvState
    audio_encoder: ConvState
    video_decoder: ConvState
    audio_decoder: ConvState


@attrs.frozen(eq=False)
class Language:
    """y_k^t: one token id a text slot and the logits each was chosen from (WS-TEXT-7)."""

    text: tuple[int, ...]
    logits: Float[Tensor, "slots vocab"]


def prefill(
    model: WanStreamer,
    config: SessionConfig,
    identity: IdentitySignals = NOBODY,
    chunks: Sequence[int] | None = None,
) -> tuple[KVEntries, ThinkerState]:
    """Run the prefill P (WS-STREAMING-1, WS-PREFILL-5).

    Args:
        identity: picture and voice, if the session has them.
        chunks: tokens of P to run at a time; None runs all of them in one pass.

    Returns:
        Its cache entries, which the thinker sends once as unit -1, and the state before unit 0.

    Raises:
        TensorError: signals that are not those of the session's identity.
        ConfigError: chunks that are not a plan for this prefill.
    """
    prefilled = begin(model, config, identity)
    total = config.layout.prefill_tokens
    for tokens in (total,) if chunks is None else chunks:
        _, prefilled = run_chunk(model, config, tokens, prefilled)
    if prefilled.done != total or prefilled.last_hidden is None:
        raise ConfigError("prefill chunks", f"{prefilled.done} tokens", f"{total} in all")
    state = ThinkerState(
        cache=prefilled.cache,
        last_hidden=prefilled.last_hidden,
        video_encoder=model.video_encoder.init_state(1),
        audio_encoder=model.audio_encoder.init_state(1),
        video_decoder=model.video_codec.decoder_state(1),
        audio_decoder=model.audio_codec.decoder_state(1),
    )
    return prefilled.cache, state


def observe(
    model: WanStreamer, config: SessionConfig, user: UserUnit, state: ThinkerState
) -> tuple[Embeddings, ThinkerState]:
    """Causal encoders over u_k, then the embeddings of O_k (WS-STREAMING-2)."""
    check_user_unit(config, user)
    video, audio = None, None
    if user.video is not None:
        frames = user.video.to(model.dtype).transpose(0, 1)[None]
        features, encoder = model.video_encoder.encode(frames, state.video_encoder)
        video, state = features[0], attrs.evolve(state, video_encoder=encoder)
    if user.audio is not None:
        features, encoder = model.audio_encoder.encode(
            user.audio.to(model.dtype)[None], state.audio_encoder
        )
        audio, state = features[0], attrs.evolve(state, audio_encoder=encoder)
    return model.embed_observation(video, audio, padded_text(config, user)), state


def padded_text(config: SessionConfig, user: UserUnit) -> tuple[int, ...]:
    """The user's ids, one a slot; ``<wait>`` stands in the padding slots (WS-LAYOUT-3)."""
    free = config.layout.user_text_slots - len(user.text)
    return (*user.text, *(config.preset.tokenizer.wait,) * free)


def check_user_unit(config: SessionConfig, user: UserUnit) -> None:
    """Raise `TensorError` unless ``user`` has what the session has, in its shapes."""
    layout, preset = config.layout, config.preset
    shapes: list[tuple[str, Tensor | None, bool, tuple[int, ...]]] = [
        ("video", user.video, layout.modalities.user_video,
         (4, 3, preset.frame_height, preset.frame_width)),
        ("audio", user.audio, layout.modalities.user_audio, (2560,)),
    ]  # fmt: skip
    for name, tensor, wanted, shape in shapes:
        what = f"user {name} of unit {user.unit}"
        if (tensor is not None) != wanted:
            value = "none" if tensor is None else tuple(tensor.shape)
            raise TensorError(what, value, f"shape {shape}" if wanted else "none in this session")
        if tensor is not None and tuple(tensor.shape) != shape:
            raise TensorError(what, tuple(tensor.shape), f"shape {shape}")
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise TensorError(what, "NaN or Inf", "finite values")
    check_text(config, f"user text of unit {user.unit}", user.text, layout.user_text_slots)


def check_agent_text(config: SessionConfig, unit: int, text: tuple[int, ...]) -> None:
    """Raise `TensorError` unless ``text`` fills the agent's text slots."""
    what, slots = f"agent text of unit {unit}", config.layout.agent_text_slots
    check_text(config, what, text, slots)
    if len(text) != slots:
        raise TensorError(what, f"{len(text)} tokens", f"{slots}")


def check_text(config: SessionConfig, what: str, text: tuple[int, ...], slots: int) -> None:
    """Raise `TensorError` unless ``text`` fits its slots and the vocabulary."""
    if len(text) > slots:
        raise TensorError(what, f"{len(text)} tokens", f"at most {slots}")
    vocab = config.preset.tokenizer.vocab_size
    for token in text:
        if not 0 <= token < vocab:
            raise TensorError(what, token, f"token ids 0 to {vocab - 1}")


def update(
    model: WanStreamer,
    config: SessionConfig,
    user: UserUnit,
    observation: Embeddings,
    state: ThinkerState,
    agent_text: tuple[int, ...] | None = None,
    uniform: Float[Tensor, "..."] | None = None,
) -> tuple[Language, KVEntries, ThinkerState]:
    """The token-causal pass of unit k: O_k, then L_k slot by slot (WS-STREAMING-2).

    Args:
        observation: embeddings of O_k from `observe`.
        agent_text: token ids to be said instead of the model's own, one a text slot.
        uniform: a number in [0, 1) for each text slot, if the session samples (WS-TEXT-3).

    Returns:
        y_k^t, the entries of [O_k, L_k], and the state with them appended.
    """
    layout = config.layout
    if agent_text is not None:
        check_agent_text(config, user.unit, agent_text)
    sampling.check_uniform(config, user.unit, uniform, agent_text)
    cache = state.cache
    new: list[KVEntries] = []

    def run(x: Embeddings, table: TokenTable) -> Embeddings:
        nonlocal cache
        hidden, entries = model.run(x, table, cache, config.lag)
        cache = kv_cache.concat([cache, entries])
        new.append(entries)
        return hidden

    run(observation, TokenTable.of(observation_rows(layout, user.unit, len(user.text))))
    rows = TokenTable.of(language_rows(layout, user.unit))
    last = state.last_hidden
    if layout.state_slots:
        last = run(model.embed_state(), rows[: layout.state_slots])[-1]
    text: list[int] = []
    logits = [torch.zeros(0, model.preset.tokenizer.vocab_size, dtype=model.dtype)]
    for i in range(layout.agent_text_slots):
        # A text slot's token is predicted from the hidden state just before it (WS-LAYOUT-4).
        logits.append(model.logits(last[None]))
        if agent_text is None:
            token = next_token(config, text, logits[-1][0], uniform)
        else:
            token = agent_text[i]
        text.append(token)
        slot = layout.state_slots + i
        last = run(model.embed_agent_text((token,)), rows[slot : slot + 1])[-1]
    state = attrs.evolve(state, cache=cache, last_hidden=last)
    return Language(tuple(text), torch.cat(logits)), kv_cache.concat(new), state


def next_token(
    config: SessionConfig,
    said: Sequence[int],
    logits: Float[Tensor, " vocab"],
    uniform: Float[Tensor, " slots"] | None,
) -> int:
    """The token of the text slot after ``said``, the unit's tokens so far (WS-TEXT-1, WS-TEXT-6).

    Args:
        uniform: the unit's numbers, one a slot; used at a temperature above 0.
    """
    tokens = config.preset.tokenizer
    if tokens.eos in said:
        return tokens.wait
    if config.sampling.temperature == 0:
        return greedy(logits)
    assert uniform is not None, "check_uniform asks for it"
    return sampling.draw(logits, config.sampling, float(uniform[len(said)]))


def greedy(logits: Float[Tensor, " vocab"]) -> int:
    """The most likely token; the lowest id among equals (WS-STREAMING-7)."""
    return int(torch.argmax(logits))


def commit(
    model: WanStreamer, config: SessionConfig, unit: int, z: Latents, state: ThinkerState
) -> tuple[KVEntries, ThinkerState]:
    """Append the clean entries of Z_k to the thinker's own cache (WS-STREAMING-3)."""
    entries = commit_response(model, config, unit, z, state.cache)
    return entries, attrs.evolve(state, cache=kv_cache.concat([state.cache, entries]))


def decode(
    model: WanStreamer, z: Latents, state: ThinkerState
) -> tuple[Float[Tensor, "3840"] | None, Float[Tensor, "4 3 height width"] | None, ThinkerState]:
    """Causal decoders over the clean latents of one unit (WS-STREAMING-2).

    Returns:
        Audio, video (None where the agent has none), and the state.
    """
    audio, video = None, None
    if z.audio is not None:
        wave, decoder = model.audio_codec.decode(z.audio.T[None], state.audio_decoder)
        audio, state = wave[0], attrs.evolve(state, audio_decoder=decoder)
    if z.video is not None:
        frames, decoder = model.video_codec.decode(z.video[None, :, None], state.video_decoder)
        video, state = frames[0].transpose(0, 1), attrs.evolve(state, video_decoder=decoder)
    return audio, video, state
