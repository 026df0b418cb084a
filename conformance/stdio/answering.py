"""The other end of `conformance.stdio.asking`: from arguments to a Python port's method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from conformance.protocol import Port
from conformance.stdio.messages import (
    Data,
    Digest,
    Nothing,
    Outputs,
    Replies,
    Roles,
    Session,
    Supported,
    Tensors,
)


def _reset(port: Port, arguments: Any) -> Nothing:
    port.reset(arguments.session)
    return Nothing()


def _close(port: Port, arguments: Any) -> Nothing:
    port.close(arguments.session)
    return Nothing()


def _import_kv(port: Port, arguments: Any) -> Nothing:
    port.import_kv(arguments.session, arguments.state)
    return Nothing()


ACTIONS: Final[Mapping[str, Callable[[Port, Any], Any]]] = {
    "hello": lambda port, _: port.hello(),
    "supports": lambda port, a: Supported(supported=port.supports(a.feature)),
    "load": lambda port, a: Digest(digest=port.load(a)),
    "math": lambda port, a: Tensors(tensors=port.math(a)),
    "codec": lambda port, a: Data(data=port.codec(a, a.data)),
    "open": lambda port, a: Session(session=port.open(a)),
    "step": lambda port, a: Outputs(outputs=tuple(port.step(a.session, a.unit))),
    "finish": lambda port, a: Outputs(outputs=tuple(port.finish(a.session))),
    "reset": _reset,
    "close": _close,
    "offline": lambda port, a: Outputs(outputs=tuple(port.offline(a.open, a.units))),
    "probe": lambda port, a: Tensors(tensors=port.probe(a.session, a.unit, a.points)),
    "exchange": lambda port, a: Replies(replies=tuple(port.exchange(a.script))),
    "kv_digest": lambda port, a: Roles(roles=port.kv_digest(a.session, a.up_to_unit)),
    "export_kv": lambda port, a: port.export_kv(a.session),
    "import_kv": _import_kv,
    "stop": lambda _port, _: Nothing(),
}
"""What a Python port does for each command of `conformance.stdio.messages.COMMANDS`."""
