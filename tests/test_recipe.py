"""The integer recipe: array form equals definition, worked examples, digest."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference import recipe as arrays
from reference.audio_codec import AudioCodec
from spec import recipe
from spec.presets import TINY

SPEC = Path(__file__).resolve().parent.parent / "spec" / "recipe.md"
U64 = st.integers(0, 2**64 - 1)
INDICES = np.array([0, 1, 2, 3, 10, 255, 65_536, 2**31, 2**40 + 7], dtype=np.uint64)


def worked_examples() -> dict[str, str]:
    """Rows ``| `expression` | `value` |`` of the page."""
    rows = re.findall(r"^\| `([^|]+)` \| `([^|]+)` \|$", SPEC.read_text("utf-8"), re.MULTILINE)
    return dict(rows)


def evaluate(expression: str) -> str:
    value = eval(  # noqa: S307 - the text is our own specification
        expression, {"__builtins__": {}}, {**vars(recipe), "float32": float32_bits}
    )
    if isinstance(value, float):
        return value.hex()
    return f"0x{value:x}" if isinstance(value, int) else str(value)


def float32_bits(value: float) -> int:
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return int(bits)


def test_worked_examples_of_the_page() -> None:
    """WS-RECIPE-1, WS-RECIPE-2, WS-RECIPE-3, WS-RECIPE-4, WS-RECIPE-8: every printed value is the
    value."""
    examples = worked_examples()
    assert len(examples) >= 12
    for expression, printed in examples.items():
        assert evaluate(expression) == printed, expression


def test_rules_of_the_page() -> None:
    """WS-RECIPE-3: the table of the page is the table of the code, in order."""
    rows = re.findall(
        r"^ +\d+  (\S+) +(uniform|offset) +([\d.]+) +([\d.]+)$",
        SPEC.read_text("utf-8"),
        re.MULTILINE,
    )
    assert [(p, k, float(g), float(c)) for p, k, g, c in rows] == [
        (r.pattern, r.kind, r.gain, r.center) for r in recipe.RULES
    ]


def test_splitmix64_known_answer() -> None:
    """WS-RECIPE-1: the published first outputs of splitmix64 from state 1234567."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [recipe.word(1234567, i) for i in range(5)] == published


@given(U64)
def test_array_form_is_the_definition(stream: int) -> None:
    """WS-RECIPE-1, WS-RECIPE-2, WS-RECIPE-4, WS-RECIPE-8: bit for bit, near and far counters."""
    for i, w, u, g, f in zip(
        INDICES.tolist(),
        arrays.words(stream, INDICES).tolist(),
        arrays.uniform(stream, INDICES).tolist(),
        arrays.gaussian(stream, INDICES).tolist(),
        arrays.fraction(stream, INDICES).tolist(),
        strict=True,
    ):
        assert (w, u, g, f) == (
            recipe.word(stream, i),
            recipe.uniform(stream, i),
            recipe.gaussian(stream, i),
            recipe.fraction(stream, i),
        )


@given(U64, st.integers(0, 2**32))
def test_uniform_and_gaussian_are_exact(stream: int, index: int) -> None:
    """WS-RECIPE-2, WS-RECIPE-4: both are dyadic rationals that float32 holds exactly."""
    top = recipe.word(stream, index) >> 40
    assert Fraction(recipe.uniform(stream, index)) == Fraction(2 * top + 1 - 2**24, 2**24)
    lanes = [
        (recipe.word(stream, 3 * index + j) >> s) & 0xFFFF
        for j in range(3)
        for s in (0, 16, 32, 48)
    ]
    exact = Fraction(sum(lanes) - 6 * 65_535, 65_536)
    value = recipe.gaussian(stream, index)
    assert Fraction(value) == exact
    assert np.float32(value) == value


def test_moments_of_both_distributions() -> None:
    """WS-RECIPE-2, WS-RECIPE-4: zero mean, variance 1/3 and 1, within five standard errors."""
    n = 200_000
    index = np.arange(n, dtype=np.uint64)
    for values, variance in (
        (arrays.uniform(5, index), 1 / 3),
        (arrays.gaussian(5, index), 1.0),
    ):
        assert abs(values.mean()) < 5 * math.sqrt(variance / n)
        assert abs(values.var() - variance) < 5 * math.sqrt(2 * variance**2 / n)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layers.0.q_proj.weight", (4, 6)),
        ("codec.decoder.head.weight", (3, 2, 7)),
        ("codec.latent_norm.latent_std", (5,)),
        ("layers.0.q_norm.weight", (6,)),
        ("x.norm2.weight", (6,)),
        ("x.conv1.bias", (6,)),
    ],
)
def test_weight_array_is_the_definition(name: str, shape: tuple[int, ...]) -> None:
    """WS-RECIPE-3, WS-RECIPE-5: each element, rounded once to float32, row-major."""
    expected = [np.float32(recipe.weight(name, shape, index)) for index in range(math.prod(shape))]
    assert arrays.weight(name, shape).ravel().tolist() == [float(e) for e in expected]


def test_weight_has_no_fused_multiply_add() -> None:
    """WS-RECIPE-5: the product is rounded to float64 before the center is added."""
    name, shape = "x.norm1.weight", (64,)
    rule, stream = recipe.rule_for(name), recipe.stream_id("weights/" + name)
    for index in range(64):
        product = recipe.bound(rule, shape) * recipe.uniform(stream, index)
        assert recipe.weight(name, shape, index) == rule.center + product


def test_scaled_variance() -> None:
    """WS-RECIPE-3: gain² / fan_in, with fan_in the elements of one output."""
    values = arrays.weight("a.conv.weight", (64, 10, 3, 4, 4)).astype(np.float64)
    assert values.var() == pytest.approx(1 / 480, rel=0.02)


class Tied(nn.Module):
    """Two names for one parameter, and one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.z = nn.Linear(3, 2)
        self.a = nn.Linear(3, 2, bias=False)
        self.a.weight = self.z.weight
        self.register_buffer("b", torch.full((2,), 7.0))

    def buffer(self) -> list[float]:
        (values,) = self.buffers()
        return list(values.tolist())


def test_fill_writes_every_parameter_once_by_its_name() -> None:
    """WS-RECIPE-6: state-dict names from the root, first name of a tied one, buffers untouched,
    same values whatever the dtype."""
    module, double = Tied(), Tied().double()
    for m in (module, double):
        arrays.fill(m)
    expected = torch.from_numpy(arrays.weight("z.weight", (2, 3)))
    assert torch.equal(module.z.weight, expected)
    assert torch.equal(double.z.weight, expected.double())
    assert module.buffer() == [7.0, 7.0]
    assert sorted(n for n, _ in module.named_parameters()) == ["z.bias", "z.weight"]


def test_digest_by_hand() -> None:
    """WS-RECIPE-7: name, shape and little-endian float32 bytes, in order of names."""
    module = Tied()
    arrays.fill(module)
    by_hand = hashlib.sha256()
    by_hand.update(b"z.bias\n2\n" + struct.pack("<2f", *module.z.bias.tolist()))
    by_hand.update(b"z.weight\n2,3\n" + struct.pack("<6f", *module.z.weight.flatten().tolist()))
    assert arrays.weights_sha256(module) == by_hand.hexdigest()
    assert arrays.weights_sha256(module.double()) == by_hand.hexdigest()


def test_digest_of_the_audio_codec() -> None:
    """WS-RECIPE-7: the printed digest of `tiny`'s audio codec, filled from its own root."""
    codec = AudioCodec(TINY)
    arrays.fill(codec)
    (printed,) = re.findall(r"`([0-9a-f]{64})`.*audio codec", SPEC.read_text("utf-8"))
    assert arrays.weights_sha256(codec) == printed


def test_noise_is_keyed_by_seed_unit_and_modality() -> None:
    """WS-RECIPE-4: row-major, the same in every dtype, another stream for every key."""
    noise = arrays.noise(1, 2, "audio", (4, 7), torch.float64)
    assert noise[1, 2].item() == recipe.noise(1, 2, "audio", 9)
    assert torch.equal(arrays.noise(1, 2, "audio", (4, 7), torch.float32).double(), noise)
    for key in ((0, 2, "audio"), (1, 3, "audio"), (1, 2, "video")):
        assert not torch.equal(arrays.noise(*key, (4, 7), torch.float64), noise)


@given(st.integers(0, 2**32), st.integers(0, 2**20), st.integers(0, 4))
def test_text_numbers_are_the_upper_bits_of_their_own_stream(
    seed: int, unit: int, slots: int
) -> None:
    """WS-RECIPE-8: 53 bits in [0, 1), one word a slot, keyed by seed and unit."""
    numbers = arrays.text_numbers(seed, unit, slots)
    assert (numbers.dtype, numbers.shape) == (torch.float64, (slots,))
    stream = recipe.stream_id(f"text/{seed}/{unit}")
    for slot, number in enumerate(numbers.tolist()):
        assert 0 <= number < 1
        assert Fraction(number) == Fraction(recipe.word(stream, slot) >> 11, 2**53)
        assert number == recipe.text_number(seed, unit, slot)
