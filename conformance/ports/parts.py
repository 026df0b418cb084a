"""The codecs and encoders of the reference, one at a time, in any chunking (WS-CONFORMANCE-7)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from conformance.protocol import CodecRequest, Part
from conformance.shapes import codec_shapes
from reference.causal_conv import State
from reference.model import WanStreamer
from spec.errors import TensorError
from spec.presets import preset_named

Step = Callable[[Tensor, State], tuple[Tensor, State]]
Whole = Callable[[Tensor], Tensor]
Runner = tuple[Whole, Step, State]


def run_part(model: WanStreamer, request: CodecRequest, data: Tensor) -> Tensor:
    """``data`` through ``request.part`` by its plan, from a fresh start; time is axis 0.

    Raises:
        TensorError: the data do not fit the part or the plan, or are not finite.
    """
    shape = codec_shapes(preset_named(request.preset), request.part, 1)[0]
    check_data(request, data, shape)
    whole, step, state = RUNNERS[request.part](model)
    if not request.plan:
        return whole(data)
    outputs = []
    for chunk in torch.split(data, [units * shape[0] for units in request.plan]):
        y, state = step(chunk, state)
        outputs.append(y)
    return torch.cat(outputs)


def check_data(request: CodecRequest, data: Tensor, one_unit: tuple[int, ...]) -> None:
    """Raise `TensorError` unless ``data`` can be cut as the plan says; without a plan, into units.

    Args:
        one_unit: shape of the input of one unit.
    """
    per_unit, *rest = one_unit
    came = tuple(data.shape)
    if list(came[1:]) != rest or not came or came[0] % per_unit or not came[0]:
        raise TensorError(f"input of {request.part}", came, f"units of shape {one_unit}")
    if any(units < 1 for units in request.plan):
        raise TensorError("plan", request.plan, "chunks of 1 unit or more")
    if request.plan and sum(request.plan) * per_unit != came[0]:
        raise TensorError("plan", request.plan, f"{came[0] // per_unit} units in all")
    if not bool(torch.isfinite(data).all()):
        raise TensorError(f"input of {request.part}", "NaN or Inf", "finite values")


def video_encode(model: WanStreamer) -> Runner:
    codec = model.video_codec

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        posterior, state = codec.encode(x.transpose(0, 1)[None], state)
        return posterior.mean[0].transpose(0, 1), state

    def whole(x: Tensor) -> Tensor:
        return codec.encode_whole(x.transpose(0, 1)[None]).mean[0].transpose(0, 1)

    return whole, step, codec.encoder_state(1)


def video_decode(model: WanStreamer) -> Runner:
    codec = model.video_codec

    def step(z: Tensor, state: State) -> tuple[Tensor, State]:
        frames, state = codec.decode(z.transpose(0, 1)[None], state)
        return frames[0].transpose(0, 1), state

    def whole(z: Tensor) -> Tensor:
        return codec.decode_whole(z.transpose(0, 1)[None])[0].transpose(0, 1)

    return whole, step, codec.decoder_state(1)


def audio_encode(model: WanStreamer) -> Runner:
    codec = model.audio_codec

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        posterior, state = codec.encode(x[None], state)
        return posterior.mean[0].T, state

    def whole(x: Tensor) -> Tensor:
        return codec.encode_whole(x[None]).mean[0].T

    return whole, step, codec.encoder_state(1)


def audio_decode(model: WanStreamer) -> Runner:
    codec = model.audio_codec

    def step(z: Tensor, state: State) -> tuple[Tensor, State]:
        wave, state = codec.decode(z.T[None], state)
        return wave[0], state

    def whole(z: Tensor) -> Tensor:
        return codec.decode_whole(z.T[None])[0]

    return whole, step, codec.decoder_state(1)


def audio_features(model: WanStreamer) -> Runner:
    encoder = model.audio_encoder

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        features, state = encoder.encode(x[None], state)
        return features[0], state

    return lambda x: encoder.encode_whole(x[None])[0], step, encoder.init_state(1)


def video_features(model: WanStreamer) -> Runner:
    encoder = model.video_encoder

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        features, state = encoder.encode(x.transpose(0, 1)[None], state)
        return features[0], state

    def whole(x: Tensor) -> Tensor:
        return encoder.encode_whole(x.transpose(0, 1)[None])[0]

    return whole, step, encoder.init_state(1)


RUNNERS: dict[Part, Callable[[WanStreamer], Runner]] = {
    "video_codec.encode": video_encode,
    "video_codec.decode": video_decode,
    "audio_codec.encode": audio_encode,
    "audio_codec.decode": audio_decode,
    "audio_encoder": audio_features,
    "video_encoder": video_features,
}
