"""Causal convolution with explicit state, in time (1-D) or in time, height and width (3-D).

    y[i] = b + Σ_j W[:, :, j] x[s i + s - k + j],   j = 0 … k-1      (s = stride, k = kernel)

so output i sees inputs up to s (i + 1) - 1 and nothing later; x is zero before unit 0.
Source: PAPER §1 asks for strictly causal VAEs and encoders; this form of them is CHOICE.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""Left context of a layer or of a chain of layers: one tensor a convolution, in layer order."""

TIME: Final = 2
"""The axis of time in [batch, channels, time, ...]."""


class CausalLayer(nn.Module, ABC):
    """A layer with two forms: a streaming step with explicit state, and the whole clip at once.

    Modules hold parameters only. State is passed in and out, never kept (WS-CODEC-5).
    """

    n_states: int
    """How many tensors the state of this layer has."""

    @abstractmethod
    def init_state(self, batch: int) -> State:
        """The state before unit 0: zeros, newly made at every call (WS-CODEC-4)."""

    @abstractmethod
    def step(
        self, x: Float[Tensor, "b c_in t_in *grid_in"], state: State
    ) -> tuple[Float[Tensor, "b c_out t_out *grid_out"], State]:
        """One chunk of input of any length that is a multiple of the stride (WS-CODEC-5)."""

    @abstractmethod
    def whole(
        self, x: Float[Tensor, "b c_in t_in *grid_in"]
    ) -> Float[Tensor, "b c_out t_out *grid_out"]:
        """The offline form: the whole clip from unit 0, without any state (WS-CODEC-5)."""


class CausalConv(CausalLayer):
    """Causal strided convolution (WS-CODEC-3).

    Args:
        channels: input and output channels.
        kernel: time first, then height and width for the 3-D form; at least the stride.
        stride: same length as ``kernel``.
        grid: height and width of the input, empty for the 1-D form.

    Time has k - s inputs of left context. Height and width are zero-padded by (k - s) / 2 on each
    side, so each is divided by its stride. Weight [out, in, *kernel], bias [out].

    Output i sees inputs s (i + 1) - k to s (i + 1) - 1: none that is later (WS-CODEC-6), and
    through a chain no more than its receptive field (WS-CODEC-12).
    """

    n_states = 1

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        grid: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        assert len(kernel) == len(stride) == 1 + len(grid)
        assert all(k >= s for k, s in zip(kernel, stride, strict=True))
        assert all((k - s) % 2 == 0 for k, s in zip(kernel[1:], stride[1:], strict=True))
        self.stride = stride
        self.context = kernel[0] - stride[0]
        self.padding = tuple((k - s) // 2 for k, s in zip(kernel[1:], stride[1:], strict=True))
        self.grid = grid
        self.weight = nn.Parameter(torch.zeros(channels[1], channels[0], *kernel))
        self.bias = nn.Parameter(torch.zeros(channels[1]))

    def init_state(self, batch: int) -> State:
        """k - s zero inputs, at this layer's own input (WS-CODEC-4)."""
        return (self.weight.new_zeros(batch, self.weight.shape[1], self.context, *self.grid),)

    def step(
        self, x: Float[Tensor, "b c_in t_in *grid_in"], state: State
    ) -> tuple[Float[Tensor, "b c_out t_out *grid_out"], State]:
        """y[i] from the last k - s inputs of the past and this chunk (WS-CODEC-3, WS-CODEC-5)."""
        (past,) = state
        x = torch.cat([past, x], dim=TIME)
        # Not x[-context:], which would keep everything when the context is empty.
        last = x.narrow(TIME, x.shape[TIME] - self.context, self.context)
        # A view would keep the whole chunk alive as long as the state.
        return self._convolve(x, time_padding=0), (last.clone(),)

    def whole(
        self, x: Float[Tensor, "b c_in t_in *grid_in"]
    ) -> Float[Tensor, "b c_out t_out *grid_out"]:
        """The whole clip, padded by k - s zeros on the left (WS-CODEC-3)."""
        return self._convolve(x, time_padding=self.context)

    def _convolve(self, x: Tensor, time_padding: int) -> Tensor:
        if self.grid and self.weight.shape[TIME] == 1:
            return self._each_frame(x)
        convolve = F.conv3d if self.grid else F.conv1d
        if time_padding:
            # F.pad counts from the last axis: width, height, then (left, right) of time.
            x = F.pad(x, (0, 0) * len(self.grid) + (time_padding, 0))
        return convolve(x, self.weight, self.bias, self.stride, (0, *self.padding))

    def _each_frame(self, x: Tensor) -> Tensor:
        # A kernel of one frame: frames are a batch, in which a CPU is three times as fast.
        batch, _, time, *_ = x.shape
        frames = x.transpose(1, TIME).flatten(0, 1)
        y = F.conv2d(frames, self.weight.squeeze(TIME), self.bias, self.stride[1:], self.padding)
        return y.reshape(batch, time, *y.shape[1:]).transpose(1, TIME)
