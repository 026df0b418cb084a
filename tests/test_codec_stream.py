"""One contract for six causal paths: both codecs, both ways, and both user encoders."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference import recipe
from reference.audio_codec import AudioCodec
from reference.audio_encoder import AudioEncoder
from reference.causal_conv import State
from reference.latent_norm import Posterior
from reference.video_codec import VideoCodec
from reference.video_encoder import VideoEncoder
from spec.errors import TensorError
from spec.presets import TINY
from spec.sizes import AudioCodec as AudioSizes
from spec.sizes import Encoders, Preset
from spec.sizes import VideoCodec as VideoSizes

SMALL = attrs.evolve(TINY, name="tiny-48", frame_height=48, frame_width=48)
"""`tiny` on smaller frames: the same layers in time, in a sixth of the time."""

OTHER = attrs.evolve(
    TINY,
    name="other",
    frame_height=32,
    frame_width=96,
    video_codec=VideoSizes(latent_channels=3, channels=(4, 6, 5), patch=2),
    audio_codec=AudioSizes(latent_channels=4, channels=(3, 5, 4), strides=(32, 30)),
    encoders=Encoders(
        n_mels=12, mel_window=320, mel_hop=320, audio_channels=9, video_channels=(4, 5, 3)
    ),
)
"""Another geometry, so that nothing can be hard-coded."""

HOPS = 6


@attrs.frozen(kw_only=True, eq=False)
class Path:
    """A causal path: ``hop`` steps of input on ``axis`` become ``out_hop`` on ``out_axis``."""

    step: Callable[[Tensor, State], tuple[Tensor, State]]
    whole: Callable[[Tensor], Tensor]
    init: Callable[[int], State]
    shape: tuple[int, ...]
    axis: int
    hop: int
    out_axis: int
    out_hop: int

    def input(self, hops: int, batch: int = 1, unit: int = 0) -> Tensor:
        shape = list(self.shape)
        shape.insert(self.axis - 1, hops * self.hop)
        return 0.5 * recipe.noise(7, unit, "input", (batch, *shape), torch.float64)

    def run(self, x: Tensor, chunks: list[int]) -> tuple[Tensor, State]:
        state, parts = self.init(x.shape[0]), []
        for part in torch.split(x, [c * self.hop for c in chunks], dim=self.axis):
            y, state = self.step(part, state)
            assert y.shape[self.out_axis] * self.hop == part.shape[self.axis] * self.out_hop
            parts.append(y)
        return torch.cat(parts, dim=self.out_axis), state


def stacked(posterior: Posterior) -> Tensor:
    return torch.cat([posterior.mean, posterior.log_variance], dim=1)


def encoding(codec: VideoCodec | AudioCodec) -> Callable[[Tensor, State], tuple[Tensor, State]]:
    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        posterior, state = codec.encode(x, state)
        return stacked(posterior), state

    return step


@cache
def paths(preset: Preset) -> dict[str, Path]:
    video, audio = VideoCodec(preset), AudioCodec(preset)
    heard, seen = AudioEncoder(preset), VideoEncoder(preset)
    for module in (video, audio, heard, seen):
        recipe.fill(module)
        module.double().requires_grad_(requires_grad=False)
    frame = (preset.frame_height, preset.frame_width)
    grid = (preset.latent_height, preset.latent_width)
    tokens = preset.patch_rows * preset.patch_cols
    return {
        "video-encode": Path(
            step=encoding(video),
            whole=lambda x: stacked(video.encode_whole(x)),
            init=video.encoder_state,
            shape=(3, *frame),
            axis=2,
            hop=4,
            out_axis=2,
            out_hop=1,
        ),
        "video-decode": Path(
            step=video.decode,
            whole=video.decode_whole,
            init=video.decoder_state,
            shape=(preset.video_codec.latent_channels, *grid),
            axis=2,
            hop=1,
            out_axis=2,
            out_hop=4,
        ),
        "audio-encode": Path(
            step=encoding(audio),
            whole=lambda x: stacked(audio.encode_whole(x)),
            init=audio.encoder_state,
            shape=(),
            axis=1,
            hop=960,
            out_axis=2,
            out_hop=1,
        ),
        "audio-decode": Path(
            step=audio.decode,
            whole=audio.decode_whole,
            init=audio.decoder_state,
            shape=(preset.audio_codec.latent_channels,),
            axis=2,
            hop=1,
            out_axis=1,
            out_hop=960,
        ),
        "user-audio": Path(
            step=heard.encode,
            whole=heard.encode_whole,
            init=heard.init_state,
            shape=(),
            axis=1,
            hop=640,
            out_axis=1,
            out_hop=1,
        ),
        "user-video": Path(
            step=seen.encode,
            whole=seen.encode_whole,
            init=seen.init_state,
            shape=(3, *frame),
            axis=2,
            hop=4,
            out_axis=1,
            out_hop=tokens,
        ),
    }


NAMES = tuple(paths(SMALL))
PRESETS = pytest.mark.parametrize("preset", [SMALL, OTHER], ids=lambda p: p.name)
PATHS = pytest.mark.parametrize("name", NAMES)


def plans(hops: int) -> st.SearchStrategy[list[int]]:
    """Every way to cut ``hops`` into chunks of at least one."""
    return st.sets(st.integers(1, hops - 1)).map(
        lambda cuts: [b - a for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), hops], strict=True)]
    )


@PRESETS
@PATHS
@settings(max_examples=4)
@given(chunks=plans(HOPS))
def test_chunked_equals_whole(preset: Preset, name: str, chunks: list[int]) -> None:
    """WS-CODEC-4, WS-CODEC-5, WS-ENCODER-8: any chunk plan gives the offline form's numbers, from
    the first frame on."""
    path = paths(preset)[name]
    x = path.input(HOPS)
    y, _ = path.run(x, chunks)
    torch.testing.assert_close(y, path.whole(x), rtol=1e-10, atol=1e-10)


@PRESETS
@PATHS
@pytest.mark.parametrize("first_changed", [1, 2, HOPS // 2, HOPS - 1])
def test_new_input_never_changes_past_output(preset: Preset, name: str, first_changed: int) -> None:
    """WS-CODEC-6, WS-ENCODER-8: causality by perturbation, bit by bit, offline and streaming."""
    path = paths(preset)[name]
    x = path.input(HOPS)
    at = first_changed * path.hop
    past = x.narrow(path.axis, 0, at)
    future = path.input(HOPS, unit=1).narrow(path.axis, at, x.shape[path.axis] - at)
    changed = torch.cat([past, future], dim=path.axis)
    safe = first_changed * path.out_hop
    for form in (
        path.whole,
        lambda v: path.run(v, [1] * HOPS)[0],
        lambda v: path.run(v, [4, 2])[0],
    ):
        before, after = form(x), form(changed)
        assert torch.equal(
            before.narrow(path.out_axis, 0, safe), after.narrow(path.out_axis, 0, safe)
        )
        now = [t.narrow(path.out_axis, safe, path.out_hop) for t in (before, after)]
        assert not torch.equal(*now)


def changed_outputs(path: Path, hops: int, at: int) -> list[int]:
    """Output steps that change, in any bit, when input step ``at`` does."""
    x = path.input(hops)
    impulse = torch.zeros_like(x)
    impulse.narrow(path.axis, at, 1).fill_(1.0)
    moved = (path.whole(x) != path.whole(x + impulse)).movedim(path.out_axis, 0)
    return moved.flatten(1).any(dim=1).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("name", "width", "hops"),
    [("video-encode", 42, 13), ("audio-encode", 8461, 12), ("user-audio", 4399, 10)],
)
def test_encoder_receptive_field(name: str, width: int, hops: int) -> None:
    """WS-CODEC-6, WS-CODEC-12, WS-ENCODER-9: the last output of `tiny` sees exactly ``width``
    inputs, the newest of them its own last one (zero delay)."""
    path = paths(SMALL)[name]
    length, last = hops * path.hop, hops - 1
    assert last in changed_outputs(path, hops, length - 1)
    assert last in changed_outputs(path, hops, length - width)
    assert last not in changed_outputs(path, hops, length - width - 1)
    # The last input of the hop before is heard at once, and its next one never.
    before = changed_outputs(path, hops, length - path.hop - 1)
    assert before == [last - 1, last]


def test_user_video_receptive_field() -> None:
    """WS-ENCODER-9: the tokens of unit k of `tiny` see the 34 frames up to its own last one."""
    path, hops = paths(SMALL)["user-video"], 11
    tokens = path.out_hop
    newest = set(range((hops - 1) * tokens, hops * tokens))
    assert newest <= set(changed_outputs(path, hops, 4 * hops - 1))
    assert newest & set(changed_outputs(path, hops, 4 * hops - 34))
    assert not newest & set(changed_outputs(path, hops, 4 * hops - 35))


@pytest.mark.parametrize(
    ("name", "first", "last"), [("video-decode", 13, 12), ("audio-decode", 10, 9)]
)
def test_decoder_receptive_field(name: str, first: int, last: int) -> None:
    """WS-CODEC-6, WS-CODEC-12: the first output of a latent frame of `tiny` sees ``first``
    latents, the last one ``last``; an output appears with its own latent (zero delay)."""
    path, hops = paths(SMALL)[name], 15
    n, k = path.out_hop, hops - 1
    own = changed_outputs(path, hops, k)
    assert own[0] == k * n
    assert own[-1] == (k + 1) * n - 1
    for output, width in ((k * n, first), ((k + 1) * n - 1, last)):
        assert output in changed_outputs(path, hops, k - width + 1)
        assert output not in changed_outputs(path, hops, k - width)


def encoder_width(convs: list[tuple[int, int]]) -> int:
    """1 + Σ (k - 1) · J, J the product of the strides before (WS-CODEC-12)."""
    width, jump = 1, 1
    for kernel, stride in convs:
        width += (kernel - 1) * jump
        jump *= stride
    return width


def test_receptive_field_formula() -> None:
    """WS-CODEC-12, WS-ENCODER-9: the stated numbers of `tiny` follow from its sizes."""
    residual = [(3, 1), (3, 1)]
    trunk = [(4, 2), *residual, (4, 2), *residual]
    assert encoder_width(trunk) == 34
    assert encoder_width([*trunk, (3, 1)]) == 42
    audio = [(7, 1)]
    for s in TINY.audio_codec.strides:
        audio += [(2 * s, s), *residual]
    assert encoder_width([*audio, (3, 1)]) == 8461
    mel = TINY.encoders
    # The window's first sample has weight zero (periodic Hann).
    heard = encoder_width([(mel.mel_window - 1, mel.mel_hop), (3, 1), (8, 4), *residual])
    assert heard == 4399


@PATHS
def test_second_session_is_a_fresh_start(name: str) -> None:
    """WS-CODEC-4, WS-CODEC-5: a run leaves nothing behind in the module or in its first state."""
    path = paths(SMALL)[name]
    x = path.input(3)
    start = path.init(1)
    assert all(s.count_nonzero() == 0 for s in start)
    first, _ = path.step(x, start)
    assert all(s.count_nonzero() == 0 for s in start)
    path.run(path.input(3, unit=9), [1, 2])
    again, _ = path.step(x, path.init(1))
    assert torch.equal(first, again)


@PATHS
def test_state_is_all_there_is(name: str) -> None:
    """WS-CODEC-5: the state never grows, and a stream resumed from a copy of it goes on bit by
    bit."""
    path = paths(SMALL)[name]
    x = path.input(4)
    _, short = path.run(x.narrow(path.axis, 0, 2 * path.hop), [1, 1])
    _, long = path.run(torch.cat([x, x], dim=path.axis), [1] * 8)
    assert [s.shape for s in short] == [s.shape for s in long] == [s.shape for s in path.init(1)]
    rest = x.narrow(path.axis, 2 * path.hop, path.hop)
    y, after = path.step(rest, short)
    y2, after2 = path.step(rest.clone(), tuple(s.clone() for s in short))
    assert torch.equal(y, y2)
    assert all(torch.equal(a, b) for a, b in zip(after, after2, strict=True))


@PATHS
def test_batch_rows_are_independent(name: str) -> None:
    """WS-CODEC-5: a row of a batch is the same stream alone; other rows cannot reach it."""
    path = paths(SMALL)[name]
    x = path.input(3, batch=2)
    other = torch.cat([x[:1], path.input(3, batch=1, unit=1)])
    y, _ = path.run(x, [1, 2])
    y_other, _ = path.run(other, [1, 2])
    assert torch.equal(y[0], y_other[0])
    alone, _ = path.run(x[:1], [1, 2])
    torch.testing.assert_close(y[:1], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("preset", [TINY, OTHER], ids=lambda p: p.name)
def test_shapes_of_a_unit(preset: Preset) -> None:
    """WS-CODEC-1, WS-CODEC-2, WS-ENCODER-6, WS-ENCODER-7: what one unit turns into."""
    h, w = preset.frame_height, preset.frame_width
    rows, cols = h // 16, w // 16
    video, audio = VideoCodec(preset), AudioCodec(preset)
    frames, wave = torch.zeros(2, 3, 4, h, w), torch.zeros(2, 3840)
    cv, ca = preset.video_codec.latent_channels, preset.audio_codec.latent_channels
    z_video, _ = video.encode(frames, video.encoder_state(2))
    z_audio, _ = audio.encode(wave, audio.encoder_state(2))
    assert z_video.mean.shape == z_video.log_variance.shape == (2, cv, 1, rows, cols)
    assert z_audio.mean.shape == z_audio.log_variance.shape == (2, ca, 4)
    assert video.decode(z_video.mean, video.decoder_state(2))[0].shape == frames.shape
    assert audio.decode(z_audio.mean, audio.decoder_state(2))[0].shape == wave.shape
    heard, seen = AudioEncoder(preset), VideoEncoder(preset)
    user_audio, _ = heard.encode(torch.zeros(2, 2560), heard.init_state(2))
    tokens, _ = seen.encode(frames, seen.init_state(2))
    assert user_audio.shape == (2, 4, heard.feature_dim)
    assert tokens.shape == (2, preset.patch_rows * preset.patch_cols, seen.feature_dim)
    assert seen.feature_dim == preset.encoders.video_channels[2] * preset.video_codec.patch**2


@PATHS
def test_a_chunk_that_splits_a_latent_frame_is_refused(name: str) -> None:
    """WS-CODEC-5, WS-ENCODER-8: nothing, or a part of a hop, is a user's mistake, said plainly."""
    path = paths(SMALL)[name]
    x = path.input(2)
    lengths = {0} | ({path.hop * 5 // 4} if path.hop > 1 else set())
    for length in lengths:
        with pytest.raises(TensorError, match=rf"got {length}; .* multiple of {path.hop}$"):
            path.step(x.narrow(path.axis, 0, length), path.init(1))


def test_recipe_keeps_signals_alive() -> None:
    """WS-CODEC-14: on recipe weights every path of `tiny` stays of order one, and decoded unit
    Gaussians reach an audible, visible level."""
    for name, path in paths(TINY).items():
        x = path.input(HOPS)
        if name.endswith("decode"):
            x = 2 * x
        rms = path.whole(x).square().mean().sqrt().item()
        low, high = (0.2, 0.6) if name.endswith("decode") else (0.1, 3.0)
        assert low < rms < high, name
    # Not clipped: values past 1 pass through.
    video = paths(TINY)["video-decode"]
    assert video.whole(20 * video.input(HOPS)).abs().max() > 1
