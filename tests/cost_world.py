"""What real passes cost: torch's own counters around the stages of a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import attrs
import samples
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from reference import session
from reference.kv_cache import KVEntries
from reference.model import WanStreamer
from reference.session import SessionState
from reference.token_table import TokenTable
from reference.units import Latents, UserUnit
from spec.cost_stages import Stages, total
from spec.layout import Row, language_rows, observation_rows, prefill_rows, response_rows
from spec.session import SessionConfig
from spec.sizes import Preset


class Counters:
    """One counter around each span of a session step."""

    def __init__(self) -> None:
        self.spans: dict[tuple[str, int], FlopCounterMode] = {}

    def span(self, stage: str, unit: int) -> AbstractContextManager[object]:
        counter = FlopCounterMode(display=False)
        self.spans[stage, unit] = counter
        return counter

    def flops(self, stage: str, unit: int) -> int:
        """FLOPs of a span; 0 if there was none."""
        counter = self.spans.get((stage, unit))
        return 0 if counter is None else counter.get_total_flops()


def measured(
    model: WanStreamer, config: SessionConfig, state: SessionState, user: UserUnit
) -> tuple[Mapping[str, int], SessionState]:
    """FLOPs of one real step, put together as the stages of WS-LATENCY-1."""
    k, counters = user.unit, Counters()
    noise = zero_noise(config, model.dtype)
    forced = (0,) * config.layout.agent_text_slots
    _, after = session.step(model, config, state, user, noise, forced, span=counters.span)
    sequential = config.schedule == "sequential"
    before = counters.flops("commit", k - 1)
    return {
        "encode": counters.flops("observe", k),
        "update": counters.flops("update", k) + (before if sequential else 0),
        "solve": counters.flops("solve", k) + counters.flops("commit", k),
        "decode": counters.flops("decode", k),
        "commit": 0 if sequential else before,
    }, after


def predicted(stages: Stages) -> dict[str, int]:
    """FLOPs of each stage by the closed form."""
    return {name: total(works).flops for name, works in stages.items()}


def zero_noise(config: SessionConfig, dtype: torch.dtype) -> Latents:
    """Noise of the right shape on the CPU; its values cost nothing."""
    preset, has = config.preset, config.modalities
    codec = preset.video_codec
    video = (codec.latent_channels, preset.latent_height, preset.latent_width)
    audio = (4, preset.audio_codec.latent_channels)
    return Latents(
        audio=torch.zeros(audio, dtype=dtype) if has.agent_audio else None,
        video=torch.zeros(video, dtype=dtype) if has.agent_video else None,
    )


def user_unit(config: SessionConfig, unit: int, user_tokens: int) -> UserUnit:
    """A user unit with so many text tokens."""
    (user,) = samples.users_of(config, 1, (user_tokens,))
    return attrs.evolve(user, unit=unit)


class OntoMeta(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Where one operand is on the meta device, the others follow it there."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        operands = [*args, *kwargs.values()]
        if any(x.is_meta for x in tensors_in(operands)):
            args = tuple(onto_meta(x) for x in args)
            kwargs = {name: onto_meta(x) for name, x in kwargs.items()}
        return func(*args, **kwargs)


def tensors_in(operands: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors among operands, or one level down in a list of them."""
    for x in operands:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, list | tuple):
            yield from (y for y in x if isinstance(y, Tensor))


def onto_meta(x: Any) -> Any:
    """An operand with its tensors on the meta device."""
    if isinstance(x, list | tuple):
        return [onto_meta(y) for y in x]
    return x.to("meta") if isinstance(x, Tensor) else x


def meta_model(preset: Preset) -> WanStreamer:
    """The model itself, its numbers nowhere."""
    with torch.device("meta"):
        return WanStreamer(preset)


def history(config: SessionConfig, units: int, responses: int, user_tokens: int) -> KVEntries:
    """A cache of so many units, keys and values on the meta device."""
    layout, sizes = config.layout, config.preset.backbone
    rows: list[Row] = list(prefill_rows(layout))
    for k in range(units):
        rows += [*observation_rows(layout, k, user_tokens), *language_rows(layout, k)]
    for k in range(responses):
        rows += response_rows(layout, k)
    shape = (sizes.n_layers, sizes.n_kv_heads, len(rows), sizes.head_dim)
    kv = torch.zeros(shape, device="meta")
    return KVEntries(TokenTable.of(rows), kv, kv)


def state_before(
    model: WanStreamer, config: SessionConfig, unit: int, user_tokens: int
) -> SessionState:
    """The state of a session before ``unit`` ≥ 1, without having run it there."""
    opened = session.open_session(model, config)
    performed = unit if config.schedule == "overlapped" else unit - 1
    return attrs.evolve(
        opened,
        thinker=attrs.evolve(opened.thinker, cache=history(config, unit, unit - 1, user_tokens)),
        performer=attrs.evolve(
            opened.performer, cache=history(config, unit, performed, user_tokens)
        ),
        unit=unit,
        uncommitted=zero_noise(config, model.dtype),
    )


def nbytes(entries: KVEntries) -> int:
    """Bytes of the keys and values of real cache entries."""
    return entries.k.nbytes + entries.v.nbytes
