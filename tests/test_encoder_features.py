"""The user encoders stand apart from the codecs, and neither remembers anything."""

from __future__ import annotations

import torch

from reference import recipe
from reference.audio_codec import AudioCodec
from reference.audio_encoder import AudioEncoder
from reference.model import WanStreamer
from reference.video_codec import VideoCodec
from reference.video_encoder import VideoEncoder
from spec.presets import TINY


def test_encoders_share_no_weight_with_the_codecs() -> None:
    """WS-ENCODER-1: changing every codec weight changes no user feature, and no storage is
    shared."""
    codecs = (VideoCodec(TINY), AudioCodec(TINY))
    encoders = (VideoEncoder(TINY), AudioEncoder(TINY))
    for module in (*codecs, *encoders):
        recipe.fill(module)
    theirs = {p.data_ptr() for c in codecs for p in c.parameters()}
    ours = {p.data_ptr() for e in encoders for p in e.parameters()}
    assert not theirs & ours
    frames = torch.full((1, 3, 4, 96, 144), 0.5)
    before = encoders[0].encode_whole(frames)
    with torch.no_grad():
        for codec in codecs:
            for parameter in codec.parameters():
                parameter.zero_()
    assert torch.equal(before, encoders[0].encode_whole(frames))


def test_the_model_keeps_them_apart() -> None:
    """WS-ENCODER-1: inside the model, too, encoders and codecs have no storage in common, and the
    projections into the model are in no encoder."""
    model = WanStreamer(TINY)
    encoders = {p.data_ptr() for e in (model.video_encoder, model.audio_encoder)
                for p in e.parameters()}  # fmt: skip
    codecs = {p.data_ptr() for c in (model.video_codec, model.audio_codec) for p in c.parameters()}
    projections = {p.data_ptr() for layer in (model.user_video_proj, model.user_audio_proj)
                   for p in layer.parameters()}  # fmt: skip
    assert len(projections) == 4
    assert not encoders & codecs
    assert not encoders & projections


def test_modules_hold_parameters_only() -> None:
    """WS-CODEC-5, WS-ENCODER-8: no buffer that could remember a stream."""
    for module in (VideoCodec(TINY), AudioCodec(TINY), VideoEncoder(TINY), AudioEncoder(TINY)):
        assert not list(module.buffers())


def test_a_stream_leaves_the_module_as_it_was() -> None:
    """WS-CODEC-5, WS-ENCODER-8: no attribute of any layer is made or replaced by a run."""
    codec, encoder = AudioCodec(TINY), AudioEncoder(TINY)
    modules = [*codec.modules(), *encoder.modules()]
    before = [{name: id(value) for name, value in vars(m).items()} for m in modules]
    posterior, _ = codec.encode(torch.zeros(1, 960), codec.encoder_state(1))
    codec.decode(posterior.mean, codec.decoder_state(1))
    encoder.encode(torch.zeros(1, 640), encoder.init_state(1))
    after = [{name: id(value) for name, value in vars(m).items()} for m in modules]
    assert before == after
