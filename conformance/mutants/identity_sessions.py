"""Ports that lose, mix up or make up the agent's identity, and ones that take any."""

from __future__ import annotations

from abc import abstractmethod

import attrs
import numpy as np
import torch

from conformance.mutants.patching import by_class
from conformance.ports import convert
from conformance.ports.reference import ReferencePort
from conformance.protocol import Array, IdentityInput, OpenRequest
from reference import prefill
from reference.prefill import NOBODY
from spec.prefill import Identity


class FitsChunks(ReferencePort):
    """A plan of chunks that is too short or too long ends with P all the same."""

    name = "chunks-made-to-fit"

    def open(self, request: OpenRequest) -> str:
        plan = request.prefill_chunks
        total = convert.config_of(request).layout.prefill_tokens
        if plan is not None and min(plan, default=0) > 0 and sum(plan) != total:
            request = attrs.evolve(request, prefill_chunks=(total,))
        return super().open(request)


class ResetForgetsIdentity(ReferencePort):
    """A session that was reset is nobody's."""

    name = "reset-forgets-the-identity"

    def reset(self, session_id: str) -> None:
        opened = self.opened(session_id)
        opened.identity = NOBODY
        opened.config = attrs.evolve(opened.config, identity=Identity())
        super().reset(session_id)


class SharedFace(ReferencePort):
    """The encoded picture is kept by its shape: every session has the first one."""

    name = "identity-kept-by-shape"

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[str, tuple[int, ...]], Array] = {}

    def open(self, request: OpenRequest) -> str:
        who = request.identity
        if who is not None and who.picture is not None:
            key = request.dtype, who.picture.shape
            picture = self._kept.setdefault(key, who.picture)
            request = attrs.evolve(request, identity=attrs.evolve(who, picture=picture))
        return super().open(request)


class DecoderHeardTheVoice(ReferencePort):
    """The audio decoder has decoded the identity's voice before unit 0."""

    name = "decoder-warmed-up-by-the-voice"

    def open(self, request: OpenRequest) -> str:
        name = super().open(request)
        opened = self.sessions[name]
        if opened.identity.voice is not None:
            with torch.no_grad():
                z = prefill.voice_latents(opened.model, opened.identity.voice)
                state = opened.state.thinker.audio_decoder
                _, state = opened.model.audio_codec.decode(z.T[None], state)
            thinks = attrs.evolve(opened.state.thinker, audio_decoder=state)
            opened.state = attrs.evolve(opened.state, thinker=thinks)
        return name


class ModalityOfItsOwn(ReferencePort):
    """An agent that shows no video needs no picture, and one that does not speak no voice."""

    name = "identity-only-of-what-is-generated"

    def open(self, request: OpenRequest) -> str:
        who, has = request.identity, request.modalities
        if who is not None and not has.agent_video:
            who = attrs.evolve(who, image=False, picture=None)
        if who is not None and not has.agent_audio:
            who = attrs.evolve(who, voice_ticks=0, voice=None)
        return super().open(attrs.evolve(request, identity=who))


class Lenient(ReferencePort):
    """What `fitted` makes of an identity is taken for it."""

    @staticmethod
    @abstractmethod
    def fitted(who: IdentityInput) -> IdentityInput:
        """An identity that fits."""

    def open(self, request: OpenRequest) -> str:
        if request.identity is not None:
            fitted = self.fitted(request.identity)
            request = attrs.evolve(request, identity=fitted)
        return super().open(request)


class VoiceMadeToFit(Lenient):
    """A voice that is too short or too long is filled up or cut."""

    name = "identity-voice-made-to-fit"

    @staticmethod
    def fitted(who: IdentityInput) -> IdentityInput:
        if who.voice is None or who.voice_ticks < 1 or who.voice.ndim > 1:
            return who
        return attrs.evolve(who, voice=np.resize(who.voice, 960 * who.voice_ticks))


class NotANumberIsZero(Lenient):
    """What is not finite in a picture or a voice is taken for zero."""

    name = "identity-nan-as-zero"

    @staticmethod
    def fitted(who: IdentityInput) -> IdentityInput:
        def finite(array: Array | None) -> Array | None:
            return None if array is None else np.nan_to_num(array, posinf=0, neginf=0)

        return attrs.evolve(who, picture=finite(who.picture), voice=finite(who.voice))


class OwnDescription(Lenient):
    """The description is taken from the signals: what is missing was not meant."""

    name = "identity-described-by-its-signals"

    @staticmethod
    def fitted(who: IdentityInput) -> IdentityInput:
        ticks = 0 if who.voice is None else who.voice.shape[-1] // 960
        return attrs.evolve(who, image=who.picture is not None, voice_ticks=ticks)


MUTANTS = (
    by_class("WS-PREFILL-6", FitsChunks),
    by_class("WS-PREFILL-1", ResetForgetsIdentity),
    by_class("WS-PREFILL-1", SharedFace),
    by_class("WS-PREFILL-3", DecoderHeardTheVoice),
    by_class("WS-PREFILL-1", ModalityOfItsOwn),
    by_class("WS-PREFILL-6", VoiceMadeToFit),
    by_class("WS-PREFILL-6", NotANumberIsZero),
    by_class("WS-PREFILL-6", OwnDescription),
)
