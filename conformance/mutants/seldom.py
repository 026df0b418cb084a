"""Ports that are wrong for some of what may enter: values at their limits, repeated ids, prompts
that begin alike, words that are prescribed now and then, float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from conformance.mutants.patching import by_class, patched
from conformance.ports import convert
from conformance.ports import reference as port
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, OpenRequest, UnitInput, UnitOutput
from reference import attention, performer, sampling, thinker
from reference.model import WanStreamer
from reference.units import Latents
from spec import layout
from spec.layout import Layout, Row
from spec.session import SessionConfig

CONFIG = convert.config_of
SOLVE = performer.solve
PREFILL = thinker.prefill
COMMIT = thinker.commit
ATTEND = attention.attend
OBSERVATION_ROWS = layout.observation_rows


class SaysIdsOnce(ReferencePort):
    """A user token that repeats the one before it is taken for a key that bounced."""

    name = "repeated-user-token-dropped"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        ids = unit.text
        kept = tuple(t for i, t in enumerate(ids) if i == 0 or t != ids[i - 1])
        return super().step(session_id, attrs.evolve(unit, text=kept))


class Enters(ReferencePort):
    """A port that changes what it hears or sees before anything else."""

    def heard(self, audio: Array) -> Array:
        return audio

    def seen(self, video: Array) -> Array:
        return video

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        audio = None if unit.audio is None else self.heard(unit.audio)
        video = None if unit.video is None else self.seen(unit.video)
        return super().step(session_id, attrs.evolve(unit, audio=audio, video=video))


class BlackIsNoCamera(Enters):
    """Frames that are black from edge to edge count as a camera that is off."""

    name = "black-frames-taken-for-none"

    def seen(self, video: Array) -> Array:
        return video * 0 if bool((video == -1).all()) else video


class FullScaleWraps(Enters):
    """A sample of exactly 1 becomes -1, as in 16-bit integers."""

    name = "full-scale-sample-wraps"

    def heard(self, audio: Array) -> Array:
        return np.where(audio >= 1, -audio, audio).astype(audio.dtype)


class GatesWhispers(Enters):
    """What is below -54 dB counts as silence."""

    name = "whispers-are-gated"

    def heard(self, audio: Array) -> Array:
        return audio * 0 if float(np.abs(audio).max()) < 2e-3 else audio


def clamped(*arguments: Any) -> Latents:
    z = SOLVE(*arguments)

    def within(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.clamp(-8, 8)

    return Latents(audio=within(z.audio), video=within(z.video))


class PrescribedWordsStay(ReferencePort):
    """Words that were prescribed once are said in all later units."""

    name = "prescribed-words-stay"

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[str, tuple[int, ...]] = {}

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        if unit.agent_text is not None:
            self._words[session_id] = unit.agent_text
        elif session_id in self._words:
            unit = attrs.evolve(unit, agent_text=self._words[session_id])
        return super().step(session_id, unit)


class AfterEos(ReferencePort):
    """A port that answers otherwise in the slots that follow ``<eos>`` in their unit."""

    prescribed = False
    """Whether it does so where words are prescribed, or where they are its own."""

    def silent(self, output: UnitOutput, first: int, wait: int) -> UnitOutput:
        """``output`` as answered; its slots from ``first`` on follow ``<eos>``."""
        return attrs.evolve(output, text=output.text[:first] + (wait,) * len(output.text[first:]))

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        outputs = super().step(session_id, unit)
        tokens = self.opened(session_id).config.preset.tokenizer
        if (unit.agent_text is not None) != self.prescribed:
            return outputs
        return [
            self.silent(output, output.text.index(tokens.eos) + 1, tokens.wait)
            if tokens.eos in output.text
            else output
            for output in outputs
        ]


class PrescribedEosSilences(AfterEos):
    """What is prescribed after ``<eos>`` is said, but reported as ``<wait>``."""

    name = "prescribed-words-after-eos-not-reported"
    prescribed = True


class HeldLogitsBlank(AfterEos):
    """Slots that are held after ``<eos>`` have no logits."""

    name = "held-slots-have-no-logits"

    def silent(self, output: UnitOutput, first: int, wait: int) -> UnitOutput:  # noqa: ARG002
        logits = output.logits.copy()
        logits[first:] = 0
        return attrs.evolve(output, logits=logits)


class HoldsOnlyTheReport(AfterEos):
    """After ``<eos>`` ``<wait>`` is reported, but the free choice is fed back."""

    name = "wait-after-eos-not-fed-back"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        choice, thinker.next_token = thinker.next_token, unheld
        try:
            return super().step(session_id, unit)
        finally:
            thinker.next_token = choice


class HoldsOneSlot(ReferencePort):
    """After ``<eos>`` only the next slot is held."""

    name = "eos-holds-one-slot"

    def step(self, session_id: str, unit: UnitInput) -> Sequence[UnitOutput]:
        choice, thinker.next_token = thinker.next_token, held_once
        try:
            return super().step(session_id, unit)
        finally:
            thinker.next_token = choice


def held_once(
    config: SessionConfig, said: Sequence[int], logits: Tensor, uniform: Tensor | None
) -> int:
    tokens = config.preset.tokenizer
    last = said[-1:] == [tokens.eos]
    return tokens.wait if last else unheld(config, said, logits, uniform)


def unheld(
    config: SessionConfig, said: Sequence[int], logits: Tensor, uniform: Tensor | None
) -> int:
    if uniform is None:
        return thinker.greedy(logits)
    return sampling.draw(logits, config.sampling, float(uniform[len(said)]))


def never_bos(logits: Tensor) -> int:
    """The largest logit but that of id 256."""
    kept = logits.clone()
    kept[256] = -torch.inf
    return int(torch.argmax(kept))


def without_first_bos(request: OpenRequest) -> SessionConfig:
    """A prompt that begins with ``<bos>`` is given none."""
    starts = request.prompt[:1] == (256,)
    return CONFIG(attrs.evolve(request, prompt=request.prompt[1:]) if starts else request)


class KeepsPrefixes(ReferencePort):
    """A prefill is kept for the next prompt of that length that begins with the same tokens."""

    name = "prefill-kept-by-its-first-tokens"

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Any, OpenRequest] = {}

    def open(self, request: OpenRequest) -> str:
        length, start = len(request.prompt), request.prompt[:16]
        key = (request.preset, request.dtype, length, start)
        kept = self._kept.setdefault(key, request) if length > len(start) else request
        return super().open(attrs.evolve(request, prompt=kept.prompt))


def long_ago(model: Any, config: SessionConfig, unit: int, z: Latents, state: Any) -> Any:
    """Sequential, from unit 17 on: the committed response has the sign of its audio flipped."""
    if config.schedule == "sequential" and unit >= 17 and z.audio is not None:
        z = attrs.evolve(z, audio=-z.audio)
    return COMMIT(model, config, unit, z, state)


def narrow_head(model: WanStreamer, hidden: Tensor) -> Tensor:
    """In float64, a tied head is worked out in float32."""
    if hidden.dtype == torch.float64 and model.preset.backbone.tied_embeddings:
        return (hidden.float() @ model.lm_head.weight.float().T).double()
    y: Tensor = model.lm_head(hidden)
    return y


def narrow_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """In float64, over more than 200 keys, the sums are float32."""
    if q.dtype == torch.float64 and k.shape[1] > 200:
        return ATTEND(q.float(), k.float(), v.float(), mask).double()
    return ATTEND(q, k, v, mask)


class NarrowInputs(Enters):
    """In float64, sound is read into float32."""

    name = "float64-sound-read-as-float32"

    def heard(self, audio: Array) -> Array:
        return audio.astype(np.float32).astype(audio.dtype)


class OfflineDeaf(ReferencePort):
    """Without video, the offline form has logits of its own."""

    name = "offline-form-wrong-without-video"

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        outputs = super().offline(request, units)
        if request.modalities.user_video:
            return outputs
        return [attrs.evolve(o, logits=o.logits * np.float32(1.01)) for o in outputs]


def with_gap(sizes: Layout, unit: int, user_tokens: int) -> tuple[Row, ...]:
    """Slots of video are counted in sessions without it too."""
    gap = 0 if sizes.modalities.user_video else sizes.video_slots
    rows = OBSERVATION_ROWS(sizes, unit, user_tokens)
    return tuple(attrs.evolve(row, slot=row.slot + gap) for row in rows)


MUTANTS = (
    by_class("WS-STREAMING-2", SaysIdsOnce),
    by_class("WS-STREAMING-2", BlackIsNoCamera),
    by_class("WS-STREAMING-2", FullScaleWraps),
    by_class("WS-STREAMING-2", GatesWhispers),
    patched(
        "latents-clamped", "WS-FLOW-6", "latents are clamped to ±8 after the last step",
        (performer, "solve", clamped),
    ),
    by_class("WS-STREAMING-7", PrescribedWordsStay),
    by_class("WS-TEXT-6", PrescribedEosSilences),
    by_class("WS-TEXT-6", HeldLogitsBlank),
    by_class("WS-TEXT-6", HoldsOnlyTheReport),
    by_class("WS-TEXT-6", HoldsOneSlot),
    patched(
        "bos-never-said", "WS-STREAMING-7", "the agent cannot say <bos>",
        (thinker, "greedy", never_bos),
    ),
    patched(
        "bos-not-doubled", "WS-SESSION-2", "a prompt that begins with <bos> is given none",
        (port, "config_of", without_first_bos),
    ),
    by_class("WS-STREAMING-1", KeepsPrefixes),
    patched(
        "late-sequential-commit-flipped", "WS-STREAMING-8",
        "sequential: from unit 17 on the committed voice has the wrong sign",
        (thinker, "commit", long_ago),
    ),
    patched(
        "float64-tied-head-in-float32", "WS-STREAMING-10", "float64: the tied head sums in float32",
        (WanStreamer, "logits", narrow_head),
    ),
    patched(
        "float64-attention-in-float32-late", "WS-STREAMING-10",
        "float64: attention over more than 200 keys is worked out in float32",
        (attention, "attend", narrow_attention),
    ),
    by_class("WS-STREAMING-2", NarrowInputs),
    by_class("WS-STREAMING-10", OfflineDeaf),
    patched(
        "slots-count-absent-video", "WS-LAYOUT-2", "without user video its slots are still counted",
        (thinker, "observation_rows", with_gap),
    ),
)  # fmt: skip
