"""Harmless variants in how a port answers: words, order, kinds of objects, and sums written out.

Each is a manner that some language, library or style of programming brings along by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from conformance.mutants.benign import NotExact
from conformance.mutants.patching import Benign
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    Json,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from reference import attention, rms_norm
from reference.causal_blocks import NORM_EPS, ChannelNorm


def in_turn(a: Tensor, b: Tensor) -> Tensor:
    """a [..., n, k] times b [..., k, m], the terms of each sum added one after the other."""
    total = a[..., :, :1] * b[..., :1, :]
    for i in range(1, a.shape[-1]):
        total = total + a[..., :, i : i + 1] * b[..., i : i + 1, :]
    return total if a.shape[-1] else a @ b


def total_of(x: Tensor) -> Tensor:
    return in_turn(x, x.new_ones(x.shape[-1], 1))


def linear_in_turn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y = in_turn(x, weight.T)
    return y if bias is None else y + bias


def attend_in_turn(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    groups = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    if not k.shape[1]:
        return torch.zeros_like(q)
    scores = in_turn(q, k.mT) / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    return in_turn(weights / total_of(weights), v)


def norm_in_turn(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt(total_of(x * x) / x.shape[-1] + eps) * weight


def channel_norm_in_turn(self: ChannelNorm, x: Tensor) -> Tensor:
    return norm_in_turn(x.movedim(1, -1), self.weight, NORM_EPS).movedim(-1, 1).contiguous()


IN_TURN = (
    (F, "linear", linear_in_turn),
    (attention, "attend", attend_in_turn),
    (rms_norm, "rms_norm", norm_in_turn),
    (ChannelNorm, "whole", channel_norm_in_turn),
)


class Loose(ReferencePort):
    """Generators and lists for tuples, numpy's integers for ids, "unsupported" for no."""

    name = "python-manners"

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), exact_split=True)

    def supports(self, feature: str) -> bool:
        if not super().supports(feature):
            raise Unsupported(feature)
        return True

    def step(self, session_id: str, unit: UnitInput) -> Any:
        def answers() -> Iterator[UnitOutput]:
            for output in super(Loose, self).step(session_id, unit):
                ids: Any = [np.int64(token) for token in output.text]
                yield attrs.evolve(output, text=ids)

        return answers()

    def exchange(self, script: Sequence[Json]) -> Any:
        return (
            {key: tuple(v) if isinstance(v, list) else v for key, v in reply.items()}
            for reply in super().exchange(script)
        )


class UnsteadyCodecs(ReferencePort):
    """Says that it does not repeat itself; in the codecs, too, a few results end otherwise."""

    name = "unsteady-codecs"

    def __init__(self) -> None:
        super().__init__()
        self._draw = np.random.default_rng(15)

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), deterministic=False, exact_split=False)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        y = super().codec(request, data)
        return np.where(self._draw.random(y.shape) < 0.02, np.nextafter(y, np.inf), y)


class AnyOrder(NotExact):
    """Says that it does not repeat itself: linear layers add up their terms in any order."""

    name = "sums-in-any-order"

    def __init__(self) -> None:
        super().__init__(self.name, (F, "linear", self._linear))
        self._order = torch.Generator().manual_seed(4)

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), deterministic=False)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        order = torch.randperm(weight.shape[-1], generator=self._order)
        y = x[..., order] @ weight[:, order].T
        return y if bias is None else y + bias


def reordered(sent: Sequence[Json]) -> list[Json]:
    """The kinds by name, from the end; in each the units in order, the parts of one reversed."""
    found: list[Json] = []
    for kind in sorted({message["kind"] for message in sent}, reverse=True):
        alike = [message for message in sent if message["kind"] == kind]
        for _, parts in groupby(alike, key=lambda message: message.get("unit")):
            found += reversed(list(parts))
    return found


class OtherOrder(ReferencePort):
    """Messages of one step go out kind by kind, the parts of a slice last part first."""

    name = "sends-in-another-order"

    def exchange(self, script: Sequence[Json]) -> Sequence[Json]:
        return [{**reply, "sent": reordered(reply["sent"])} for reply in super().exchange(script)]


class MorePoints(ReferencePort):
    """Answers a probe with points of its own as well."""

    name = "own-probe-points"
    own: Mapping[str, Array] = {"debug.entropy": np.zeros(3), "O.layer.0.scores": np.ones((2, 2))}

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        known = [point for point in points if point not in self.own]
        found = super().probe(session_id, unit, known) if known or not points else {}
        wanted = points or tuple(self.own)
        return {**found, **{name: a for name, a in self.own.items() if name in wanted}}


def _by_class(cls: type[ReferencePort]) -> Benign:
    assert cls.__doc__ is not None
    factory: Any = cls
    return Benign(name=cls.name, description=cls.__doc__, factory=factory)


VARIANTS = (
    Benign(
        name="sums-term-after-term",
        description="Linear layers, attention and norms add up in float32, one term at a time.",
        factory=lambda: NotExact("sums-term-after-term", *IN_TURN),
    ),
    *map(_by_class, (Loose, UnsteadyCodecs, AnyOrder, OtherOrder, MorePoints)),
)
