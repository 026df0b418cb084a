"""How much of everything a port over stdio may take (WS-STDIO-9). Source: CHOICE."""

from __future__ import annotations

import os
from typing import Final

import attrs

from spec.errors import ConfigError

MIB: Final = 2**20
PATIENCE: Final = "WANSTREAMER_PORT_PATIENCE"
"""Environment variable: a factor on all times, for a port under a debugger."""

SLOW: Final = ("hello", "load")
"""Commands in which a port starts up or makes weights."""


@attrs.frozen(kw_only=True)
class Limits:
    """Generous to a port that works, finite for one that does not; times in seconds."""

    line_bytes: int = 4 * MIB
    file_bytes: int = 1024 * MIB
    header_bytes: int = 2 * MIB
    tensors: int = 4096
    files: int = 4096
    log_bytes: int = MIB
    slow_reply_s: float = 120.0
    reply_s: float = 60.0
    end_s: float = 5.0
    restarts: int = 32
    timeouts: int = 4
    memory_share: float = 0.8
    processes: int = 512

    def reply(self, command: str) -> float:
        """How long the reply to ``command`` may take, in seconds."""
        return self.slow_reply_s if command in SLOW else self.reply_s


def limits() -> Limits:
    """The limits of this run: the default ones, times stretched by `PATIENCE`.

    Raises:
        ConfigError: the variable is set, and is no positive number.
    """
    text = os.environ.get(PATIENCE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ConfigError(PATIENCE, text, "a positive number")
    given = Limits()
    return attrs.evolve(
        given,
        slow_reply_s=factor * given.slow_reply_s,
        reply_s=factor * given.reply_s,
        end_s=factor * given.end_s,
    )
