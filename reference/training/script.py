"""A script of an interaction, unit by unit, and the record that it is played into.

Source: CHOICE (WS-TRAINING-10); the sides and modalities are those of PAPER §2.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from jaxtyping import Float
from torch import Tensor

from reference.prefill import NOBODY, IdentitySignals
from reference.training import signals
from reference.training.record import Record
from reference.units import UserUnit
from spec import clock
from spec.session import SessionConfig


@attrs.frozen(kw_only=True)
class Moment:
    """One unit: the symbols on either side, None where nothing happens."""

    heard: int | None = None
    """The user's tone."""
    seen: int | None = None
    """The user's picture."""
    typed: int | None = None
    """The user's letter."""
    said: int | None = None
    """What the agent expresses, at once in every modality that it has."""
    listening: bool = False
    """The agent attends to the user: its stripe runs the other way."""


def play(
    name: str,
    task: str,
    config: SessionConfig,
    script: Sequence[Moment],
    *,
    still: bool = False,
    conditional: bool = True,
    persona: int | None = None,
) -> Record:
    """The record of a script in a session's modalities (WS-TRAINING-10).

    Args:
        name: names the record's draws.
        still: pictures do not move.
        conditional: False for a record learned without its condition; it has no text loss
            (WS-TRAINING-7).
        persona: symbol whose colour the agent has where it says nothing; the session's identity
            picture shows it. None: grey, and no identity.
    """
    has, preset = config.modalities, config.preset
    units = range(len(script))
    says = [agent_text(config, moment.said) for moment in script]
    audio = [signals.tone(moment.said, clock.AGENT_AUDIO_HZ) for moment in script]
    video = [
        frames_of(
            config,
            persona if moment.said is None else moment.said,
            k,
            still=still,
            back=moment.listening,
        )
        for k, moment in enumerate(script)
    ]
    face = signals.picture(persona, [0], preset.frame_height, preset.frame_width)[0]
    return Record(
        name=name,
        task=task,
        config=config,
        identity=IdentitySignals(image=face) if config.identity.image else NOBODY,
        users=tuple(user_unit(config, k, script[k], still=still) for k in units),
        text=tuple(says),
        text_mask=tuple((conditional,) * len(unit) for unit in says),
        audio=torch.cat(audio) if has.agent_audio else None,
        video=torch.cat(video) if has.agent_video else None,
        response_mask=(has.agent_audio or has.agent_video,) * len(script),
        conditional=conditional,
    )


def user_unit(config: SessionConfig, k: int, moment: Moment, *, still: bool) -> UserUnit:
    """u_k of a moment, in the session's modalities."""
    has = config.modalities
    return UserUnit(
        unit=k,
        text=(signals.letter(moment.typed),) if has.user_text and moment.typed is not None else (),
        audio=signals.tone(moment.heard, clock.USER_AUDIO_HZ) if has.user_audio else None,
        video=frames_of(config, moment.seen, k, still=still) if has.user_video else None,
    )


def agent_text(config: SessionConfig, said: int | None) -> tuple[int, ...]:
    """The letter in the first slot, ``<wait>`` in the others (WS-LAYOUT-4)."""
    slots = config.layout.agent_text_slots
    spoken = (signals.letter(said),) if said is not None and slots else ()
    return (*spoken, *(config.preset.tokenizer.wait,) * (slots - len(spoken)))


def frames_of(
    config: SessionConfig, symbol: int | None, k: int, *, still: bool, back: bool = False
) -> Float[Tensor, "4 3 height width"]:
    """The four frames of unit ``k``."""
    first, count = k * clock.FRAMES_PER_UNIT, clock.FRAMES_PER_UNIT
    numbers = [0] * count if still else [first + i for i in range(count)]
    if back:
        numbers = [-n for n in numbers]
    return signals.picture(symbol, numbers, config.preset.frame_height, config.preset.frame_width)
