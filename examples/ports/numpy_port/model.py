"""Ways into the Transformer and heads out of it (WS-MODEL-1 to -5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from blocks import Array, silu
from flow import Latents, tau_features
from presets import Preset
from recipe import weight
from transformer import Transformer

# Rows of the segment embedding (WS-MODEL-2).
P_TEXT, O_VIDEO, O_AUDIO, O_TEXT, L_STATE, L_TEXT, Z_AUDIO, Z_VIDEO = range(8)


def patches(z: Array, side: int) -> Array:
    """Latent pixels [C, rows, cols] to tokens [n, C · side · side] (WS-CODEC-13)."""
    c, h, w = z.shape
    cut = z.reshape(c, h // side, side, w // side, side)
    return cut.transpose(1, 3, 0, 2, 4).reshape(-1, c * side * side)


def unpatched(tokens: Array, grid: tuple[int, int], side: int) -> Array:
    """The inverse of `patches`."""
    h, w = grid
    cut = tokens.reshape(h // side, w // side, -1, side, side)
    return cut.transpose(2, 0, 3, 1, 4).reshape(-1, h, w)


class Model:
    """All weights but those of the codecs and encoders; it has no state."""

    def __init__(self, preset: Preset, dtype: str) -> None:
        self.preset, self.dtype = preset, dtype
        p, d = preset, preset.d_model
        self.backbone = Transformer(p, dtype)
        self.segments = self._filled("segment_embedding", 8, d)
        # For a session with an identity, which this protocol does not open (WS-PREFILL-4).
        self._filled("identity_segment_embedding", 2, d)
        self.states = self._filled("state_embedding", p.state_slots, d)
        self.embedding = self._filled("embed_tokens.weight", p.vocab, d)
        self.head = self.embedding if p.tied else self._filled("lm_head.weight", p.vocab, d)
        pixels = p.patch * p.patch
        self.linears = {
            name: (self._filled(f"{name}.weight", out, into), self._filled(f"{name}.bias", out))
            for name, into, out in [
                ("tau_embedding.in_proj", p.tau_dim, d),
                ("tau_embedding.out_proj", d, d),
                ("user_audio_proj", p.heard_channels, d),
                ("user_video_proj", p.seen_channels[2] * pixels, d),
                ("audio_latent_proj", p.audio_latents, d),
                ("video_latent_proj", p.video_latents * pixels, d),
                ("audio_velocity_head", d, p.audio_latents),
                ("video_velocity_head", d, p.video_latents * pixels),
            ]
        }

    def _filled(self, name: str, *shape: int) -> Array:
        return weight(name, shape).astype(self.dtype)

    def _linear(self, name: str, x: Array) -> Array:
        w, bias = self.linears[name]
        return np.asarray(x @ w.T + bias)

    def text(self, ids: Sequence[int], segment: int) -> Array:
        """[n, d_model]."""
        return np.asarray(self.embedding[list(ids)] + self.segments[segment])

    def state(self) -> Array:
        """The state slots of any unit (WS-LAYOUT-4)."""
        return np.asarray(self.states + self.segments[L_STATE])

    def seen(self, features: Array) -> Array:
        """User video tokens [n, features]."""
        return np.asarray(self._linear("user_video_proj", features) + self.segments[O_VIDEO])

    def heard(self, features: Array) -> Array:
        """User audio features [4, features]."""
        return np.asarray(self._linear("user_audio_proj", features) + self.segments[O_AUDIO])

    def response(self, z: Latents, tau: float) -> Array:
        """Latents at noise level τ: audio tokens, then video tokens (WS-MODEL-3)."""
        features = tau_features(tau, self.preset.tau_dim).astype(self.dtype)
        inside = silu(self._linear("tau_embedding.in_proj", features))
        level = self._linear("tau_embedding.out_proj", inside)
        x = []
        if "audio" in z:
            x.append(self._linear("audio_latent_proj", z["audio"]) + self.segments[Z_AUDIO])
        if "video" in z:
            tokens = patches(z["video"], self.preset.patch)
            x.append(self._linear("video_latent_proj", tokens) + self.segments[Z_VIDEO])
        return np.concatenate(x) + level

    def logits(self, hidden: Array) -> Array:
        """[..., vocab] (WS-MODEL-4)."""
        return np.asarray(hidden @ self.head.T)

    def velocity(self, hidden: Array, like: Latents) -> Latents:
        """Of each modality that ``like`` has, in its shape (WS-MODEL-5)."""
        v, audio = {}, len(like.get("audio", ()))
        if "audio" in like:
            v["audio"] = self._linear("audio_velocity_head", hidden[:audio])
        if "video" in like:
            tokens = self._linear("video_velocity_head", hidden[audio:])
            v["video"] = unpatched(tokens, self.preset.grid, self.preset.patch)
        return v
