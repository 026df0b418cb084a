"""Ports that attend to the wrong tokens."""

from __future__ import annotations

from typing import Any

import attrs

from conformance.mutants.patching import PatchedPort, by_class, patched
from conformance.ports.convert import config_of
from conformance.ports.reference import ReferencePort
from conformance.protocol import OpenRequest
from reference import masks
from spec import visibility
from spec.layout import Modality, Segment
from spec.sizes import Schedule
from spec.visibility import visible

O, L, Z = Segment.O, Segment.L, Segment.Z  # noqa: E741 - the paper's segments


def pads_too(q: Any, k: Any, lag: int) -> Any:
    """The predicate without its first factor."""
    return (
        visibility.prefill_visible(q, k)
        | visibility.observation_visible(q, k)
        | visibility.language_visible(q, k)
        | visibility.committed_response_visible(q, k, lag)
        | visibility.own_response_visible(q, k)
    )


def next_observation_too(q: Any, k: Any, lag: int) -> Any:
    ahead = (q.segment == O) & (k.segment == O) & (k.unit == q.unit + 1) & (k.pad == 0)
    return visible(q, k, lag) | ahead


def observation_of_last_unit(q: Any, k: Any, lag: int) -> Any:
    own = (q.segment != O) & (k.segment == O) & (k.unit == q.unit)
    return visible(q, k, lag) & ~own


def audio_video_apart(q: Any, k: Any, lag: int) -> Any:
    other = (q.segment == Z) & (k.segment == Z) & (q.unit == k.unit) & (q.modality != k.modality)
    return visible(q, k, lag) & ~other


def observed_text_blind(q: Any, k: Any, lag: int) -> Any:
    inside = (q.segment == O) & (k.segment == O) & (q.unit == k.unit)
    return visible(q, k, lag) & ~(
        inside & (q.modality == Modality.TEXT) & (k.modality != Modality.TEXT)
    )


def two_units_of_history(q: Any, k: Any, lag: int) -> Any:
    return visible(q, k, lag) & ((k.segment == Segment.P) | (k.unit >= q.unit - 2))


def prompt_forgotten(q: Any, k: Any, lag: int) -> Any:
    return visible(q, k, lag) & ((k.segment != Segment.P) | (q.unit < 1))


def thinker_history_blind(q: Any, k: Any, lag: int) -> Any:
    return visible(q, k, lag) & ~((q.segment == L) & (k.segment == L) & (k.unit < q.unit))


def text_looks_ahead(q: Any, k: Any, lag: int) -> Any:
    text = (q.modality == Modality.TEXT) & (k.modality == Modality.TEXT)
    own = (q.segment == O) & (k.segment == O) & (q.unit == k.unit)
    return visible(q, k, lag) | (own & text & (k.pad == 0))


def signals_see_text(q: Any, k: Any, lag: int) -> Any:
    own = (q.segment == O) & (k.segment == O) & (q.unit == k.unit)
    return visible(q, k, lag) | (own & (k.pad == 0))


def sound_blind_to_picture(q: Any, k: Any, lag: int) -> Any:
    own = (q.segment == O) & (k.segment == O) & (q.unit == k.unit)
    return visible(q, k, lag) & ~(
        own & (q.modality == Modality.AUDIO) & (k.modality == Modality.VIDEO)
    )


def prompt_both_ways(q: Any, k: Any, lag: int) -> Any:
    return visible(q, k, lag) | ((q.segment == Segment.P) & (k.segment == Segment.P))


def voice_tick_by_tick(q: Any, k: Any, lag: int) -> Any:
    sound = (q.modality == Modality.AUDIO) & (k.modality == Modality.AUDIO)
    own = (q.segment == Z) & (k.segment == Z) & (q.unit == k.unit)
    return visible(q, k, lag) & ~(own & sound & (k.slot > q.slot))


def observation_blind_to_words(q: Any, k: Any, lag: int) -> Any:
    return visible(q, k, lag) & ~((q.segment == O) & (k.segment == L))


def last_word_unseen(q: Any, k: Any, lag: int) -> Any:
    own = (q.segment == Z) & (k.segment == L) & (q.unit == k.unit)
    return visible(q, k, lag) & ~(own & (k.slot >= 1))


def first_response_forgotten(q: Any, k: Any, lag: int) -> Any:
    return visible(q, k, lag) & ~((k.segment == Z) & (k.unit == 0) & (q.unit > 3))


class Rescheduled(ReferencePort):
    """Every session runs under one schedule, whatever it was opened with."""

    schedule: Schedule

    def open(self, request: OpenRequest) -> str:
        return super().open(attrs.evolve(request, schedule=self.schedule))


class PromptOfDocuments(PatchedPort):
    """Behind an `<eos>` in the prompt begins another document, which sees nothing of the first."""

    name = "prompt-split-by-eos"

    def __init__(self) -> None:
        super().__init__(self.name, [(masks, "visible", self._apart)])
        self._ends: list[int] = []

    def open(self, request: OpenRequest) -> str:
        config = config_of(request)
        eos = config.preset.tokenizer.eos
        self._ends = [i for i, token in enumerate(config.prefill) if token == eos]
        return super().open(request)

    def _apart(self, q: Any, k: Any, lag: int) -> Any:
        seen = visible(q, k, lag)
        text = (q.segment == Segment.P) & (q.modality == Modality.TEXT)
        for end in self._ends:
            seen = seen & ~(text & (q.slot > end) & (k.slot <= end))
        return seen


class AlwaysSequential(Rescheduled):
    """Feedback lag 0 under either schedule: the thinker sees a response one unit too early."""

    name = "lag-too-short"
    schedule = "sequential"


class AlwaysOverlapped(Rescheduled):
    """Feedback lag 1 under either schedule: the thinker sees a response one unit too late."""

    name = "lag-too-long"
    schedule = "overlapped"


MUTANTS = (
    patched(
        "pads-visible",
        "WS-LAYOUT-3",
        "empty user text slots are attended to like tokens",
        (masks, "visible", pads_too),
    ),
    patched(
        "observation-sees-next-unit",
        "WS-VISIBILITY-1",
        "offline, O_k sees O_{k+1}",
        (masks, "visible", next_observation_too),
    ),
    patched(
        "observation-one-unit-late",
        "WS-VISIBILITY-5",
        "L_k and Z_k do not see O_k, only earlier observations",
        (masks, "visible", observation_of_last_unit),
    ),
    patched(
        "audio-and-video-solved-apart",
        "WS-VISIBILITY-8",
        "audio latents do not see the video latents of their unit, nor the other way",
        (masks, "visible", audio_video_apart),
    ),
    patched(
        "user-text-blind",
        "WS-STREAMING-10",
        "user text does not see the audio and video of its own unit",
        (masks, "visible", observed_text_blind),
    ),
    patched(
        "window-of-two-units",
        "WS-STREAMING-2",
        "entries older than two units are silently out of the window",
        (masks, "visible", two_units_of_history),
    ),
    patched(
        "prompt-forgotten",
        "WS-VISIBILITY-3",
        "the system prompt is seen in unit 0 only",
        (masks, "visible", prompt_forgotten),
    ),
    patched(
        "own-words-forgotten",
        "WS-LAYOUT-1",
        "L_k does not see L_{<k}",
        (masks, "visible", thinker_history_blind),
    ),
    patched(
        "user-text-looks-ahead",
        "WS-VISIBILITY-4",
        "a user text slot sees the later ones of its unit",
        (masks, "visible", text_looks_ahead),
    ),
    patched(
        "signals-see-text",
        "WS-VISIBILITY-4",
        "user audio and video see the text of their unit",
        (masks, "visible", signals_see_text),
    ),
    patched(
        "sound-blind-to-picture",
        "WS-VISIBILITY-4",
        "user audio does not see the video of its unit",
        (masks, "visible", sound_blind_to_picture),
    ),
    patched(
        "prompt-both-ways",
        "WS-VISIBILITY-3",
        "prompt tokens see the later ones",
        (masks, "visible", prompt_both_ways),
    ),
    patched(
        "voice-tick-by-tick",
        "WS-VISIBILITY-8",
        "agent audio does not see the later ticks of its unit",
        (masks, "visible", voice_tick_by_tick),
    ),
    patched(
        "observation-blind-to-words",
        "WS-VISIBILITY-6",
        "O_k does not see what the agent said before",
        (masks, "visible", observation_blind_to_words),
    ),
    patched(
        "last-word-unseen",
        "WS-VISIBILITY-6",
        "Z_k sees the first slot of L_k only",
        (masks, "visible", last_word_unseen),
    ),
    patched(
        "first-response-forgotten",
        "WS-STREAMING-2",
        "after unit 3 nobody sees the response of unit 0",
        (masks, "visible", first_response_forgotten),
    ),
    by_class("WS-VISIBILITY-3", PromptOfDocuments),
    by_class("WS-VISIBILITY-2", AlwaysSequential),
    by_class("WS-VISIBILITY-7", AlwaysOverlapped),
)
