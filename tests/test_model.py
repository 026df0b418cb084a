"""Ways into the Transformer and heads out of it, written out from named parameters."""

from __future__ import annotations

import pytest
import samples
import torch
from samples import OTHER, SMALL
from torch import Tensor
from torch.nn import functional as F

from reference import patches, recipe, session
from reference.model import WanStreamer
from reference.units import Latents
from spec.session import SessionConfig
from spec.sizes import Preset


def test_parts_and_names_of_the_model() -> None:
    """WS-MODEL-1: two user encoders, two codecs, one Transformer, three heads, and the ways in."""
    model = samples.model_of(SMALL)
    parts = {name.partition(".")[0] for name in model.state_dict()}
    assert parts == {
        *("video_encoder", "audio_encoder", "video_codec", "audio_codec"),
        *("embed_tokens", "segment_embedding", "identity_segment_embedding"),
        *("state_embedding", "tau_embedding"),
        *("user_video_proj", "user_audio_proj", "audio_latent_proj", "video_latent_proj"),
        *("backbone", "lm_head", "audio_velocity_head", "video_velocity_head"),
    }
    layers = {name.split(".")[2] for name in model.state_dict() if name.startswith("backbone.l")}
    assert layers == {"0", "1"}


def test_every_part_takes_part() -> None:
    """WS-MODEL-1: each parameter moves the outputs of a session, but for those of an identity: its
    embedding and the codecs' encoders."""
    model = WanStreamer(SMALL, dtype=samples.F64)
    recipe.fill(model)
    model.requires_grad_()
    config = SessionConfig(preset=SMALL, schedule="overlapped")
    state, total = session.open_session(model, config), torch.zeros((), dtype=samples.F64)
    for k, user in enumerate(samples.users_of(config, 2, (2, 3))):
        agent, state = session.step(model, config, state, user, samples.noise_of(config, k))
        for tensor in samples.tensors_of(agent).values():
            total = total + tensor.square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    identity = {"identity_segment_embedding"}
    assert {name for name in idle if "codec.encoder." not in name} == identity


def row(model: WanStreamer, index: int) -> Tensor:
    embedding: Tensor = model.state_dict()["segment_embedding"]
    return embedding[index]


def test_tokens_enter_as_projection_plus_segment() -> None:
    """WS-MODEL-2: rows of the segment embedding in the order P text, O video, O audio, O text,
    L state, L text, Z audio, Z video; written out from the named parameters."""
    model = samples.model_of(SMALL)
    w = model.state_dict()
    assert w["segment_embedding"].shape == (8, SMALL.backbone.d_model)
    words = (65, 258, 3)
    table = w["embed_tokens.weight"][list(words)]
    assert torch.equal(model.embed_prefill(words), table + row(model, 0))
    assert torch.equal(model.embed_agent_text(words), table + row(model, 5))
    assert torch.equal(model.embed_state(), w["state_embedding"] + row(model, 4))
    video = samples.signal(1, 0, "video", (2, w["user_video_proj.weight"].shape[1]))
    audio = samples.signal(1, 0, "audio", (4, w["user_audio_proj.weight"].shape[1]))
    expected = torch.cat(
        (
            F.linear(video, w["user_video_proj.weight"], w["user_video_proj.bias"]) + row(model, 1),
            F.linear(audio, w["user_audio_proj.weight"], w["user_audio_proj.bias"]) + row(model, 2),
            table + row(model, 3),
        )
    )
    assert torch.equal(model.embed_observation(video, audio, words), expected)
    assert torch.equal(model.embed_observation(None, None, words), expected[6:])


def latents() -> Latents:
    config = SessionConfig(preset=SMALL, schedule="overlapped")
    return samples.noise_of(config, 0)


def test_response_tokens_add_the_flow_time() -> None:
    """WS-MODEL-3: projection + segment + τ, audio then video; a clean token has τ = 0, which adds
    the embedding of 0 and not nothing."""
    model, z = samples.model_of(SMALL), latents()
    assert z.audio is not None
    assert z.video is not None
    w = model.state_dict()
    for tau in (0.0, 0.5, 1.0):
        taus = torch.full((6,), tau, dtype=samples.F64)
        audio = F.linear(z.audio, w["audio_latent_proj.weight"], w["audio_latent_proj.bias"])
        # Two 2 x 2 patches side by side; inside one the channel is slowest.
        tokens = torch.stack([z.video[:, :, i : i + 2].reshape(-1) for i in (0, 2)])
        video = F.linear(tokens, w["video_latent_proj.weight"], w["video_latent_proj.bias"])
        expected = torch.cat((audio + row(model, 6), video + row(model, 7)))
        time = model.tau_embedding(taus[:1])
        assert time.abs().max() > 0.01
        torch.testing.assert_close(
            model.embed_response(z, taus), expected + time, rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("preset", [SMALL, OTHER], ids=lambda p: p.name)
def test_logits_are_the_language_head(preset: Preset) -> None:
    """WS-MODEL-4: an own matrix, or with tied embeddings the token embedding itself."""
    model = samples.model_of(preset)
    hidden = samples.signal(2, 0, "hidden", (3, preset.backbone.d_model))
    tied = preset.backbone.tied_embeddings
    head = model.state_dict()["embed_tokens.weight" if tied else "lm_head.weight"]
    torch.testing.assert_close(model.logits(hidden), hidden @ head.T, rtol=0, atol=1e-12)
    assert (model.lm_head.weight is model.embed_tokens.weight) == tied


def test_velocity_is_read_by_two_heads() -> None:
    """WS-MODEL-5: audio tokens first through the audio head, then video tokens through the video
    head, back to latent pixels; the two do not mix."""
    model, z = samples.model_of(SMALL), latents()
    hidden = samples.signal(3, 0, "hidden", (6, SMALL.backbone.d_model))
    v = model.velocity(hidden, z)
    assert v.audio is not None
    assert v.video is not None
    w = model.state_dict()
    audio = F.linear(hidden[:4], w["audio_velocity_head.weight"], w["audio_velocity_head.bias"])
    torch.testing.assert_close(v.audio, audio, rtol=0, atol=1e-13)
    video = F.linear(hidden[4:], w["video_velocity_head.weight"], w["video_velocity_head.bias"])
    torch.testing.assert_close(patches.patchify(v.video, 2), video, rtol=0, atol=1e-13)
    left = video[0].reshape(SMALL.video_codec.latent_channels, 2, 2)
    torch.testing.assert_close(v.video[:, :, :2], left, rtol=0, atol=1e-13)
