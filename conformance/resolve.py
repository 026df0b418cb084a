"""From the name of a port to a port, by import at run time: nothing here knows our own ports.

Names: ``reference``, ``optimized``, ``split``, ``mutant:NAME``, ``benign:NAME``,
``MODULE:FACTORY``, ``cmd:"ARGV"`` (WS-CONFORMANCE-12).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from conformance.protocol import Port
from conformance.stdio.port import from_command
from spec.errors import PortError, WanStreamerError

OURS: Final[Mapping[str, str]] = {
    "reference": "conformance.ports.reference:ReferencePort",
    "split": "conformance.ports.split:SplitPort",
    "optimized": "conformance.ports.optimized:OptimizedPort",
}
ALLOWED: Final = "reference, optimized, split, mutant:NAME, benign:NAME, MODULE:FACTORY, cmd:ARGV"


def resolve(name: str) -> Port:
    """A new port of that name (WS-CONFORMANCE-12).

    Raises:
        PortError: no such port, or its module or factory fails.
    """
    kind, _, rest = name.partition(":")
    if kind == "cmd":
        return from_command(rest)
    if name in OURS:
        return _built(name, OURS[name])
    if kind in ("mutant", "benign"):
        table = catalogue(kind)
        if rest not in table:
            raise PortError(kind, rest, ", ".join(table))
        return cast("Port", table[rest].factory())
    if not rest:
        raise PortError("port", name, ALLOWED)
    return _built(name, name)


def catalogue(kind: str) -> Mapping[str, Any]:
    """The known-bad ports (kind "mutant", WS-CONFORMANCE-14) or the harmless variants (kind
    "benign", WS-CONFORMANCE-15), by name."""
    module = importlib.import_module("conformance.mutants")
    return cast("Mapping[str, Any]", {"mutant": module.MUTANTS, "benign": module.BENIGN}[kind])


def _built(name: str, target: str) -> Port:
    module_name, _, attribute = target.partition(":")
    try:
        factory: Callable[[], Port] = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise PortError("port", name, f"a module that exists; no {error.name}") from error
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error
    try:
        return factory()
    except WanStreamerError:
        raise
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> PortError:
    line = " ".join(str(error).split())
    return PortError("port", name, f"one that loads; this one: {type(error).__name__}: {line}")
