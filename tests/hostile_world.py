"""Hostile ports, started with little patience, and what the suite says of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import numpy as np

from conformance.guard import Guard, PortFault
from conformance.protocol import MathRequest
from conformance.stdio.limits import Limits
from conformance.stdio.port import StdioPort

PORTS = Path(__file__).parent / "hostile_ports"
PATIENT = Limits(
    line_bytes=1 << 20,
    file_bytes=2 << 20,
    header_bytes=1 << 16,
    files=32,
    log_bytes=10_000,
)
"""For a port that will answer, or end, by itself, however busy the machine is."""

IMPATIENT = attrs.evolve(PATIENT, reply_s=0.3, end_s=1.0)
"""For one that will not."""


@contextmanager
def started(program: str, *arguments: str, limits: Limits = PATIENT) -> Iterator[StdioPort]:
    """One of the hostile ports; nothing of it is left afterwards."""
    argv = [sys.executable, "-S", "-E", str(PORTS / f"{program}.py"), *arguments]
    port = StdioPort(argv, limits)
    try:
        yield port
    finally:
        port.stop()


def asked(op: str) -> MathRequest:
    """Ports are polite about any formula but ``nasty``."""
    x = np.zeros(3, np.float32)
    return MathRequest(op=op, dtype="float32", arguments={}, tensors={"x": x})


def fault(port: StdioPort, commands: int = 2) -> str:
    """What the suite says when it has asked for ``nasty``, and perhaps once more."""
    guard = Guard(port)
    try:
        guard.hello()
        for _ in range(commands):
            guard.math(asked("nasty"))
    except PortFault as found:
        return str(found)
    return ""
