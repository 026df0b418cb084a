"""Causal convolution: its equation, its left context, its explicit state."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from torch import Tensor, nn
from torch.nn.functional import conv3d

from reference import recipe
from reference.causal_conv import CausalConv


def filled(layer: CausalConv) -> CausalConv:
    recipe.fill(nn.ModuleDict({"conv": layer}))
    return layer.double()


def signal_of(*shape: int) -> Tensor:
    return recipe.noise(1, 0, "test", shape, torch.float64)


@st.composite
def conv_and_plan(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """Kernel, stride (k = s included), and chunks in outputs."""
    stride = draw(st.integers(1, 4))
    kernel = draw(st.integers(stride, 3 * stride + 1))
    return kernel, stride, draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))


@given(conv_and_plan())
def test_conv_1d_is_its_equation(plan: tuple[int, int, list[int]]) -> None:
    """WS-CODEC-3: each output is the plain sum over its own kernel, with zeros before unit 0."""
    kernel, stride, chunks = plan
    layer = filled(CausalConv((2, 3), (kernel,), (stride,)))
    outputs = sum(chunks)
    x = signal_of(2, 2, outputs * stride)
    w, b = layer.weight.detach(), layer.bias.detach()
    expected = torch.zeros(2, 3, outputs, dtype=torch.float64)
    for i, j in itertools.product(range(outputs), range(kernel)):
        at = stride * i + stride - kernel + j
        if at >= 0:
            expected[:, :, i] += x[:, :, at] @ w[:, :, j].T
    expected += b[:, None]
    torch.testing.assert_close(layer.whole(x), expected, rtol=0, atol=1e-12)


def test_conv_1d_agrees_with_scipy() -> None:
    """WS-CODEC-3: stride 1 is the head of scipy's full correlation."""
    layer = filled(CausalConv((1, 1), (7,), (1,)))
    x = signal_of(1, 1, 40)
    full = signal.convolve(x[0, 0].numpy(), layer.weight[0, 0].detach().numpy()[::-1])
    expected = torch.from_numpy(np.ascontiguousarray(full[:40])) + layer.bias.detach()
    torch.testing.assert_close(layer.whole(x)[0, 0], expected, rtol=0, atol=1e-12)


def test_conv_3d_pads_space_on_both_sides_and_time_on_the_left() -> None:
    """WS-CODEC-3: a space-symmetric, time-causal sum, seen from one impulse in a corner."""
    layer = filled(CausalConv((1, 1), (3, 4, 4), (1, 2, 2), grid=(4, 6)))
    x = torch.zeros(1, 1, 5, 4, 6, dtype=torch.float64)
    x[0, 0, 1, 0, 5] = 1.0
    y = layer.whole(x) - layer.bias.reshape(1, -1, 1, 1, 1)
    assert y.shape == (1, 1, 5, 2, 3)
    w = layer.weight[0, 0].detach()
    # Output (r, q) reads rows 2 r - 1 … 2 r + 2 and columns 2 q - 1 … 2 q + 2.
    expected = torch.zeros(5, 2, 3, dtype=torch.float64)
    for t in (1, 2, 3):
        expected[t, 0, 2] = w[2 - (t - 1), 1, 2]
    torch.testing.assert_close(y[0, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_of_single_frames_is_the_3d_one(stride: int) -> None:
    """WS-CODEC-3: frames taken as a batch, against PyTorch's convolution of the whole clip."""
    kernel = (1, 2 + stride, 2 + stride)
    layer = filled(CausalConv((2, 3), kernel, (1, stride, stride), grid=(4, 6)))
    x = signal_of(2, 2, 5, 4, 6)
    expected = conv3d(x, layer.weight, layer.bias, (1, stride, stride), (0, 1, 1))
    torch.testing.assert_close(layer.whole(x), expected, rtol=0, atol=1e-12)
    parts = [layer.step(part, layer.init_state(2))[0] for part in torch.split(x, [2, 3], dim=2)]
    torch.testing.assert_close(torch.cat(parts, dim=2), expected, rtol=0, atol=1e-12)


@given(conv_and_plan())
def test_chunked_equals_whole(plan: tuple[int, int, list[int]]) -> None:
    """WS-CODEC-3, WS-CODEC-5: any chunks of whole strides give the whole clip's numbers."""
    kernel, stride, chunks = plan
    layer = filled(CausalConv((2, 3), (kernel,), (stride,)))
    x = signal_of(1, 2, sum(chunks) * stride)
    state, parts = layer.init_state(1), []
    for part in torch.split(x, [c * stride for c in chunks], dim=2):
        y, state = layer.step(part, state)
        assert state[0].shape[2] == kernel - stride
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=2), layer.whole(x), rtol=0, atol=1e-12)


def test_state_is_zero_fresh_and_not_aliased() -> None:
    """WS-CODEC-4, WS-CODEC-5: zeros each time, and neither input nor state is written or shared."""
    layer = filled(CausalConv((2, 3), (5,), (2,)))
    first, second = layer.init_state(3), layer.init_state(3)
    assert first[0].shape == (3, 2, 3)
    assert first[0].count_nonzero() == 0
    assert first[0].data_ptr() != second[0].data_ptr()
    x = signal_of(3, 2, 8)
    kept = x.clone()
    _, after = layer.step(x, first)
    assert torch.equal(x, kept)
    assert first[0].count_nonzero() == 0
    x.zero_()
    assert torch.equal(after[0], kept[:, :, -3:])
