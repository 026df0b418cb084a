"""The model: one Transformer with its ways in and its heads.

Inputs enter through per-modality projections plus a segment embedding; response tokens add an
embedding of their flow time τ. Three heads read the hidden states: language, audio velocity, video
velocity. The encoders and codecs are parts of the model but not of the Transformer.
Source: PAPER Fig. 1, §2.1; projections and embeddings are CHOICE (design §6).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import flow, patches
from reference.audio_codec import AudioCodec
from reference.audio_encoder import AudioEncoder
from reference.backbone import Backbone
from reference.kv_cache import KVEntries
from reference.token_table import TokenTable
from reference.units import Latents
from reference.video_codec import VideoCodec
from reference.video_encoder import VideoEncoder
from spec.layout import Modality, Segment
from spec.sizes import Preset

EMBEDDED_AS = (
    (Segment.P, Modality.TEXT),
    (Segment.O, Modality.VIDEO),
    (Segment.O, Modality.AUDIO),
    (Segment.O, Modality.TEXT),
    (Segment.L, Modality.STATE),
    (Segment.L, Modality.TEXT),
    (Segment.Z, Modality.AUDIO),
    (Segment.Z, Modality.VIDEO),
)
"""Row of the segment embedding for each kind of token (WS-MODEL-2)."""

IDENTITY_EMBEDDED_AS = (Modality.VIDEO, Modality.AUDIO)
"""Row of the identity's segment embedding: picture, voice (WS-PREFILL-4)."""

Embeddings = Float[Tensor, "n d_model"]


class TauEmbedding(nn.Module):
    """Flow time to model width: W_2 silu(W_1 features(τ)) (WS-FLOW-5)."""

    def __init__(self, dim: int, d_model: int) -> None:
        super().__init__()
        self.dim = dim
        self.in_proj = nn.Linear(dim, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, tau: Float[Tensor, " n"]) -> Embeddings:
        features = flow.tau_features(tau, self.dim).to(self.in_proj.weight.dtype)
        y: Tensor = self.out_proj(nn.functional.silu(self.in_proj(features)))
        return y


class WanStreamer(nn.Module):
    """Encoders, codecs, Transformer and heads of one preset (WS-MODEL-1).

    Parameters are made empty; `reference.recipe.fill` or a checkpoint gives them values.
    """

    def __init__(self, preset: Preset, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.preset = preset
        cfg = preset.backbone
        d = cfg.d_model
        self.video_encoder = VideoEncoder(preset)
        self.audio_encoder = AudioEncoder(preset)
        self.video_codec = VideoCodec(preset)
        self.audio_codec = AudioCodec(preset)

        self.embed_tokens = nn.Embedding(preset.tokenizer.vocab_size, d)
        self.segment_embedding = nn.Parameter(torch.empty(len(EMBEDDED_AS), d))
        self.identity_segment_embedding = nn.Parameter(torch.empty(len(IDENTITY_EMBEDDED_AS), d))
        self.state_embedding = nn.Parameter(torch.empty(preset.state_slots, d))
        self.tau_embedding = TauEmbedding(preset.tau_dim, d)
        self.user_video_proj = nn.Linear(self.video_encoder.feature_dim, d)
        self.user_audio_proj = nn.Linear(self.audio_encoder.feature_dim, d)
        audio_dim = preset.audio_codec.latent_channels
        video_dim = preset.video_codec.latent_channels * preset.video_codec.patch**2
        self.audio_latent_proj = nn.Linear(audio_dim, d)
        self.video_latent_proj = nn.Linear(video_dim, d)

        self.backbone = Backbone(cfg)
        self.lm_head = nn.Linear(d, preset.tokenizer.vocab_size, bias=False)
        self.audio_velocity_head = nn.Linear(d, audio_dim)
        self.video_velocity_head = nn.Linear(d, video_dim)
        if cfg.tied_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        self.to(dtype)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of parameters, states and results."""
        return self.embed_tokens.weight.dtype

    def _embed_text(self, tokens: tuple[int, ...]) -> Embeddings:
        y: Tensor = self.embed_tokens(torch.tensor(tokens, dtype=torch.int64))
        return y

    def _segment(self, segment: Segment, modality: Modality) -> Float[Tensor, " d_model"]:
        return self.segment_embedding[EMBEDDED_AS.index((segment, modality))]

    def embed_prefill(self, tokens: tuple[int, ...]) -> Embeddings:
        """Embeddings of the text of the prefill P (WS-MODEL-2)."""
        return self._embed_text(tokens) + self._segment(Segment.P, Modality.TEXT)

    def embed_identity(
        self,
        image: Float[Tensor, "video_channels rows cols"] | None,
        voice: Float[Tensor, "ticks audio_channels"] | None,
    ) -> Embeddings:
        """Embeddings of the identity tokens of P, picture then voice: clean response tokens with a
        segment embedding of their own (WS-PREFILL-4).

        Args:
            image: normalised video latent frame.
            voice: normalised audio latents.
        """
        picture, sound = self.identity_segment_embedding
        parts = [torch.zeros(0, self.preset.backbone.d_model, dtype=self.dtype)]
        if image is not None:
            video = patches.patchify(image, self.preset.video_codec.patch)
            parts.append(self.video_latent_proj(video) + picture)
        if voice is not None:
            parts.append(self.audio_latent_proj(voice) + sound)
        x = torch.cat(parts)
        clean: Tensor = self.tau_embedding(torch.zeros(len(x), dtype=torch.float64))
        return x + clean

    def embed_observation(
        self,
        video: Float[Tensor, "n_video video_features"] | None,
        audio: Float[Tensor, "n_audio audio_features"] | None,
        text: tuple[int, ...],
    ) -> Embeddings:
        """Embeddings of O_k: user video, audio, text in slot order (WS-MODEL-2, WS-LAYOUT-3).

        ``text`` holds one id a slot; what stands in a padding slot is seen by nobody.
        """
        parts = [torch.zeros(0, self.preset.backbone.d_model, dtype=self.dtype)]
        if video is not None:
            parts.append(self.user_video_proj(video) + self._segment(Segment.O, Modality.VIDEO))
        if audio is not None:
            parts.append(self.user_audio_proj(audio) + self._segment(Segment.O, Modality.AUDIO))
        if text:
            parts.append(self._embed_text(text) + self._segment(Segment.O, Modality.TEXT))
        return torch.cat(parts)

    def embed_state(self) -> Embeddings:
        """Embeddings of the state slots of L_k, the same in every unit (WS-MODEL-2)."""
        return self.state_embedding + self._segment(Segment.L, Modality.STATE)

    def embed_agent_text(self, tokens: tuple[int, ...]) -> Embeddings:
        """Embeddings of agent text slots of L_k (WS-MODEL-2)."""
        return self._embed_text(tokens) + self._segment(Segment.L, Modality.TEXT)

    def embed_response(self, z: Latents, tau: Float[Tensor, " n"]) -> Embeddings:
        """Embeddings of Z_k, agent audio then agent video, at flow times ``tau`` (WS-MODEL-3).

        Args:
            z: a noisy state z_τ, or the clean latents with τ = 0.
            tau: flow time of each of the n response tokens, as in the token table.
        """
        parts = [torch.zeros(0, self.preset.backbone.d_model, dtype=self.dtype)]
        if z.audio is not None:
            audio = self.audio_latent_proj(z.audio)
            parts.append(audio + self._segment(Segment.Z, Modality.AUDIO))
        if z.video is not None:
            video = patches.patchify(z.video, self.preset.video_codec.patch)
            parts.append(self.video_latent_proj(video) + self._segment(Segment.Z, Modality.VIDEO))
        tau_part: Tensor = self.tau_embedding(tau)
        return torch.cat(parts) + tau_part

    def logits(self, hidden: Embeddings) -> Float[Tensor, "n vocab"]:
        """Language head (WS-MODEL-4)."""
        y: Tensor = self.lm_head(hidden)
        return y

    def velocity(self, hidden: Embeddings, z: Latents) -> Latents:
        """Velocity heads: the audio tokens of Z_k, then its video tokens (WS-MODEL-5, Eq. (3)).

        Args:
            hidden: hidden states of the n response tokens.
            z: the state they belong to; it tells which modalities there are and their shapes.
        """
        n_audio = 0 if z.audio is None else z.audio.shape[0]
        audio, video = None, None
        if z.audio is not None:
            audio = self.audio_velocity_head(hidden[:n_audio])
        if z.video is not None:
            preset = self.preset
            video = patches.unpatchify(
                self.video_velocity_head(hidden[n_audio:]),
                preset.video_codec.patch,
                preset.patch_rows,
            )
        return Latents(audio=audio, video=video)

    def run(
        self, x: Embeddings, table: TokenTable, cache: KVEntries, lag: int
    ) -> tuple[Embeddings, KVEntries]:
        """One pass of the Transformer over a read-only cache; see `Backbone.forward`."""
        result: tuple[Embeddings, KVEntries] = self.backbone(x, table, cache, lag)
        return result
