"""What enters and leaves the model in one 160 ms unit.

Media reading makes `UserUnit`, the session turns it into an `AgentUnit`, media writing takes that.
Source: PAPER §2.1, u_k = (u_k^t, u_k^a, u_k^v) and y_k = (y_k^t, y_k^a, y_k^v).
"""

from __future__ import annotations

import attrs
from jaxtyping import Float
from torch import Tensor


@attrs.frozen(kw_only=True, eq=False)
class UserUnit:
    """u_k: what the user said, sounded and looked like during unit k (WS-CLOCK-2).

    ``video`` holds RGB in [-1, 1]; ``audio`` is mono 16 kHz in [-1, 1]; ``text`` holds token ids.
    A modality that the session does not have is None (text: empty).
    """

    unit: int
    text: tuple[int, ...] = ()
    audio: Float[Tensor, "2560"] | None = None
    video: Float[Tensor, "4 3 height width"] | None = None


@attrs.frozen(kw_only=True, eq=False)
class Latents:
    """The audio and video latents of one unit: noise ε, a state z_τ, a velocity, or clean z_0.

    Normalised per channel (WS-CODEC). A modality that the agent does not have is None.
    """

    audio: Float[Tensor, "4 audio_channels"] | None
    video: Float[Tensor, "video_channels rows cols"] | None


@attrs.frozen(kw_only=True, eq=False)
class AgentUnit:
    """y_k: the agent's response to unit k, before container encoding (WS-CLOCK-3).

    ``text`` holds one id a text slot, ``<wait>`` included; ``logits`` are what each was chosen
    from. ``audio`` is mono 24 kHz, ``video`` RGB, both nominally in [-1, 1] and not clipped.
    ``latents`` are the clean z_0 of Eq. (2).
    """

    unit: int
    text: tuple[int, ...]
    logits: Float[Tensor, "slots vocab"]
    latents: Latents
    audio: Float[Tensor, "3840"] | None
    video: Float[Tensor, "4 3 height width"] | None
