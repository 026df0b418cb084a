"""The messages of the stdio protocol as records, in both directions (WS-STDIO-3, WS-STDIO-4).

A command is a record of arguments and a record of results; both are written by `conformance.wire`,
with a reference in the place of each array, and read by the types of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar, cast, get_origin

import attrs
import cattrs
import numpy as np

from conformance import wire
from conformance.protocol import (
    Array,
    CodecRequest,
    Hello,
    Json,
    KvExport,
    LoadRequest,
    MathRequest,
    OpenRequest,
    UnitInput,
    UnitOutput,
)
from conformance.stdio.tensor_files import Reference

R = TypeVar("R")


@attrs.frozen(kw_only=True)
class HelloArguments:
    """The version that the suite speaks."""

    protocol: int


@attrs.frozen(kw_only=True)
class Feature:
    """Argument of ``supports``, and what is missing in an "unsupported"."""

    feature: str


@attrs.frozen(kw_only=True, eq=False)
class CodecArguments(CodecRequest):
    """A `CodecRequest` and what goes in."""

    data: Array


@attrs.frozen(kw_only=True)
class Session:
    """Which session; also what ``open`` answers."""

    session: str


@attrs.frozen(kw_only=True, eq=False)
class StepArguments(Session):
    """One unit of a session."""

    unit: UnitInput


@attrs.frozen(kw_only=True, eq=False)
class ProbeArguments(StepArguments):
    """One unit, and the points to look at."""

    points: tuple[str, ...]


@attrs.frozen(kw_only=True, eq=False)
class OfflineArguments:
    """A whole session."""

    open: OpenRequest
    units: tuple[UnitInput, ...]


@attrs.frozen(kw_only=True)
class ExchangeArguments:
    """A script of the KV exchange (WS-CONFORMANCE-8)."""

    script: tuple[Json, ...]


@attrs.frozen(kw_only=True)
class DigestArguments(Session):
    """How far to digest the caches."""

    up_to_unit: int


@attrs.frozen(kw_only=True, eq=False)
class ImportArguments(Session):
    """What the session is to become."""

    state: KvExport


@attrs.frozen(kw_only=True)
class Supported:
    """The answer of ``supports``."""

    supported: bool


@attrs.frozen(kw_only=True)
class Digest:
    """The answer of ``load``."""

    digest: str


@attrs.frozen(kw_only=True, eq=False)
class Tensors:
    """Arrays by name."""

    tensors: Mapping[str, Array]


@attrs.frozen(kw_only=True, eq=False)
class Data:
    """The one array that a codec answers."""

    data: Array


@attrs.frozen(kw_only=True, eq=False)
class Outputs:
    """Units in their order."""

    outputs: tuple[UnitOutput, ...]


@attrs.frozen(kw_only=True)
class Replies:
    """One reply an entry of the script."""

    replies: tuple[Json, ...]


@attrs.frozen(kw_only=True)
class Roles:
    """One digest a role."""

    roles: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Nothing:
    """No arguments, or no results."""


COMMANDS: Final[Mapping[str, tuple[type[Any], type[Any]]]] = {
    "hello": (HelloArguments, Hello),
    "supports": (Feature, Supported),
    "load": (LoadRequest, Digest),
    "math": (MathRequest, Tensors),
    "codec": (CodecArguments, Data),
    "open": (OpenRequest, Session),
    "step": (StepArguments, Outputs),
    "finish": (Session, Outputs),
    "reset": (Session, Nothing),
    "close": (Session, Nothing),
    "offline": (OfflineArguments, Outputs),
    "probe": (ProbeArguments, Tensors),
    "exchange": (ExchangeArguments, Replies),
    "kv_digest": (DigestArguments, Roles),
    "export_kv": (Session, KvExport),
    "import_kv": (ImportArguments, Nothing),
    "stop": (Nothing, Nothing),
}
"""Arguments and results of every command (WS-CONFORMANCE-1, WS-STDIO-4)."""

Write = Callable[[Mapping[str, Array]], Mapping[str, Reference]]
Read = Callable[[Reference], Array]


def encode(record: Any, write: Write) -> Json:
    """``record`` as a JSON object; ``write`` puts its arrays into a file, if it has any."""
    data, tensors = wire.encode(record)
    return cast("Json", _referring(data, write(tensors)) if tensors else data)


def _referring(data: Any, references: Mapping[str, Reference]) -> Any:
    if isinstance(data, wire.Named):
        return {"tensor": attrs.asdict(references[data["tensor"]])}
    if isinstance(data, dict):
        return {key: _referring(value, references) for key, value in data.items()}
    if isinstance(data, list):
        return [_referring(value, references) for value in data]
    return data


class _Decoder:
    """Makes records of messages; the converter is costly to make, so there is one for all."""

    def __init__(self) -> None:
        self._read: Read | None = None
        kind_of: Callable[[Any], Any] = get_origin
        self._converter = cattrs.Converter(detailed_validation=False, forbid_extra_keys=True)
        # Words are for the port to accept or refuse, so that a bad one reaches it as it is.
        self._converter.register_structure_hook_func(
            lambda kind: kind_of(kind) is Literal, lambda value, _: value
        )
        self._converter.register_structure_hook_func(
            lambda kind: kind_of(kind) is np.ndarray, lambda value, _: self._array(value)
        )

    def __call__(self, data: Json, kind: type[R], read: Read) -> R:
        self._read = read
        return self._converter.structure(data, kind)

    def _array(self, value: Json) -> Array:
        assert self._read is not None
        return self._read(Reference(**value["tensor"]))


_decode: Final = _Decoder()


def decoder(read: Read) -> Callable[[Json, type[R]], R]:
    """Makes records of well-formed messages; ``read`` follows a reference."""
    return lambda data, kind: _decode(data, kind, read)
