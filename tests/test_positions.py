"""Where tokens stand, and how that turns their queries and keys."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2_vl
from transformers.models.qwen3 import modeling_qwen3 as qwen3

from reference import rotary
from reference.token_table import TokenTable
from spec import positions
from spec.layout import (
    Layout,
    Modalities,
    Modality,
    Row,
    Segment,
    language_rows,
    observation_rows,
    prefill_rows,
    response_rows,
)
from spec.presets import TINY
from spec.session import SessionConfig
from spec.sizes import Backbone

FAR = 10_000_000
"""Ticks: 111 hours. A float32 angle is wrong by tenths of a radian there."""

QWEN = attrs.evolve(
    TINY.backbone, head_dim=128, mrope_sections=(16, 24, 24), rope_theta=1_000_000.0
)
"""The head of public M-RoPE models."""

UNITS = st.integers(0, 10**7)
PREFILLS = st.integers(1, 10_000)


def table_at(places: list[tuple[int, int, int]]) -> TokenTable:
    rows = [Row(0, Segment.O, Modality.VIDEO, i, *place) for i, place in enumerate(places)]
    return TokenTable.of(rows)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=samples.F64)


@given(base=PREFILLS, unit=UNITS)
def test_tokens_of_the_same_tick_share_t(base: int, unit: int) -> None:
    """WS-POSITIONS-1: t = P + 4 k + i for every modality; ticks follow each other without a gap."""
    layout = Layout(preset=TINY, modalities=Modalities(), prefill_tokens=base)
    rows = observation_rows(layout, unit, 2) + language_rows(layout, unit)
    rows += response_rows(layout, unit)
    by_kind: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        kind = Modality.TEXT if row.modality == Modality.STATE else row.modality
        by_kind.setdefault((row.segment, kind), []).append(row.t)
    start = base + 4 * unit
    ticks = [start, start + 1, start + 2, start + 3]
    assert by_kind == {
        (Segment.O, Modality.VIDEO): [start] * 6,
        (Segment.O, Modality.AUDIO): ticks,
        (Segment.O, Modality.TEXT): ticks[:3],
        (Segment.L, Modality.TEXT): ticks,
        (Segment.Z, Modality.AUDIO): ticks,
        (Segment.Z, Modality.VIDEO): [start] * 6,
    }


@given(base=PREFILLS, unit=UNITS, index=st.integers(0, 3))
def test_text_state_and_audio_stand_on_the_diagonal(base: int, unit: int, index: int) -> None:
    """WS-POSITIONS-2: t = h = w; prefill token i is at (i, i, i)."""
    assert positions.prefill(index) == (index, index, index)
    assert positions.tick(base, unit, index) == (base + 4 * unit + index,) * 3
    layout = Layout(preset=TINY, modalities=Modalities(), prefill_tokens=base)
    rows = observation_rows(layout, unit, 0) + language_rows(layout, unit)
    for row in rows + response_rows(layout, unit):
        assert (row.t == row.h == row.w) or row.modality == Modality.VIDEO


@given(base=PREFILLS, unit=UNITS, row=st.integers(0, 99), col=st.integers(0, 99))
def test_video_adds_its_row_and_column(base: int, unit: int, row: int, col: int) -> None:
    """WS-POSITIONS-3: (t, t + row, t + col) at the first tick of the unit."""
    t = base + 4 * unit
    assert positions.video(base, unit, row, col) == (t, t + row, t + col)


@pytest.mark.parametrize("prompt", [(), (72, 105)])
def test_text_only_session_is_contiguous(prompt: tuple[int, ...]) -> None:
    """WS-POSITIONS-2: prefill and four text slots a unit stand at 0, 1, 2, ... like a language
    model's tokens."""
    config = SessionConfig(
        preset=samples.STATELESS,
        schedule="overlapped",
        modalities=attrs.evolve(samples.TEXT_ONLY, user_text=False),
        prompt=prompt,
    )
    layout = config.layout
    rows = prefill_rows(layout)
    for unit in range(5):
        rows += observation_rows(layout, unit, 0)
        rows += language_rows(layout, unit)
        rows += response_rows(layout, unit)
    assert [(r.t, r.h, r.w) for r in rows] == [(i, i, i) for i in range(1 + len(prompt) + 20)]


@pytest.mark.parametrize("sizes", [TINY.backbone, samples.OTHER.backbone, QWEN])
def test_angles_follow_their_section(sizes: Backbone) -> None:
    """WS-POSITIONS-4: ω_i = θ^(-2i/d) times t, h or w, in three contiguous runs."""
    t, h, w = 5, 11, 23
    axes = [t] * sizes.mrope_sections[0] + [h] * sizes.mrope_sections[1]
    axes += [w] * sizes.mrope_sections[2]
    expected = [
        place * math.exp(-2 * i / sizes.head_dim * math.log(sizes.rope_theta))
        for i, place in enumerate(axes)
    ]
    theta = rotary.angles(table_at([(t, h, w)]), sizes)
    assert theta.dtype == torch.float64
    assert theta.tolist()[0] == pytest.approx(expected, rel=1e-13)


def test_frequencies_first_made_without_gradients_serve_a_gradient() -> None:
    """They are kept (WS-POSITIONS-5), and a session in inference mode may be the first to ask."""
    rotary.inverse_frequencies.cache_clear()
    with torch.inference_mode():
        rotary.inverse_frequencies(TINY.backbone)
    x = torch.ones(1, 1, TINY.backbone.head_dim, dtype=torch.float64, requires_grad=True)
    rotary.rotate(x, rotary.angles(table_at([(3, 5, 7)]), TINY.backbone)).sum().backward()  # type: ignore[no-untyped-call]
    # A rotation keeps the length of each pair, and so of each pair's gradient (1, 1).
    assert x.grad is not None
    first, second = x.grad[0, 0].chunk(2)
    torch.testing.assert_close(first**2 + second**2, torch.full_like(first, 2.0))


class PublicRotary(nn.Module):
    """`transformers`' M-RoPE module with its float32 angles replaced by float64 ones.

    The library takes angles in float32, which would hide ours behind its own error far out. Only
    that rounding is replaced; which axis turns which frequency is left to the library.
    """

    def __init__(self, sizes: Backbone) -> None:
        super().__init__()
        config: Any = qwen2_vl.Qwen2VLTextConfig(
            hidden_size=sizes.head_dim * 2,
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": sizes.rope_theta,
                "mrope_section": list(sizes.mrope_sections),
            },
        )
        self.public = qwen2_vl.Qwen2VLRotaryEmbedding(config)
        exponent = torch.arange(0, sizes.head_dim, 2, dtype=samples.F64) / sizes.head_dim
        self.frequencies = 1.0 / sizes.rope_theta**exponent

    def forward(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin [1, n, head_dim] of places [n, 3]."""
        freqs = places.T[:, None, :, None].to(samples.F64) * self.frequencies
        cos = self.public.recomposition_frequencies(freqs.cos())
        sin = self.public.recomposition_frequencies(freqs.sin())
        return cos, sin


@pytest.mark.parametrize("start", [0, 1_000, FAR])
@pytest.mark.parametrize("sizes", [TINY.backbone, samples.OTHER.backbone, QWEN])
def test_rotation_is_that_of_public_mrope_models(sizes: Backbone, start: int) -> None:
    """WS-POSITIONS-4, WS-POSITIONS-6: video, audio and text places give the queries and keys that
    Qwen2-VL's code gives, at the start and far out."""
    places = [
        (start + t, start + t + h, start + t + w) for t in (0, 4) for h in (0, 1) for w in (0, 2)
    ]
    places += [(start + i,) * 3 for i in (1, 9, 31)]
    q, k = randn(4, len(places), sizes.head_dim), randn(2, len(places), sizes.head_dim, seed=1)
    cos, sin = PublicRotary(sizes)(torch.tensor(places))
    theirs = qwen2_vl.apply_rotary_pos_emb(q[None], k[None], cos, sin)
    theta = rotary.angles(table_at(places), sizes)
    for ours, expected in zip((q, k), theirs, strict=True):
        # One ulp of a frequency, times the place, is the error that float64 leaves far out.
        tolerance = 1e-12 + 4e-16 * start
        torch.testing.assert_close(
            rotary.rotate(ours, theta), expected[0], rtol=0, atol=8 * tolerance
        )


def test_text_rotates_as_in_a_plain_language_model() -> None:
    """WS-POSITIONS-2, WS-POSITIONS-6: on the diagonal the sections do not matter: it is Qwen3's
    one-dimensional rotation, taken from the library untouched (float32 angles, near zero)."""
    sizes = QWEN
    config: Any = qwen3.Qwen3Config(
        head_dim=sizes.head_dim,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
    )
    n = 16
    q = randn(4, n, sizes.head_dim)
    cos, sin = qwen3.Qwen3RotaryEmbedding(config)(q, torch.arange(n)[None])
    expected, _ = qwen3.apply_rotary_pos_emb(q[None], q[None], cos, sin)
    theta = rotary.angles(table_at([(i, i, i) for i in range(n)]), sizes)
    torch.testing.assert_close(rotary.rotate(q, theta), expected[0], rtol=0, atol=2e-5)


@given(place=st.integers(0, 2**40))
def test_no_position_is_the_last(place: int) -> None:
    """WS-POSITIONS-5: the first frequency is 1, so its angle is the place itself, exactly; the
    cosine is that of the mathematical angle and not of a rounded or wrapped one."""
    sizes = TINY.backbone
    theta = rotary.angles(table_at([(place, place, place)]), sizes)
    assert float(theta[0, 0]) == place
    x = torch.zeros(1, 1, sizes.head_dim, dtype=samples.F64)
    x[0, 0, 0] = 1
    turned = rotary.rotate(x, theta)[0, 0]
    half = sizes.head_dim // 2
    assert float(turned[0]) == pytest.approx(math.cos(place), abs=1e-15)
    assert float(turned[half]) == pytest.approx(math.sin(place), abs=1e-15)


def test_rotation_in_float32_loses_nothing_far_out() -> None:
    """WS-POSITIONS-5: angle, cosine and sine in float64, then one rounding to the dtype of x."""
    sizes = TINY.backbone
    theta = rotary.angles(table_at([(FAR + 1, FAR + 2, FAR + 3)]), sizes)
    x = randn(2, 1, sizes.head_dim)
    narrow = rotary.rotate(x.float(), theta)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), rotary.rotate(x, theta), rtol=0, atol=1e-6)


@given(
    a=st.tuples(*[st.integers(0, 50)] * 3),
    b=st.tuples(*[st.integers(0, 50)] * 3),
    shift=st.sampled_from([1, 160, 99_991, FAR]),
)
def test_scores_depend_on_differences_only(
    a: tuple[int, int, int], b: tuple[int, int, int], shift: int
) -> None:
    """WS-POSITIONS-6: moving query and key together changes no score."""
    sizes = QWEN
    q, k = randn(1, 1, sizes.head_dim), randn(1, 1, sizes.head_dim, seed=1)

    def score(by: int) -> float:
        moved = [tuple(p + by for p in place) for place in (a, b)]
        theta = rotary.angles(table_at([(t, h, w) for t, h, w in moved]), sizes)
        return float((rotary.rotate(q, theta[:1]) * rotary.rotate(k, theta[1:])).sum())

    assert score(shift) == pytest.approx(score(0), abs=1e-12 + 1e-14 * shift)


def test_pairs_are_half_a_head_apart() -> None:
    """WS-POSITIONS-6: x_i turns with x_{i + d/2} by θ_i, as a complex number would."""
    sizes = TINY.backbone
    half = sizes.head_dim // 2
    x = randn(3, 4, sizes.head_dim)
    theta = rotary.angles(table_at([(i, i + 2, i + 5) for i in range(4)]), sizes)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
        torch.ones_like(theta), theta
    )
    expected = torch.cat((turned.real, turned.imag), dim=-1)
    torch.testing.assert_close(rotary.rotate(x, theta), expected, rtol=1e-13, atol=1e-13)


def test_cached_keys_are_rotated_and_values_are_not() -> None:
    """WS-POSITIONS-6: keys are normed, then rotated, then kept; values are kept as projected."""
    sizes = samples.SMALL.backbone
    attention: Any = samples.model_of(samples.SMALL).backbone.layers[1].self_attn
    n = 5
    x = randn(n, sizes.d_model)
    theta = rotary.angles(table_at([(i, 2 * i, 3 * i) for i in range(n)]), sizes)
    nothing = torch.zeros(sizes.n_kv_heads, 0, sizes.head_dim, dtype=samples.F64)
    mask = torch.ones(n, n, dtype=torch.bool)
    _, keys, values = attention(x, theta, mask, nothing, nothing)

    def heads(projection: Any) -> Tensor:
        y: Tensor = projection(x)
        return y.reshape(n, sizes.n_kv_heads, sizes.head_dim).transpose(0, 1)

    expected = rotary.rotate(attention.k_norm(heads(attention.k_proj)), theta)
    torch.testing.assert_close(keys, expected, rtol=1e-13, atol=1e-13)
    assert not torch.equal(keys, attention.k_norm(heads(attention.k_proj)))
    torch.testing.assert_close(values, heads(attention.v_proj), rtol=1e-13, atol=1e-13)
