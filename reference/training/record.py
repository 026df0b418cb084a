"""What is learned from: one recorded interaction, cut into units.

Source: PAPER §2.2 (text, audio and video on either side); the form is CHOICE.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from jaxtyping import Float
from torch import Tensor

from reference.model import WanStreamer
from reference.prefill import IdentitySignals
from reference.units import Latents, UserUnit
from spec.session import SessionConfig


@attrs.frozen(kw_only=True, eq=False)
class Record:
    """K units of user and agent, and which of the agent's tokens are learned (WS-TRAINING-1).

    A modality that the session lacks is None (text: no slots). ``name`` names the record's draws.
    """

    name: str
    task: str
    config: SessionConfig
    identity: IdentitySignals
    """Who the agent is, as far as the session says (WS-PREFILL-3)."""
    users: tuple[UserUnit, ...]
    text: tuple[tuple[int, ...], ...]
    """What the agent says: one id a slot and unit, ``<wait>`` included."""
    text_mask: tuple[tuple[bool, ...], ...]
    """Slots whose token is learned."""
    audio: Float[Tensor, " samples"] | None
    """The agent's waveform over all units, 24 kHz."""
    video: Float[Tensor, "frames 3 height width"] | None
    """The agent's frames over all units, 25 fps, RGB in [-1, 1]."""
    response_mask: tuple[bool, ...]
    """Units whose audio and video are learned; the others are history only."""
    conditional: bool = True
    """False: the response is learned without observations and language (WS-TRAINING-7)."""

    def __len__(self) -> int:
        """K, the number of units."""
        return len(self.users)


def clean_latents(model: WanStreamer, record: Record) -> list[Latents]:
    """z_0 of every unit: the frozen codecs' posterior means (WS-TRAINING-3).

    The codecs run once over the clip from unit 0. Latent frame k of the video and latents 4 k to
    4 k + 3 of the audio belong to unit k: neither codec has a delay (WS-CODEC-6), so the last unit
    has a target like every other.
    """
    audio: Sequence[Tensor | None] = [None] * len(record)
    video: Sequence[Tensor | None] = [None] * len(record)
    with torch.no_grad():
        if record.audio is not None:
            mean = model.audio_codec.encode_whole(record.audio.to(model.dtype)[None]).mean
            audio = mean[0].T.chunk(len(record))
        if record.video is not None:
            frames = record.video.to(model.dtype).transpose(0, 1)[None]
            video = model.video_codec.encode_whole(frames).mean[0].unbind(dim=1)
    return [Latents(audio=a, video=v) for a, v in zip(audio, video, strict=True)]
