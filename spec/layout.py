"""The token table: one row a token, from which masks, positions, losses and KV slices all follow.

A unit holds the segments O, L and Z in that order; a prefill P stands before unit 0. Each segment
has a fixed number of slots, so no shape changes while streaming (WS-LAYOUT-1).
Source: PAPER §2.1 and Fig. 1 (interleaving); the slots are CHOICE (design §4).
"""

from __future__ import annotations

from enum import IntEnum

import attrs

from spec import clock, positions
from spec.errors import ConfigError
from spec.prefill import Identity
from spec.sizes import Preset

PREFILL_UNIT = -1
"""The unit number of every prefill row, one before unit 0 (WS-LAYOUT-2)."""

CLEAN_STEP = -1
"""The solver step of every row that is not noisy (WS-LAYOUT-6)."""


class Segment(IntEnum):
    """The segments, numbered in their order inside a unit (WS-LAYOUT-1)."""

    P = 0
    O = 1  # noqa: E741 - the paper's observation segment
    L = 2
    Z = 3


class Modality(IntEnum):
    """What a slot carries."""

    TEXT = 0
    STATE = 1
    AUDIO = 2
    VIDEO = 3


@attrs.frozen
class Row:
    """One token of the sequence (WS-LAYOUT-2).

    ``slot`` counts from 0 inside the segment, over all its modalities. ``pad`` is 1 for a user
    text slot without a token. ``noisy`` is 1 while a response is being solved; ``step`` is then
    the solver step and ``tau`` its flow time, otherwise ``CLEAN_STEP`` and 0.
    """

    unit: int
    segment: int
    modality: int
    slot: int
    t: int
    h: int
    w: int
    pad: int = 0
    noisy: int = 0
    step: int = CLEAN_STEP
    tau: float = 0.0


@attrs.frozen(kw_only=True)
class Modalities:
    """Which modalities a session has on each side; absent ones have no slots (WS-LAYOUT-5)."""

    user_text: bool = True
    user_audio: bool = True
    user_video: bool = True
    agent_text: bool = True
    agent_audio: bool = True
    agent_video: bool = True


@attrs.frozen(kw_only=True)
class Layout:
    """The slots of one session: a preset, its modalities, and its prefill.

    ``prefill_tokens`` counts all of P, the tokens of ``identity`` included.
    """

    preset: Preset
    modalities: Modalities
    prefill_tokens: int
    identity: Identity = Identity()

    def __attrs_post_init__(self) -> None:
        if self.prompt_tokens < 1:
            # The first text slot may be predicted from the prefill's last token (WS-LAYOUT-4).
            raise ConfigError("prefill", self.prompt_tokens, "at least one token (<bos>)")

    @property
    def prompt_tokens(self) -> int:
        """Text tokens of the prefill: ``<bos>`` and the system prompt (WS-PREFILL-1)."""
        return self.prefill_tokens - self.identity.slots(self.preset)

    @property
    def base(self) -> int:
        """Positions that the prefill uses: t of the first tick of unit 0 (WS-PREFILL-2)."""
        held = clock.TICKS_PER_UNIT if self.identity.image else 0
        return self.prompt_tokens + held + self.identity.voice_ticks

    @property
    def video_slots(self) -> int:
        """Tokens of one latent frame (WS-LAYOUT-3)."""
        return self.preset.patch_rows * self.preset.patch_cols

    @property
    def user_video_slots(self) -> int:
        return self.video_slots if self.modalities.user_video else 0

    @property
    def user_audio_slots(self) -> int:
        return clock.TICKS_PER_UNIT if self.modalities.user_audio else 0

    @property
    def user_text_slots(self) -> int:
        return self.preset.user_text_slots if self.modalities.user_text else 0

    @property
    def state_slots(self) -> int:
        return self.preset.state_slots

    @property
    def agent_text_slots(self) -> int:
        return self.preset.agent_text_slots if self.modalities.agent_text else 0

    @property
    def agent_audio_slots(self) -> int:
        return clock.TICKS_PER_UNIT if self.modalities.agent_audio else 0

    @property
    def agent_video_slots(self) -> int:
        return self.video_slots if self.modalities.agent_video else 0

    @property
    def observation_slots(self) -> int:
        """Slots of an O segment: user video, user audio, user text (WS-LAYOUT-3)."""
        return self.user_video_slots + self.user_audio_slots + self.user_text_slots

    @property
    def language_slots(self) -> int:
        """Slots of an L segment: state, then agent text (WS-LAYOUT-4)."""
        return self.state_slots + self.agent_text_slots

    @property
    def response_slots(self) -> int:
        """Slots of a Z segment: agent audio, then agent video (WS-LAYOUT-6)."""
        return self.agent_audio_slots + self.agent_video_slots


def prefill_rows(layout: Layout) -> tuple[Row, ...]:
    """Rows of the prefill: text at positions 0, 1, 2, ..., then the identity's picture, held for
    a unit, then its voice (WS-LAYOUT-2, WS-PREFILL-1, WS-PREFILL-2)."""
    text, image = layout.prompt_tokens, layout.identity.image_slots(layout.preset)
    cols = layout.preset.patch_cols
    rows = [
        Row(PREFILL_UNIT, Segment.P, Modality.TEXT, i, *positions.prefill(i)) for i in range(text)
    ]
    rows += [
        Row(
            PREFILL_UNIT,
            Segment.P,
            Modality.VIDEO,
            text + i,
            *positions.video(text, 0, *divmod(i, cols)),
        )
        for i in range(image)
    ]
    after = layout.base - layout.identity.voice_ticks
    rows += [
        Row(PREFILL_UNIT, Segment.P, Modality.AUDIO, text + image + i, *positions.tick(after, 0, i))
        for i in range(layout.identity.voice_ticks)
    ]
    return tuple(rows)


def observation_rows(layout: Layout, unit: int, user_tokens: int) -> tuple[Row, ...]:
    """Rows of O_k; text slots past ``user_tokens`` are padding (WS-LAYOUT-3).

    Raises:
        ConfigError: more user tokens than slots.
    """
    if not 0 <= user_tokens <= layout.user_text_slots:
        raise ConfigError(
            f"user text of unit {unit}", user_tokens, f"0 to {layout.user_text_slots} tokens"
        )
    base, video, audio = layout.base, layout.user_video_slots, layout.user_audio_slots
    cols = layout.preset.patch_cols
    rows = [
        Row(unit, Segment.O, Modality.VIDEO, i, *positions.video(base, unit, *divmod(i, cols)))
        for i in range(video)
    ]
    rows += [
        Row(unit, Segment.O, Modality.AUDIO, video + i, *positions.tick(base, unit, i))
        for i in range(audio)
    ]
    rows += [
        Row(
            unit,
            Segment.O,
            Modality.TEXT,
            video + audio + i,
            *positions.tick(base, unit, i),
            pad=int(i >= user_tokens),
        )
        for i in range(layout.user_text_slots)
    ]
    return tuple(rows)


def language_rows(layout: Layout, unit: int) -> tuple[Row, ...]:
    """Rows of L_k: state slots, then agent text slots (WS-LAYOUT-4)."""
    states = layout.state_slots
    return tuple(
        Row(
            unit,
            Segment.L,
            Modality.STATE if i < states else Modality.TEXT,
            i,
            *positions.tick(layout.base, unit, i),
        )
        for i in range(layout.language_slots)
    )


def response_rows(
    layout: Layout, unit: int, *, noisy: bool = False, step: int = CLEAN_STEP, tau: float = 0.0
) -> tuple[Row, ...]:
    """Rows of Z_k: agent audio, then agent video; same positions clean and noisy (WS-LAYOUT-6)."""
    base, audio = layout.base, layout.agent_audio_slots
    cols = layout.preset.patch_cols

    def row(modality: Modality, slot: int, position: positions.Position) -> Row:
        return Row(unit, Segment.Z, modality, slot, *position, noisy=int(noisy), step=step, tau=tau)

    rows = [row(Modality.AUDIO, i, positions.tick(base, unit, i)) for i in range(audio)]
    rows += [
        row(Modality.VIDEO, audio + i, positions.video(base, unit, *divmod(i, cols)))
        for i in range(layout.agent_video_slots)
    ]
    return tuple(rows)
