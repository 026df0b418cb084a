"""Named intermediate tensors of one step of the reference, by forward hooks (WS-CONFORMANCE-18).

A *pass* is one run of tokens through the Transformer. Its name is that of its segment: `O`; `L.i`,
slot i of L_k (the state slots together are `L.0`); `Z.step.s`, solver step s; `Z.clean`, the pass
that commits. A point is `PASS.embeddings`, `PASS.layer.n` or `PASS.hidden`; the encoders' features
are `audio_features` and `video_features`, the velocities, a row a token, `Z.step.s.velocity_audio`
and `Z.step.s.velocity_video`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from conformance.ports.convert import array_of
from conformance.protocol import Array, Unsupported
from reference.model import WanStreamer
from reference.token_table import TokenTable
from spec.layout import Segment

Keep = Callable[[str, Tensor], None]


@contextmanager
def probed(model: WanStreamer, points: Sequence[str]) -> Iterator[dict[str, Array]]:
    """Inside, every pass of ``model`` leaves its tensors in the dict; of a pass that is run twice
    (both roles commit the same unit) the last one stays. After it, only ``points`` are left.

    Raises:
        Unsupported: a point that the step did not come by.
    """
    found: dict[str, Array] = {}

    def keep(point: str, tensor: Tensor) -> None:
        found[point] = array_of(tensor).copy()

    with ExitStack() as hooks:
        _watch_passes(model, keep, hooks)
        yield found
    unknown = [point for point in points if point not in found]
    if unknown:
        raise Unsupported(f"probe {unknown[0]}")
    for point in [p for p in found if points and p not in points]:
        del found[point]


def _watch_passes(model: WanStreamer, keep: Keep, hooks: ExitStack) -> None:
    current = [""]

    def seen(point: str, tensor: Tensor) -> None:
        # A pass without a token, of what the session does not have, has no name and no points.
        if len(tensor):
            keep(f"{current[0]}.{point}", tensor)

    def begins(_: nn.Module, given: tuple[Any, ...]) -> None:
        current[0] = pass_name(given[1]) if len(given[1]) else ""
        seen("embeddings", given[0])

    def ends(_: nn.Module, __: tuple[Any, ...], result: Any) -> None:
        seen("hidden", result[0])

    def layer(n: int) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, __, result: seen(f"layer.{n}", result[0])

    def on(handle: Any) -> None:
        hooks.callback(handle.remove)

    on(model.backbone.register_forward_pre_hook(begins))
    on(model.backbone.register_forward_hook(ends))
    for n, module in enumerate(model.backbone.layers):
        on(module.register_forward_hook(layer(n)))

    def features(point: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _, given: keep(point, given[0])

    def velocity(modality: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, __, result: seen(f"velocity_{modality}", result)

    on(model.user_audio_proj.register_forward_pre_hook(features("audio_features")))
    on(model.user_video_proj.register_forward_pre_hook(features("video_features")))
    on(model.audio_velocity_head.register_forward_hook(velocity("audio")))
    on(model.video_velocity_head.register_forward_hook(velocity("video")))


def pass_name(table: TokenTable) -> str:
    """What a pass over ``table`` is called."""
    segment = Segment(int(table.segment[0]))
    if segment is Segment.L:
        return f"L.{int(table.slot[0])}"
    if segment is Segment.Z:
        return f"Z.step.{int(table.step[0])}" if bool(table.noisy[0]) else "Z.clean"
    return segment.name
