"""Harmless variants that serve other dtypes than the reference says it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs

from conformance.mutants.benign_arithmetic import accumulated_wide, by_library, norm_wide
from conformance.mutants.benign_sessions import variant
from conformance.mutants.patching import PatchedPort
from conformance.ports.reference import ReferencePort
from conformance.protocol import (
    Array,
    CodecRequest,
    DType,
    Hello,
    LoadRequest,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
    Unsupported,
)
from reference import attention, rms_norm


class OnlyDtypes(ReferencePort):
    """Sessions, codecs and formulas in some dtypes only, the first one its main."""

    dtypes: ClassVar[tuple[DType, ...]]

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), dtypes=self.dtypes, exact_split=False)

    def _require(self, dtype: DType) -> None:
        if dtype not in self.dtypes:
            raise Unsupported(dtype)

    def load(self, request: LoadRequest) -> str:
        self._require(request.dtype)
        return super().load(request)

    def open(self, request: OpenRequest) -> str:
        self._require(request.dtype)
        return super().open(request)

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        self._require(request.dtype)
        return super().offline(request, units)

    def codec(self, request: CodecRequest, data: Array) -> Array:
        self._require(request.dtype)
        return super().codec(request, data)

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        self._require(request.dtype)
        return super().math(request)


class OnlyFloat64(OnlyDtypes):
    """Nothing but float64."""

    name = "float64-only"
    dtypes = ("float64",)


class InBfloat16(OnlyDtypes):
    """Declares bfloat16 as its main dtype, and float32."""

    name = "bfloat16-declared"
    dtypes = ("bfloat16", "float32")


class InFloat16(OnlyDtypes):
    """Declares float16, and nothing else."""

    name = "float16-declared"
    dtypes = ("float16",)


class InBfloat16Fused(OnlyDtypes, PatchedPort):
    """Declares bfloat16, and runs attention by the library's fused kernel."""

    name = "bfloat16-fused-attention"
    dtypes = ("bfloat16", "float32")

    def __init__(self) -> None:
        super().__init__(self.name, [(attention, "attend", by_library)])


class InFloat16Wide(OnlyDtypes, PatchedPort):
    """Declares float16, and accumulates attention and norms in float64."""

    name = "float16-wide-accumulators"
    dtypes = ("float16",)

    def __init__(self) -> None:
        wide = (attention, "attend", accumulated_wide), (rms_norm, "rms_norm", norm_wide)
        super().__init__(self.name, wide)


class NarrowOffline(OnlyFloat64):
    """Declares float64, and float32, which only its offline form does (WS-CONFORMANCE-2)."""

    name = "float32-offline-only"

    def hello(self) -> Hello:
        return attrs.evolve(super().hello(), dtypes=("float64", "float32"))

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> Sequence[UnitOutput]:
        return ReferencePort.offline(self, request, units)


VARIANTS = tuple(
    map(
        variant,
        (OnlyFloat64, InBfloat16, InFloat16, InBfloat16Fused, InFloat16Wide, NarrowOffline),
    )
)
