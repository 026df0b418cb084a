"""Ports that claim what they do not do, and ports that are right until something was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from conformance.mutants.patching import by_class
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    LoadRequest,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from spec.errors import WanStreamerError


class AnotherHello(ReferencePort):
    """Asked again who it is, it names another version."""

    name = "another-hello"

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

    def hello(self) -> Hello:
        self._asked += 1
        return attrs.evolve(super().hello(), version=f"0.{self._asked}")


class ResetClaimed(ReferencePort):
    """`hello` names reset, and a reset is unsupported."""

    name = "reset-claimed-only"

    def reset(self, session_id: str) -> None:
        self.opened(session_id)
        raise Unsupported("reset")


class MidpointClaimed(ReferencePort):
    """`hello` names midpoint, and the formula is unsupported."""

    name = "midpoint-claimed-only"

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        if request.op == "flow.solve_midpoint":
            raise Unsupported("midpoint")
        return super().math(request)


class WideClaimed(ReferencePort):
    """`hello` names float64, and every command in it is unsupported."""

    name = "float64-claimed-only"

    def open(self, request: OpenRequest) -> str:
        return super().open(_narrow(request))

    def codec(self, request: CodecRequest, data: Array) -> Array:
        return super().codec(_narrow(request), data)

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        return super().math(_narrow(request))

    def load(self, request: LoadRequest) -> str:
        return super().load(_narrow(request))

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        return super().offline(_narrow(request), units)


def _narrow(request: Any) -> Any:
    if request.dtype == "float64":
        raise Unsupported("float64")
    return request


class DtypeDenied(ReferencePort):
    """`hello` names float64, `supports` denies it."""

    name = "float64-denied"

    def supports(self, feature: str) -> bool:
        return feature != "float64" and super().supports(feature)


class ByPrefix(ReferencePort):
    """Whatever begins like something it has is supported, too."""

    name = "supported-by-prefix"

    def supports(self, feature: str) -> bool:
        return feature.startswith(self.hello().features) or super().supports(feature)


class EveryFifth(ReferencePort):
    """Claims to be deterministic; every fifth video is an ulp off."""

    name = "every-fifth-video"

    def __init__(self) -> None:
        super().__init__()
        self._videos = 0

    def codec(self, request: CodecRequest, data: Array) -> Array:
        y = super().codec(request, data)
        self._videos += request.part == "video_codec.decode"
        return np.nextafter(y, np.inf) if self._videos % 5 == 0 else y


class UnsteadyAttention(ReferencePort):
    """Claims to be deterministic; sums of attention end in another digit now and then."""

    name = "unsteady-attention"

    def __init__(self) -> None:
        super().__init__()
        self._draw = np.random.default_rng(2)

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        found = super().math(request)
        if request.op != "backbone.attend":
            return found
        return {
            name: np.where(self._draw.random(y.shape) < 0.3, np.nextafter(y, np.inf), y)
            for name, y in found.items()
        }


class AfterRefusal(ReferencePort):
    """The codec run after a refused one begins with rubbish."""

    name = "codec-after-refusal"

    def __init__(self) -> None:
        super().__init__()
        self._refused = False

    def codec(self, request: CodecRequest, data: Array) -> Array:
        try:
            y = super().codec(request, data)
        except WanStreamerError:
            self._refused = True
            raise
        rubbish, self._refused = 0.01 * self._refused, False
        return np.asarray(y + y.dtype.type(rubbish))


class EndUnchecked(ReferencePort):
    """Only the first half of what a codec is given is looked at for NaN and infinity."""

    name = "codec-end-unchecked"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        changed = data.copy()
        end = changed.reshape(-1)[changed.size // 2 :]
        end[...] = np.nan_to_num(end, posinf=0.0, neginf=0.0)
        return super().codec(request, changed)


class LatentsClipped(ReferencePort):
    """Decoders clip latents at ±2."""

    name = "latents-clipped"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        decodes = request.part.endswith("decode") and bool(np.isfinite(data).all())
        return super().codec(request, np.clip(data, -2, 2) if decodes else data)


class OddChunk(ReferencePort):
    """A chunk of three or six units after others begins anew."""

    name = "chunk-of-three-anew"

    def codec(self, request: CodecRequest, data: Array) -> Array:
        y = super().codec(request, data)
        plan = request.plan
        at = next((i for i, units in enumerate(plan) if i and units in (3, 6)), None)
        if at is None:
            return y
        done, units = sum(plan[:at]), sum(plan)
        rest = attrs.evolve(request, plan=plan[at:])
        tail = super().codec(rest, data[done * len(data) // units :])
        return np.concatenate((y[: done * len(y) // units], tail))


class ProbesAnyUnit(ReferencePort):
    """A probe looks into the next step whatever unit it is asked for."""

    name = "probes-any-unit"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        turn = attrs.evolve(unit, unit=self.opened(session_id).state.unit)
        return super().probe(session_id, turn, points)


class PointsLeftOut(ReferencePort):
    """Points that it does not have are left out of the answer to a probe."""

    name = "unknown-points-left-out"

    def probe(self, session_id: str, unit: UnitInput, points: Sequence[str]) -> Mapping[str, Array]:
        found = super().probe(session_id, unit, ())
        known = [point for point in points if point in found]
        if points and not known:
            raise Unsupported(points[0])
        return {point: found[point] for point in known} if points else found


MUTANTS = (
    by_class("WS-CONFORMANCE-2", AnotherHello),
    by_class("WS-CONFORMANCE-3", ResetClaimed),
    by_class("WS-CONFORMANCE-3", MidpointClaimed),
    by_class("WS-CONFORMANCE-3", WideClaimed),
    by_class("WS-CONFORMANCE-3", DtypeDenied),
    by_class("WS-CONFORMANCE-3", ByPrefix),
    by_class("WS-CONFORMANCE-2", EveryFifth),
    by_class("WS-CONFORMANCE-2", UnsteadyAttention),
    by_class("WS-CONFORMANCE-4", AfterRefusal),
    by_class("WS-CONFORMANCE-4", EndUnchecked),
    by_class("WS-CODEC-5", LatentsClipped),
    by_class("WS-CODEC-5", OddChunk),
    by_class("WS-CONFORMANCE-4", ProbesAnyUnit),
    by_class("WS-CONFORMANCE-18", PointsLeftOut),
)
