"""What the codecs and encoders are made of: chains, residual blocks, norms and rearrangements.

Everything except `CausalConv` works at one point of time, so a chain is causal because its
convolutions are. Source: CHOICE, in the manner of public causal video and audio VAEs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from reference.causal_conv import CausalConv, CausalLayer, State
from spec import clock

KERNEL: Final = 3
"""Every convolution without a stride, on each axis (WS-CODEC-7)."""

NORM_EPS: Final = 1e-6

RGB: Final = 3

VIDEO_STAGE: Final = 2
"""Time, height and width are each halved by a video stage; there are two (WS-CODEC-8)."""

VIDEO_STEM: Final = clock.VIDEO_SPATIAL_STRIDE // VIDEO_STAGE**2
"""Side of the space-to-depth block before the first convolution (WS-CODEC-8)."""


class Pointwise(CausalLayer):
    """A layer that looks at one point of time only: no state, and one form for both uses."""

    n_states = 0

    def init_state(self, batch: int) -> State:  # noqa: ARG002 - the shape of `CausalLayer`
        return ()

    def step(
        self, x: Float[Tensor, "b c_in t_in *grid_in"], state: State
    ) -> tuple[Float[Tensor, "b c_out t_out *grid_out"], State]:
        return self.whole(x), state


class ChannelNorm(Pointwise):
    """RMS norm over the channels of one point: no statistics over time or space (WS-CODEC-7).

    y = weight · x / sqrt(mean_c(x²) + 1e-6)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def whole(self, x: Float[Tensor, "b c t *grid"]) -> Float[Tensor, "b c t *grid"]:
        mean_square = x.square().mean(dim=1, keepdim=True)
        weight = self.weight.reshape(-1, *[1] * (x.ndim - 2))
        return x * torch.rsqrt(mean_square + NORM_EPS) * weight


class SiLU(Pointwise):
    """x · sigmoid(x) (WS-CODEC-7)."""

    def whole(self, x: Float[Tensor, "b c t *grid"]) -> Float[Tensor, "b c t *grid"]:
        return F.silu(x)


class SpaceToDepth(Pointwise):
    """``side`` x ``side`` pixels become channels, pixel-major (WS-CODEC-7)."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def whole(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c_out t h_out w_out"]:
        return rearrange(
            x, "b c t (h p) (w q) -> b (p q c) t h w", p=self.side, q=self.side
        ).contiguous()


class DepthToTime(Pointwise):
    """Sub-pixel upsampling in time: ``factor`` groups of channels become samples (WS-CODEC-7)."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def whole(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c_out t_out"]:
        return rearrange(x, "b (s c) t -> b c (t s)", s=self.factor)


class DepthToVolume(Pointwise):
    """Sub-pixel upsampling in time, height and width: channels become points (WS-CODEC-7)."""

    def __init__(self, time: int, side: int) -> None:
        super().__init__()
        self.time = time
        self.side = side

    def whole(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c_out t_out h_out w_out"]:
        return rearrange(
            x,
            "b (s p q c) t h w -> b c (t s) (h p) (w q)",
            s=self.time,
            p=self.side,
            q=self.side,
        ).contiguous()


class CausalChain(CausalLayer):
    """Layers one after the other; the state is theirs, in order (WS-CODEC-5).

    The keys of ``layers`` are the names of the weights, in the order of computation.
    """

    def __init__(self, layers: Mapping[str, CausalLayer]) -> None:
        super().__init__()
        self.order = tuple(layers)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.n_states = sum(layer.n_states for layer in layers.values())

    def layers(self) -> Iterator[CausalLayer]:
        """The layers in the order of computation."""
        for name in self.order:
            layer: CausalLayer = getattr(self, name)
            yield layer

    def init_state(self, batch: int) -> State:
        return tuple(s for layer in self.layers() for s in layer.init_state(batch))

    def step(
        self, x: Float[Tensor, "b c_in t_in *grid_in"], state: State
    ) -> tuple[Float[Tensor, "b c_out t_out *grid_out"], State]:
        kept: State = ()
        for layer in self.layers():
            own, state = state[: layer.n_states], state[layer.n_states :]
            x, own = layer.step(x, own)
            kept += own
        return x, kept

    def whole(
        self, x: Float[Tensor, "b c_in t_in *grid_in"]
    ) -> Float[Tensor, "b c_out t_out *grid_out"]:
        for layer in self.layers():
            x = layer.whole(x)
        return x


class Residual(CausalChain):
    """x + conv2(silu(norm2(conv1(silu(norm1(x)))))), same channels and grid (WS-CODEC-7)."""

    def __init__(self, channels: int, grid: tuple[int, ...] = ()) -> None:
        super().__init__(
            {
                "norm1": ChannelNorm(channels),
                "silu1": SiLU(),
                "conv1": same_conv(channels, channels, grid),
                "norm2": ChannelNorm(channels),
                "silu2": SiLU(),
                "conv2": same_conv(channels, channels, grid),
            }
        )

    def step(
        self, x: Float[Tensor, "b c t *grid"], state: State
    ) -> tuple[Float[Tensor, "b c t *grid"], State]:
        y, state = super().step(x, state)
        return x + y, state

    def whole(self, x: Float[Tensor, "b c t *grid"]) -> Float[Tensor, "b c t *grid"]:
        return x + super().whole(x)


def same_conv(c_in: int, c_out: int, grid: tuple[int, ...] = ()) -> CausalConv:
    """Kernel 3, stride 1 on every axis (WS-CODEC-7)."""
    axes = 1 + len(grid)
    return CausalConv((c_in, c_out), (KERNEL,) * axes, (1,) * axes, grid)


def frame_conv(c_in: int, c_out: int, grid: tuple[int, ...]) -> CausalConv:
    """Kernel 3 in height and width, 1 in time: one frame by itself (WS-CODEC-7)."""
    return CausalConv((c_in, c_out), (1, KERNEL, KERNEL), (1, 1, 1), grid)


def down_conv(c_in: int, c_out: int, stride: int, grid: tuple[int, ...] = ()) -> CausalConv:
    """Kernel twice the stride, the same stride on every axis (WS-CODEC-7)."""
    axes = 1 + len(grid)
    return CausalConv((c_in, c_out), (2 * stride,) * axes, (stride,) * axes, grid)


def video_grids(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Height and width after the stem, after the first and after the second stage (WS-CODEC-8)."""
    sides = (VIDEO_STEM, VIDEO_STEM * VIDEO_STAGE, VIDEO_STEM * VIDEO_STAGE**2)
    return tuple((height // side, width // side) for side in sides)


def video_down(
    channels: tuple[int, int, int], grids: tuple[tuple[int, int], ...]
) -> dict[str, CausalLayer]:
    """RGB down to the latent grid: the trunk of the codec's and of the user's video encoder, each
    with its own weights (WS-CODEC-8, WS-ENCODER-7)."""
    c0, c1, c2 = channels
    return {
        "fold": SpaceToDepth(VIDEO_STEM),
        "stem": frame_conv(RGB * VIDEO_STEM**2, c0, grids[0]),
        "down1": down_conv(c0, c1, VIDEO_STAGE, grids[0]),
        "residual1": Residual(c1, grids[1]),
        "down2": down_conv(c1, c2, VIDEO_STAGE, grids[1]),
        "residual2": Residual(c2, grids[2]),
        "norm": ChannelNorm(c2),
    }
