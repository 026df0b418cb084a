"""Every call to a port goes through here: crashes become one line, replies are checked.

A port may do anything; what reaches the checks is either a well-formed record or one of
`Unsupported`, `Refusal`, `PortFault` (WS-CONFORMANCE-4, WS-CONFORMANCE-6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from conformance.protocol import (
    DTYPES,
    PROFILES,
    Array,
    CodecRequest,
    Hello,
    Inconclusive,
    Json,
    KvEntries,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    Port,
    Refusal,
    UnitInput,
    UnitOutput,
    Unsupported,
    wire_dtype,
)
from conformance.shapes import codec_shapes, output_shapes
from spec.errors import WanStreamerError
from spec.presets import preset_named

T = TypeVar("T")


class PortFault(Exception):  # noqa: N818 - the port's fault, not ours
    """The port crashed or gave an ill-formed reply; its text is one line."""


class Guard:
    """A `Port` around a port. The arrays of a reply are handed on as they came, not copied."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._requests: dict[str, OpenRequest] = {}

    def hello(self) -> Hello:
        hello = _call("hello", self._port.hello)
        _require(isinstance(hello, Hello), "hello", f"a {type(hello).__name__}, not a Hello")
        unknown = sorted(set(hello.profiles) - set(PROFILES))
        _require(not unknown, "hello", f"unknown profiles {unknown}")
        strange = sorted(set(hello.dtypes) - set(DTYPES))
        _require(not strange, "hello", f"unknown dtypes {strange}")
        twice = len(set(hello.dtypes)) < len(hello.dtypes)
        _require(not twice, "hello", f"a dtype twice in {list(hello.dtypes)}")
        return hello

    def supports(self, feature: str) -> bool:
        try:
            return bool(_call("supports", lambda: self._port.supports(feature)))
        except Unsupported:
            # The other way to say no (WS-CONFORMANCE-3).
            return False

    def load(self, request: LoadRequest) -> str:
        digest = _call("load", lambda: self._port.load(request))
        _require(isinstance(digest, str), "load", f"a {type(digest).__name__}, not a digest")
        return digest

    def math(self, request: MathRequest) -> Mapping[str, Array]:
        where = f"math {request.op}"
        results = _call(where, lambda: self._port.math(request))
        return _checked_arrays(where, results)

    def open(self, request: OpenRequest) -> str:
        session = _call("open", lambda: self._port.open(request))
        _require(isinstance(session, str), "open", f"session id {session!r}, not a string")
        _require(session not in self._requests, "open", f"session id {session!r} is in use")
        self._requests[session] = request
        return session

    def step(self, session: str, unit: UnitInput) -> tuple[UnitOutput, ...]:
        outputs = _call(f"step {unit.unit}", lambda: tuple(self._port.step(session, unit)))
        return self._checked(f"step {unit.unit}", session, outputs)

    def finish(self, session: str) -> tuple[UnitOutput, ...]:
        outputs = _call("finish", lambda: tuple(self._port.finish(session)))
        return self._checked("finish", session, outputs)

    def reset(self, session: str) -> None:
        _call("reset", lambda: self._port.reset(session))

    def close(self, session: str) -> None:
        self._requests.pop(session, None)
        _call("close", lambda: self._port.close(session))

    def probe(
        self, session: str, unit: UnitInput, points: Sequence[str] = ()
    ) -> Mapping[str, Array]:
        found = _call("probe", lambda: self._port.probe(session, unit, points))
        missing = sorted(set(points) - set(found))
        _require(not missing, "probe", f"no {missing}")
        return _checked_arrays("probe", found)

    def export_kv(self, session: str) -> KvExport:
        state = _call("export_kv", lambda: self._port.export_kv(session))
        _require(isinstance(state, KvExport), "export_kv", f"a {type(state).__name__}")
        _require(bool(state.roles), "export_kv", "no cache at all")
        request = self._requests.get(session)
        if request is not None:
            for role, entries in state.roles.items():
                _check_entries(f"export_kv: {role}", request, entries)
        return state

    def import_kv(self, session: str, state: KvExport) -> None:
        _call("import_kv", lambda: self._port.import_kv(session, state))

    def offline(self, request: OpenRequest, units: Sequence[UnitInput]) -> tuple[UnitOutput, ...]:
        outputs = _call("offline", lambda: tuple(self._port.offline(request, units)))
        for output in outputs:
            _check_output("offline", request, output)
        return outputs

    def codec(self, request: CodecRequest, data: Array) -> Array:
        result = _call(request.part, lambda: self._port.codec(request, data))
        preset = preset_named(request.preset)
        per_unit, _ = codec_shapes(preset, request.part, 1)
        units = math.ceil(data.shape[0] / per_unit[0])
        _check_array(request.part, result, codec_shapes(preset, request.part, units)[1], data.dtype)
        return result

    def exchange(self, script: Sequence[Json]) -> tuple[Json, ...]:
        replies = _call("exchange", lambda: tuple(self._port.exchange(script)))
        _require(
            len(replies) == len(script),
            "exchange",
            f"{len(replies)} replies to {len(script)} messages",
        )
        return replies

    def kv_digest(self, session: str, up_to_unit: int) -> Mapping[str, str]:
        return _call("kv_digest", lambda: self._port.kv_digest(session, up_to_unit))

    def _checked(
        self, where: str, session: str, outputs: tuple[UnitOutput, ...]
    ) -> tuple[UnitOutput, ...]:
        request = self._requests.get(session)
        # An answer for a session that is closed is judged by whoever asked.
        if request is not None:
            for output in outputs:
                _check_output(where, request, output)
        return outputs


def _call(command: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except (Unsupported, Refusal, Inconclusive):
        raise
    except PortFault as fault:
        raise PortFault(f"{command}: {fault}") from fault
    except WanStreamerError as error:
        raise Refusal(error.what, error.value, error.allowed) from error
    except Exception as error:
        line = " ".join(str(error).split())
        raise PortFault(f"{command}: {type(error).__name__}: {line}") from error


def _require(ok: bool, where: str, what: str) -> None:
    if not ok:
        raise PortFault(f"{where}: {what}")


def _check_output(where: str, request: OpenRequest, output: UnitOutput) -> None:
    _require(isinstance(output, UnitOutput), where, f"a {type(output).__name__}, no UnitOutput")
    for name, shape in output_shapes(request).items():
        array = getattr(output, name)
        place = f"{where}: {name} of unit {output.unit}"
        if shape is None:
            _require(array is None, place, "present, but the session has no such modality")
        else:
            _check_array(place, array, shape, wire_dtype(request.dtype))
    slots = output.logits.shape[0]
    _require(len(output.text) == slots, where, f"{len(output.text)} ids for {slots} text slots")


def _check_entries(place: str, request: OpenRequest, entries: KvEntries) -> None:
    _require(isinstance(entries, KvEntries), place, f"a {type(entries).__name__}, no KvEntries")
    rows = entries.rows
    _require(isinstance(rows, np.ndarray) and rows.ndim == 2, place, "rows are not a table")
    _check_array(f"{place}: rows", rows, (rows.shape[0], 8), np.dtype("int64"))
    sizes = preset_named(request.preset).backbone
    shape = (sizes.n_layers, sizes.n_kv_heads, rows.shape[0], sizes.head_dim)
    for name in ("keys", "values"):
        array = getattr(entries, name)
        _check_array(f"{place}: {name}", array, shape, wire_dtype(request.dtype))


def _checked_arrays(where: str, arrays: object) -> Mapping[str, Array]:
    _require(isinstance(arrays, Mapping), where, f"a {type(arrays).__name__}, not arrays by name")
    assert isinstance(arrays, Mapping)
    # What numpy computes from arrays without axes are its scalars.
    found = {n: np.asarray(a) if isinstance(a, np.generic) else a for n, a in arrays.items()}
    for name, array in found.items():
        _require(isinstance(array, np.ndarray), where, f"{name} is a {type(array).__name__}")
    return found


def _check_array(
    place: str, array: object, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    _require(isinstance(array, np.ndarray), place, f"a {type(array).__name__}, not an array")
    assert isinstance(array, np.ndarray)
    _require(array.shape == shape, place, f"shape {list(array.shape)}, not {list(shape)}")
    _require(array.dtype == dtype, place, f"dtype {array.dtype}, not {dtype}")
    finite = math.prod(shape) == 0 or bool(np.isfinite(array).all())
    _require(finite, place, "not finite")
