"""A picture and a voice before unit 0: rows, positions, latents, and what they do to a session."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st
from samples import OTHER, SMALL, STATELESS
from torch import Tensor
from torch.nn import functional as F

from reference import kv_cache, offline, prefill, recipe, session, thinker
from reference.model import WanStreamer
from reference.prefill import IdentitySignals
from reference.token_table import TokenTable
from spec.errors import ConfigError, TensorError
from spec.exchange_terms import terms_of
from spec.layout import Modality, Segment, observation_rows, prefill_rows, response_rows
from spec.prefill import Identity
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import Preset, Schedule

SCHEDULES = pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
BOTH = Identity(image=True, voice_ticks=5)
KINDS = [BOTH, Identity(image=True), Identity(voice_ticks=2), Identity()]
EACH_KIND = pytest.mark.parametrize("who", KINDS, ids=str)


def config_of(who: Identity, preset: Preset = SMALL, **changes: Any) -> SessionConfig:
    plain = SessionConfig(preset=preset, schedule="overlapped", prompt=(72, 105), identity=who)
    return attrs.evolve(plain, **changes)


def signals_of(config: SessionConfig, seed: int = 0) -> IdentitySignals:
    """A picture and a recording that fit the session."""
    preset, who = config.preset, config.identity
    frame, samples_in = (3, preset.frame_height, preset.frame_width), (960 * who.voice_ticks,)
    return IdentitySignals(
        image=samples.signal(seed, 0, "picture", frame) if who.image else None,
        voice=samples.signal(seed, 0, "voice", samples_in) if who.voice_ticks else None,
    )


@given(
    st.sampled_from([TINY, SMALL, OTHER]),
    st.lists(st.integers(0, 255), max_size=4),
    st.booleans(),
    st.integers(0, 9),
)
def test_rows_and_positions_of_the_prefill(
    preset: Preset, prompt: list[int], image: bool, ticks: int
) -> None:
    """WS-PREFILL-1, WS-PREFILL-2: text, picture, voice; the picture holds four ticks; unit 0
    follows at once, and the exchange counts all of them."""
    config = config_of(Identity(image=image, voice_ticks=ticks), preset, prompt=tuple(prompt))
    n = 1 + len(prompt)
    expected = [(Modality.TEXT, i, i, i) for i in range(n)]
    if image:
        expected += [
            (Modality.VIDEO, n, n + row, n + col)
            for row in range(preset.patch_rows)
            for col in range(preset.patch_cols)
        ]
    after = n + 4 * image
    expected += [(Modality.AUDIO, t, t, t) for t in range(after, after + ticks)]
    rows = prefill_rows(config.layout)
    assert [(row.modality, row.t, row.h, row.w) for row in rows] == expected
    assert [row.slot for row in rows] == list(range(len(rows)))
    assert {(row.unit, row.segment, row.pad, row.noisy, row.tau) for row in rows} == {
        (-1, Segment.P, 0, 0, 0.0)
    }
    assert config.layout.prefill_tokens == len(rows)
    assert terms_of(config, "s", "float32").prefill_tokens == len(rows)
    for unit in (0, 3):
        first = after + ticks + 4 * unit
        assert observation_rows(config.layout, unit, 0)[0].t == first
        assert response_rows(config.layout, unit)[3].t == first + 3


def test_an_identity_is_not_text() -> None:
    """WS-PREFILL-1: `<bos>` is needed whatever else there is."""
    with pytest.raises(ConfigError, match="prefill: got 0"):
        attrs.evolve(config_of(BOTH).layout, prefill_tokens=BOTH.slots(SMALL))
    with pytest.raises(ConfigError, match="voice_ticks: got -1; allowed: 0"):
        Identity(voice_ticks=-1)


def test_latents_are_means_of_the_codecs_from_their_start() -> None:
    """WS-PREFILL-3: streamed through the codecs' encoders, the picture in four frames, the voice
    tick by tick; means, normalised."""
    config, model = config_of(BOTH), samples.model_of(SMALL)
    signals = signals_of(config)
    assert signals.image is not None
    assert signals.voice is not None
    frames = torch.stack([signals.image] * 4, dim=1)[None]
    video, _ = model.video_codec.encode(frames, model.video_codec.encoder_state(1))
    picture = prefill.picture_latents(model, signals.image)
    torch.testing.assert_close(picture, video.mean[0, :, 0], rtol=0, atol=1e-12)
    state, ticks = model.audio_codec.encoder_state(1), []
    for tick in signals.voice.reshape(-1, 960):
        audio, state = model.audio_codec.encode(tick[None], state)
        ticks.append(audio.mean[0, :, 0])
    voice = prefill.voice_latents(model, signals.voice)
    torch.testing.assert_close(voice, torch.stack(ticks), rtol=0, atol=1e-12)


def test_identity_tokens_are_clean_response_tokens_with_a_segment_of_their_own() -> None:
    """WS-PREFILL-4: projection + own row + τ embedding of 0, written out by parameter names."""
    config, model = config_of(BOTH), samples.model_of(SMALL)
    w, signals = model.state_dict(), signals_of(config)
    assert signals.image is not None
    assert signals.voice is not None
    z = prefill.picture_latents(model, signals.image)
    patches = torch.stack([z[:, :, i : i + 2].reshape(-1) for i in (0, 2)])
    own, clean = w["identity_segment_embedding"], model.tau_embedding(torch.zeros(1).double())
    assert own.shape == (2, SMALL.backbone.d_model)
    picture = F.linear(patches, w["video_latent_proj.weight"], w["video_latent_proj.bias"])
    voice = F.linear(
        prefill.voice_latents(model, signals.voice),
        w["audio_latent_proj.weight"],
        w["audio_latent_proj.bias"],
    )
    text = model.embed_prefill(config.prefill)
    expected = torch.cat((text, picture + own[0] + clean, voice + own[1] + clean))
    torch.testing.assert_close(prefill.embed(model, config, signals), expected, rtol=0, atol=1e-13)
    assert not torch.equal(own[0], own[1])


@pytest.mark.parametrize(
    ("preset", "schedule", "who"),
    [
        (SMALL, "overlapped", BOTH),
        (SMALL, "sequential", KINDS[1]),
        (STATELESS, "overlapped", BOTH),
        (OTHER, "sequential", KINDS[2]),
    ],
    ids=["both", "picture", "stateless", "voice"],
)
def test_streaming_equals_offline_with_an_identity(
    preset: Preset, schedule: Schedule, who: Identity
) -> None:
    """WS-PREFILL-1, WS-PREFILL-2, WS-PREFILL-4: with picture, voice or both; without state slots
    the first word follows the prompt's last token."""
    config = config_of(who, preset, schedule=schedule)
    model, signals = samples.model_of(preset), signals_of(config)
    users, noises = samples.users_of(config, 2), samples.noises_of(config, 2)
    whole = offline.generate(model, config, users, noises, identity=signals)
    state = session.open_session(model, config, signals)
    for user, noise, expected in zip(users, noises, whole, strict=True):
        agent, state = session.step(model, config, state, user, noise)
        samples.assert_close(agent, expected)


def test_without_state_slots_the_prompt_speaks_first() -> None:
    """WS-PREFILL-4: the first word's logits are read at the last text token of P."""
    config = config_of(BOTH, STATELESS)
    model, signals = samples.model_of(STATELESS), signals_of(config)
    state = prefill.begin(model, config, signals)
    _, state = prefill.run_chunk(model, config, 3, state)
    _, thinks = thinker.prefill(model, config, signals)
    assert state.last_hidden is not None
    torch.testing.assert_close(thinks.last_hidden, state.last_hidden, rtol=0, atol=1e-12)


@SCHEDULES
def test_the_text_does_not_know_who_it_speaks_for(schedule: Schedule) -> None:
    """WS-PREFILL-1: the entries of the text are those of a session without an identity, which is
    itself untouched: rows 0 to n - 1 and nothing else."""
    config, plain = config_of(BOTH, schedule=schedule), config_of(KINDS[3], schedule=schedule)
    model = samples.model_of(SMALL)
    with_identity, _ = thinker.prefill(model, config, signals_of(config))
    without, _ = thinker.prefill(model, plain)
    assert len(without) == 3
    text = kv_cache.take(with_identity, torch.arange(3))
    assert torch.equal(text.table.cells, without.table.cells)
    torch.testing.assert_close(text.k, without.k, rtol=0, atol=1e-12)
    torch.testing.assert_close(text.v, without.v, rtol=0, atol=1e-12)


@cache
def entries(seed_image: int, changed: int | None) -> kv_cache.KVEntries:
    """Prefill entries of a session, with another picture, or from tick ``changed`` on another
    voice."""
    config, model = config_of(BOTH), samples.model_of(SMALL)
    signals = attrs.evolve(signals_of(config), image=signals_of(config, seed_image).image)
    if changed is not None:
        assert signals.voice is not None
        ours, theirs = signals.voice, signals_of(config, 1).voice
        assert theirs is not None
        signals = attrs.evolve(
            signals, voice=torch.cat((ours[: 960 * changed], theirs[960 * changed :]))
        )
    return thinker.prefill(model, config, signals)[0]


def moved(a: kv_cache.KVEntries, b: kv_cache.KVEntries) -> list[bool]:
    """Which entries differ by a bit."""
    return [not torch.equal(a.k[:, :, i], b.k[:, :, i]) for i in range(len(a))]


def test_nothing_in_the_prefill_hears_the_future() -> None:
    """WS-PREFILL-3, WS-VISIBILITY-3: another voice from a tick on moves those ticks and nothing
    before them by a bit; another picture moves all of itself and all of the voice, but no text."""
    text, picture = [False] * 3, [False] * 2
    for tick in range(5):
        voice = [False] * tick + [True] * (5 - tick)
        assert moved(entries(0, None), entries(0, tick)) == text + picture + voice
    assert moved(entries(0, None), entries(1, None)) == text + [True] * 7


@SCHEDULES
def test_an_identity_is_seen_from_the_first_unit_on(schedule: Schedule) -> None:
    """WS-PREFILL-1: another picture or voice changes unit 0, in words, sound and picture."""
    config, model = config_of(BOTH, schedule=schedule), samples.model_of(SMALL)
    user, noise = samples.users_of(config, 1)[0], samples.noise_of(config, 0)
    ours, other = signals_of(config), signals_of(config, 1)
    first = [
        samples.tensors_of(
            session.step(model, config, session.open_session(model, config, who), user, noise)[0]
        )
        for who in (
            ours,
            attrs.evolve(ours, image=other.image),
            attrs.evolve(ours, voice=other.voice),
        )
    ]
    for changed in first[1:]:
        for name, value in first[0].items():
            assert not torch.equal(value, changed[name]), name


def test_an_identity_is_the_part_of_the_encoders() -> None:
    """WS-PREFILL-3, WS-PREFILL-4: with it each parameter of the model moves a session, the codecs'
    encoders and the identity's embedding included."""
    model, config = WanStreamer(SMALL, dtype=samples.F64), config_of(BOTH)
    recipe.fill(model)
    model.requires_grad_()
    state = session.open_session(model, config, signals_of(config))
    total = torch.zeros((), dtype=samples.F64)
    for k, user in enumerate(samples.users_of(config, 2, (2, 3))):
        agent, state = session.step(model, config, state, user, samples.noise_of(config, k))
        for tensor in samples.tensors_of(agent).values():
            total = total + tensor.square().sum()
    total.backward()  # type: ignore[no-untyped-call]
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == set()


@EACH_KIND
def test_decoders_start_as_ever(who: Identity) -> None:
    """WS-PREFILL-3: encoding an identity leaves no trace in the state of a session."""
    config, model = config_of(who), samples.model_of(SMALL)
    _, thinks = thinker.prefill(model, config, signals_of(config))
    _, plain = thinker.prefill(model, config_of(Identity()))
    for name in ("video_encoder", "audio_encoder", "video_decoder", "audio_decoder"):
        ours, expected = getattr(thinks, name), getattr(plain, name)
        assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True)), name


def changed(name: str, value: Tensor | None) -> IdentitySignals:
    return attrs.evolve(signals_of(config_of(BOTH)), **{name: value})


def spoiled(name: str, value: float) -> IdentitySignals:
    tensor = getattr(signals_of(config_of(BOTH)), name).clone()
    tensor.reshape(-1)[-1] = value
    return changed(name, tensor)


FRAME = "shape (3, 32, 64)"
REFUSED: dict[str, tuple[Identity, IdentitySignals, str, object, str]] = {
    "no-image": (BOTH, changed("image", None), "identity image", "none", FRAME),
    "no-voice": (BOTH, changed("voice", None), "identity voice", "none", "shape (4800,)"),
    "nobody": (BOTH, prefill.NOBODY, "identity image", "none", FRAME),
    "image-too-many": (
        KINDS[2], signals_of(config_of(KINDS[1])), "identity image", (3, 32, 64),
        "none in this session",
    ),
    "voice-too-many": (
        KINDS[1], signals_of(config_of(BOTH)), "identity voice", (4800,), "none in this session",
    ),
    "other-size": (
        BOTH, changed("image", torch.zeros(3, 64, 32)), "identity image", (3, 64, 32), FRAME,
    ),
    "short": (
        BOTH, changed("voice", torch.zeros(4799)), "identity voice", (4799,), "shape (4800,)",
    ),
    "nan": (BOTH, spoiled("image", torch.nan), "identity image", "NaN or Inf", "finite values"),
    "inf": (BOTH, spoiled("voice", -torch.inf), "identity voice", "NaN or Inf", "finite values"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_signals_that_do_not_fit_are_refused(name: str) -> None:
    """WS-PREFILL-6: when the session is opened, streaming and offline; one line, which names what
    is wrong, which value came and what is allowed."""
    who, signals, what, value, allowed = REFUSED[name]
    config, model = config_of(who), samples.model_of(SMALL)
    for open_with in (
        lambda: session.open_session(model, config, signals),
        lambda: offline.generate(
            model, config, samples.users_of(config, 1), samples.noises_of(config, 1),
            identity=signals,
        ),
    ):  # fmt: skip
        with pytest.raises(TensorError) as caught:
            open_with()
        assert (caught.value.what, caught.value.value) == (what, value)
        assert caught.value.allowed == allowed
        assert "\n" not in str(caught.value)


def test_signals_of_another_precision_are_cast() -> None:
    """WS-PREFILL-3: float32 signals into a float64 session."""
    config, model = config_of(BOTH), samples.model_of(SMALL)
    signals = signals_of(config)
    assert signals.image is not None
    assert signals.voice is not None
    narrow = IdentitySignals(image=signals.image.float(), voice=signals.voice.float())
    table = TokenTable.of(prefill_rows(config.layout))
    cache, _ = thinker.prefill(model, config, narrow)
    assert cache.k.dtype == samples.F64
    assert torch.equal(cache.table.cells, table.cells)
